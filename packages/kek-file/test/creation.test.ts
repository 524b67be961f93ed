import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createKekFile, kekFromFile } from '../src/index.ts';

/** The kernel's own limit gives a genuine short write, then EFBIG (util-linux, Linux only). */
const hasPrlimit = spawnSync('prlimit', ['--version']).status === 0;

function limitFileSize(bytes: string): void {
  execFileSync('prlimit', ['--pid', `${process.pid}`, `--fsize=${bytes}:unlimited`]);
}

let directory = '';
let path = '';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'raftseal-kek-'));
  path = join(directory, 'kek');
});

afterEach(() => rm(directory, { recursive: true }));

describe('createKekFile', () => {
  it('makes 32 random bytes of mode 0600 that kekFromFile takes', async () => {
    const umask = process.umask(0);
    try {
      await createKekFile(path);
    } finally {
      process.umask(umask);
    }
    const stats = await stat(path);
    expect(stats.mode & 0o7777).toBe(0o600);
    expect(stats.size).toBe(32);
    await expect(kekFromFile(path)).resolves.toMatchObject({ kekUri: `file:${path}` });
    await createKekFile(join(directory, 'second'));
    const second = await readFile(join(directory, 'second'));
    expect(second.equals(await readFile(path))).toBe(false);
  });

  it('never takes the place of a file or link', async () => {
    await writeFile(path, 'precious');
    await expect(createKekFile(path)).rejects.toMatchObject({ code: 'RAFTSEAL_KEK_FILE_EXISTS' });
    expect(await readFile(path, 'utf8')).toBe('precious');
    await symlink('nowhere', join(directory, 'link'));
    await expect(createKekFile(join(directory, 'link'))).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_FILE_EXISTS',
    });
    expect((await readdir(directory)).sort()).toEqual(['kek', 'link']);
  });

  it('lets one of many concurrent calls win', async () => {
    const calls = await Promise.allSettled(Array.from({ length: 16 }, () => createKekFile(path)));
    expect(calls.filter(({ status }) => status === 'fulfilled').length).toBe(1);
    await expect(kekFromFile(path)).resolves.toBeDefined();
  });

  it('refuses a missing directory', async () => {
    await expect(createKekFile(join(directory, 'missing', 'kek'))).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_FILE_UNWRITABLE',
    });
  });

  it.runIf(hasPrlimit)('leaves no file where the disk takes half of the bytes', async () => {
    limitFileSize('16');
    try {
      await expect(createKekFile(path)).rejects.toMatchObject({
        code: 'RAFTSEAL_KEK_FILE_UNWRITABLE',
      });
    } finally {
      limitFileSize('unlimited');
    }
    expect(await readdir(directory)).toEqual([]);
    await createKekFile(path);
  });
});
