import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmod,
  chown,
  link,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import type { ErrorCode } from '@raftseal/interface';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { kekFromFile } from '../src/index.ts';

const binding = { clusterId: Buffer.alloc(16, 1), dekId: 9, purpose: 'storage' } as const;
const asRoot = process.geteuid?.() === 0;

let directory = '';
let path = '';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'raftseal-kek-'));
  path = join(directory, 'kek');
});

afterEach(() => rm(directory, { recursive: true }));

async function writeKek(content: Uint8Array | string = randomBytes(32), mode = 0o600) {
  await writeFile(path, content);
  await chmod(path, mode);
}

async function refusal(code: ErrorCode, at: string = path): Promise<string> {
  const error: unknown = await kekFromFile(at).then(
    () => undefined,
    (refused: unknown) => refused,
  );
  expect(error).toMatchObject({ code });
  return (error as Error).message;
}

describe('kekFromFile', () => {
  it('KEK-01: opens wraps under the bytes of the file, and names its absolute path', async () => {
    await writeKek();
    const kek = await kekFromFile(relative(process.cwd(), path));
    expect(kek.kekUri).toBe(`file:${path}`);
    const dek = randomBytes(32);
    const wrapped = await kek.wrapKey(dek, binding);
    const opened = await (await kekFromFile(path)).unwrapKey(wrapped, binding);
    expect(dek.equals(opened)).toBe(true);
  });

  it('reads the file once: its later content has no effect', async () => {
    await writeKek();
    const kek = await kekFromFile(path);
    const dek = randomBytes(32);
    const wrapped = await kek.wrapKey(dek, binding);
    await rm(path);
    expect(dek.equals(await kek.unwrapKey(wrapped, binding))).toBe(true);
  });

  it.each([0o600, 0o400, 0o700])('KEK-02: accepts mode 0%o', async (mode) => {
    await writeKek(randomBytes(32), mode);
    await expect(kekFromFile(path)).resolves.toBeDefined();
  });

  it('KEK-02: refuses every mode that gives group or others anything', async () => {
    await writeKek();
    for (let bits = 1; bits <= 0o77; bits++) {
      await chmod(path, 0o600 | bits);
      await refusal('RAFTSEAL_KEK_FILE_MODE');
    }
    expect(await refusal('RAFTSEAL_KEK_FILE_MODE')).toContain('0677');
  });

  it('KEK-01: refuses a missing file, and a path through a file', async () => {
    await refusal('RAFTSEAL_KEK_FILE_MISSING');
    await writeKek();
    await refusal('RAFTSEAL_KEK_FILE_MISSING', join(path, 'kek'));
  });

  it('KEK-01: refuses a directory and a device', async () => {
    await refusal('RAFTSEAL_KEK_FILE_NOT_REGULAR', directory);
    await refusal('RAFTSEAL_KEK_FILE_NOT_REGULAR', '/dev/zero');
  });

  it('KEK-03: refuses a FIFO at once, without a writer and with one', async () => {
    execFileSync('mkfifo', ['-m', '600', path]);
    await refusal('RAFTSEAL_KEK_FILE_NOT_REGULAR');
    const writer = spawn('sh', ['-c', `exec cat /dev/zero > '${path}'`]);
    const exited = new Promise((resolve) => writer.once('exit', resolve));
    await refusal('RAFTSEAL_KEK_FILE_NOT_REGULAR');
    writer.kill('SIGKILL');
    await exited;
  });

  it('refuses a socket', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await refusal('RAFTSEAL_KEK_FILE_NOT_REGULAR');
    await new Promise((resolve) => server.close(resolve));
  });

  it('follows symbolic links, as mounted secrets have them, and checks what they lead to', async () => {
    // Kubernetes: kek -> ..data/kek, ..data -> ..2026_01_01, swapped as a whole.
    await mkdir(join(directory, '..2026_01_01'));
    await writeKek(randomBytes(32), 0o400);
    await rename(path, join(directory, '..2026_01_01', 'kek'));
    await symlink('..2026_01_01', join(directory, '..data'));
    await symlink(join('..data', 'kek'), path);
    expect((await kekFromFile(path)).kekUri).toBe(`file:${path}`);
    await chmod(join(directory, '..2026_01_01', 'kek'), 0o444);
    await refusal('RAFTSEAL_KEK_FILE_MODE');
  });

  it('refuses links that lead nowhere or in a circle', async () => {
    await symlink('nowhere', path);
    await refusal('RAFTSEAL_KEK_FILE_MISSING');
    await rm(path);
    await symlink('kek', path);
    await refusal('RAFTSEAL_KEK_FILE_UNREADABLE');
  });

  it.runIf(asRoot)('refuses a file of another user', async () => {
    await writeKek();
    await chown(path, 65534, 65534);
    expect(await refusal('RAFTSEAL_KEK_FILE_OWNER')).toContain('65534');
  });

  it.each([0, 1, 16, 31, 33, 64, 4096])('KEK-01: refuses %i bytes', async (length) => {
    await writeKek(randomBytes(length));
    await refusal('RAFTSEAL_KEK_FILE_LENGTH');
  });

  it('refuses a huge file without reading it', async () => {
    await writeKek('');
    execFileSync('truncate', ['-s', '8T', path]);
    expect(await refusal('RAFTSEAL_KEK_FILE_LENGTH')).toContain('8796093022208 bytes');
  });

  it.each([
    ['hex digits', randomBytes(32).toString('hex'), '64 hex digits'],
    ['hex digits and a newline', `${randomBytes(32).toString('hex')}\n`, '64 hex digits'],
    ['base64', Buffer.alloc(32, 0xfb).toString('base64'), '44 base64 characters'],
    ['base64 and a newline', `${randomBytes(32).toString('base64')}\n`, '44 base64 characters'],
    ['a KEK and a newline', Buffer.concat([randomBytes(32), Buffer.from('\n')]), 'a newline'],
    ['nothing', '', 'an empty file'],
    ['44 bytes of another kind', Buffer.alloc(44, 0x21), '44 bytes'],
    ['33 bytes of another kind', Buffer.alloc(33, 0x21), '33 bytes'],
  ])('says what the content looks like: %s', async (_name, content, expected) => {
    await writeKek(content);
    expect(await refusal('RAFTSEAL_KEK_FILE_LENGTH')).toContain(expected);
  });

  it('invariant 10: quotes no content in a refusal', async () => {
    const text = randomBytes(32).toString('hex');
    await writeKek(text);
    const message = await refusal('RAFTSEAL_KEK_FILE_LENGTH');
    for (let at = 0; at + 8 <= text.length; at++) {
      expect(message).not.toContain(text.slice(at, at + 8));
    }
  });

  it('refuses a file of zero bytes only', async () => {
    await writeKek(Buffer.alloc(32));
    await refusal('RAFTSEAL_KEK_ZERO');
  });

  it('leaves the file as it was', async () => {
    const content = randomBytes(32);
    await writeKek(content);
    await link(path, join(directory, 'second-name'));
    await (await kekFromFile(path)).close();
    expect((await readFile(path)).equals(content)).toBe(true);
  });
});
