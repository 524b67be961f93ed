import { readdirSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { lockDirectory } from '../src/data-directory-lock.ts';
import { childProgram } from './child-program.ts';
import { octal, temporaryDirectory } from './temporary-directory.ts';

const program = childProgram('directory-lock-child');

const LOCKED = { code: 'RAFTSEAL_NODE_DATA_DIR_LOCKED' };

function newLockPath(): string {
  return join(temporaryDirectory(), 'lock');
}

/** What a process of the past would have left: our lock file with one of its words changed. */
async function leaveChanged(path: string, word: number, text: string): Promise<void> {
  const lock = await lockDirectory(path);
  const words = (await readFile(path, 'utf8')).trim().split(' ');
  await lock.release();
  words[word] = text;
  await writeFile(path, `${words.join(' ')}\n`);
}

describe('the lock of a data directory', () => {
  it('is a file that only its owner reads and that names the process', async () => {
    const path = newLockPath();
    const lock = await lockDirectory(path);
    expect(octal((await stat(path)).mode)).toBe('600');
    expect(Number.parseInt(await readFile(path, 'utf8'), 10)).toBe(process.pid);
    await lock.release();
    expect(readdirSync(dirname(path))).toEqual([]);
  });

  it('is refused to a second taker, of this process or another, and named to it', async () => {
    const path = newLockPath();
    const lock = await lockDirectory(path);
    await expect(lockDirectory(path)).rejects.toMatchObject({
      ...LOCKED,
      message: expect.stringContaining(`process ${process.pid} `),
    });
    const other = program.start(['hold', path]);
    expect(await other.line()).toBe('RAFTSEAL_NODE_DATA_DIR_LOCKED');
    await lock.release();
  });

  it('is free again once a process releases it', async () => {
    const path = newLockPath();
    const owner = program.start(['hold', path]);
    expect(await owner.line()).toBe('locked');
    await expect(lockDirectory(path)).rejects.toMatchObject(LOCKED);
    owner.send('release');
    expect(await owner.line()).toBe('released');
    await (await lockDirectory(path)).release();
  });

  it('is free again once its owner is killed', async () => {
    const path = newLockPath();
    const owner = program.start(['hold', path]);
    expect(await owner.line()).toBe('locked');
    owner.kill();
    expect(await owner.ended).toBe(null);
    const lock = await lockDirectory(path);
    expect(Number.parseInt(await readFile(path, 'utf8'), 10)).toBe(process.pid);
    await lock.release();
    expect(readdirSync(dirname(path))).toEqual([]);
  });

  it.runIf(process.platform === 'linux')(
    'is free where its process id was given to another process since',
    async () => {
      const path = newLockPath();
      await leaveChanged(path, 2, '1');
      await (await lockDirectory(path)).release();
    },
  );

  it.runIf(process.platform === 'linux')('is free after the machine was restarted', async () => {
    const path = newLockPath();
    await leaveChanged(path, 1, '00000000-0000-0000-0000-000000000000');
    await (await lockDirectory(path)).release();
  });

  it('is free where the file is empty or holds anything else', async () => {
    const path = newLockPath();
    for (const content of ['', 'text', '0 0 0\n', '-1 0 0\n', '99999999999 0 0\n']) {
      await writeFile(path, content);
      await (await lockDirectory(path)).release();
    }
  });

  it('leaves alone, at release, a file that is not its own any more', async () => {
    const path = newLockPath();
    const lock = await lockDirectory(path);
    await writeFile(path, 'of somebody else\n');
    await lock.release();
    expect(await readFile(path, 'utf8')).toBe('of somebody else\n');
  });

  it('is held by one at a time, however many take it and die', async () => {
    const path = newLockPath();
    const children = Array.from({ length: 5 }, () => program.start(['race', path, '25']));
    const outputs = await Promise.all(children.map((child) => child.line()));
    expect(outputs).toEqual(children.map(() => 'done'));
    expect(await Promise.all(children.map(({ ended }) => ended))).toEqual(children.map(() => 0));
  });
});
