import { execFileSync } from 'node:child_process';
import { chmod, chown, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readPin } from '../src/pin-file.ts';
import { refusal } from './soft-token.ts';

const asRoot = process.geteuid?.() === 0;

let directory = '';
let path = '';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'raftseal-pin-'));
  path = join(directory, 'pin');
});

afterEach(() => rm(directory, { recursive: true }));

const refused = (at: string = path): Promise<string> =>
  refusal('RAFTSEAL_KEK_PKCS11_PIN_FILE', readPin(at));

async function write(content: string, mode = 0o600): Promise<void> {
  await writeFile(path, content);
  await chmod(path, mode);
}

describe('readPin', () => {
  it.each([
    ['4711', '4711'],
    ['4711\n', '4711'],
    ['4711\r\n', '4711'],
    [' 47 11 ', ' 47 11 '],
    ['p'.repeat(256), 'p'.repeat(256)],
    [`${'p'.repeat(256)}\r\n`, 'p'.repeat(256)],
  ])('reads %j', async (content, pin) => {
    await write(content, 0o400);
    expect(Buffer.from(await readPin(path)).toString()).toBe(pin);
  });

  it.each(['', '\n', '4711\n\n', '4711\n4712\n', '\r4711', 'p'.repeat(257), 'p'.repeat(4096)])(
    'refuses %j',
    async (content) => {
      await write(content);
      await refused();
    },
  );

  it('refuses every mode that gives group or others anything', async () => {
    await write('4711');
    for (let bits = 1; bits <= 0o77; bits++) {
      await chmod(path, 0o600 | bits);
      expect(await refused()).toContain(`0${(0o600 | bits).toString(8)}`);
    }
  });

  it('refuses a missing file, a directory, a device, and a FIFO at once', async () => {
    expect(await refused()).toContain('ENOENT');
    await refused(directory);
    await refused('/dev/zero');
    execFileSync('mkfifo', ['-m', '600', path]);
    await refused();
  });

  it('follows links and checks what they lead to', async () => {
    await write('4711');
    await symlink('pin', join(directory, 'link'));
    expect(Buffer.from(await readPin(join(directory, 'link'))).toString()).toBe('4711');
    await chmod(path, 0o644);
    await refused(join(directory, 'link'));
  });

  it.runIf(asRoot)('refuses a file of another user', async () => {
    await write('4711');
    await chown(path, 65534, 65534);
    expect(await refused()).toContain('65534');
  });

  it('invariant 10: quotes no PIN in a refusal', async () => {
    await write('4711\n4712\n');
    const message = await refused();
    expect(message).not.toContain('4711');
    expect(message).not.toContain('4712');
  });
});
