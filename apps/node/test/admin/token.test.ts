import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readOrMakeToken, readToken } from '../../src/admin/token.ts';
import { octal, temporaryDirectory } from '../temporary-directory.ts';

const REFUSED = { code: 'RAFTSEAL_NODE_ADMIN_TOKEN' };

async function fileWith(content: string | Uint8Array, mode = 0o600): Promise<string> {
  const path = join(temporaryDirectory(), 'token');
  await writeFile(path, content, { mode });
  await chmod(path, mode);
  return path;
}

describe('readOrMakeToken', () => {
  it('makes a token of 32 random bytes, for its owner alone', async () => {
    const [first, second] = [join(temporaryDirectory(), 'a'), join(temporaryDirectory(), 'b')];
    const token = await readOrMakeToken(first);
    expect(Buffer.from(token, 'base64url')).toHaveLength(32);
    expect(await readFile(first, 'utf8')).toBe(`${token}\n`);
    expect(octal((await stat(first)).mode)).toBe('600');
    expect(await readOrMakeToken(second)).not.toBe(token);
  });

  it('keeps the token that is there', async () => {
    const path = await fileWith('chosen-by-the-operator\n');
    expect(await readOrMakeToken(path)).toBe('chosen-by-the-operator');
    expect(await readOrMakeToken(path)).toBe('chosen-by-the-operator');
    expect(await readdir(join(path, '..'))).toEqual(['token']);
  });

  it('refuses where none can be made', async () => {
    const path = join(temporaryDirectory(), 'missing', 'token');
    await expect(readOrMakeToken(path)).rejects.toMatchObject(REFUSED);
  });

  it('makes one where an earlier start was killed before it had', async () => {
    const path = join(temporaryDirectory(), 'token');
    await writeFile(`${path}.tmp`, 'half');
    const token = await readOrMakeToken(path);
    expect(token).not.toContain('half');
    expect(await readdir(join(path, '..'))).toEqual(['token']);
  });
});

describe('readToken', () => {
  it('takes from 16 to 1024 characters, without the space around them', async () => {
    for (const token of ['x'.repeat(16), 'x'.repeat(1024), '!"#$%&()*+,-./:;<=>?@[]^_`{|}~']) {
      for (const content of [token, `${token}\n`, `${token}\r\n`]) {
        expect(await readToken(await fileWith(content))).toBe(token);
      }
    }
  });

  it.each([0o644, 0o640, 0o604, 0o660, 0o602])('refuses a file of mode %o', async (mode) => {
    const path = await fileWith('x'.repeat(20), mode);
    await expect(readToken(path)).rejects.toMatchObject({
      ...REFUSED,
      message: expect.stringContaining('chmod 600'),
    });
  });

  const unusable: readonly (readonly [string, string | Uint8Array])[] = [
    ['nothing', ''],
    ['space', ' '.repeat(40)],
    ['too little', 'x'.repeat(15)],
    ['too much', 'x'.repeat(1025)],
    ['far too much', 'x'.repeat(100_000)],
    ['two lines', `${'x'.repeat(20)}\n${'y'.repeat(20)}\n`],
    ['a space', `${'x'.repeat(20)} ${'y'.repeat(20)}`],
    ['what no HTTP header carries', 'pässword-with-umlaut'],
    ['bytes that are no text', Buffer.alloc(32, 0xff)],
    ['zeros', Buffer.alloc(32)],
  ];

  it.each(unusable)('refuses a file with %s', async (_, content) => {
    await expect(readToken(await fileWith(content))).rejects.toMatchObject(REFUSED);
  });

  it('refuses what is missing or no file', async () => {
    const path = join(temporaryDirectory(), 'token');
    await expect(readToken(path)).rejects.toMatchObject({
      ...REFUSED,
      message: expect.stringContaining('ENOENT'),
    });
    await mkdir(path, { mode: 0o700 });
    await expect(readToken(path)).rejects.toMatchObject(REFUSED);
  });

  it('names no content in its refusals', async () => {
    const path = await fileWith('short-secret', 0o600);
    await expect(readToken(path)).rejects.toMatchObject({
      message: expect.not.stringContaining('short-secret'),
    });
  });
});
