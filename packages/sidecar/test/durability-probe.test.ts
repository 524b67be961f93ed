import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codeOf } from '@raftseal/interface';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeFileSystem, probeDirectory } from '../src/index.ts';
import { stepped, systemError } from './stepped-file-system.ts';

let directory = '';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'raftseal-probe-'));
  await writeFile(join(directory, 'other'), 'untouched');
});

afterEach(() => rm(directory, { recursive: true }));

describe('probeDirectory', () => {
  it('START-07: passes a directory that can, and leaves no file in it', async () => {
    await probeDirectory(directory);
    expect(await readdir(directory)).toEqual(['other']);
  });

  it('asks for every step that a write of the sidecar needs', async () => {
    const names: string[] = [];
    await probeDirectory(
      directory,
      stepped(nodeFileSystem, ({ name }) => void names.push(name)),
    );
    for (const needed of ['create', 'write', 'sync', 'read', 'rename', 'syncDirectory']) {
      expect(names).toContain(needed);
    }
  });

  it('START-07: refuses a directory where any step fails, and leaves no file', async () => {
    const names: string[] = [];
    await probeDirectory(
      directory,
      stepped(nodeFileSystem, ({ name }) => void names.push(name)),
    );
    for (const at of names.keys()) {
      if (names[at] === 'isDirectory') continue;
      const fileSystem = stepped(nodeFileSystem, ({ number }) => {
        if (number === at + 1) throw systemError('EINVAL');
      });
      const refusal: unknown = await probeDirectory(directory, fileSystem).catch(
        (error: unknown) => error,
      );
      expect(codeOf(refusal), names[at]).toBe('RAFTSEAL_SIDECAR_UNSUPPORTED_FILESYSTEM');
      expect(await readdir(directory)).toEqual(['other']);
    }
  });

  it('refuses a missing directory and a file, each as such', async () => {
    for (const path of [join(directory, 'missing'), join(directory, 'other')]) {
      await expect(probeDirectory(path)).rejects.toThrow(
        expect.objectContaining({ code: 'RAFTSEAL_SIDECAR_DIRECTORY_MISSING' }),
      );
    }
  });

  it.runIf(process.platform === 'linux')(
    'refuses a real file system that cannot: /proc',
    async () => {
      await expect(probeDirectory('/proc/self')).rejects.toThrow(
        expect.objectContaining({ code: 'RAFTSEAL_SIDECAR_UNSUPPORTED_FILESYSTEM' }),
      );
    },
  );
});
