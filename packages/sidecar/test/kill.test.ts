/**
 * Real processes on the real file system: killed before every step of a write, or held by a
 * kernel limit on the size of files.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SIDECAR_FILE_NAME, SidecarFile } from '../src/index.ts';
import { mac, nextState } from './key-states.ts';

const AT_ONCE = 4;

let root = '';
let script = '';

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'raftseal-kill-'));
  script = join(root, 'kill-child.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, 'kill-child.ts')],
    outfile: script,
    bundle: true,
    platform: 'node',
    format: 'esm',
    conditions: ['@raftseal/source'],
    logLevel: 'error',
  });
});

afterAll(() => rm(root, { recursive: true }));

interface Ended {
  readonly signal: string | null;
  readonly output: string;
}

interface ChildOptions {
  readonly directory: string;
  readonly killBefore?: number;
  readonly stateBytes?: number;
  readonly pieceBytes?: number;
  /** Put before the command, such as a limit. */
  readonly shell?: string;
}

/** Writes generation 2 in a process of its own. */
function writeInChild(options: ChildOptions): Promise<Ended> {
  const { directory, killBefore = 0, stateBytes = 0, pieceBytes = 400, shell = ':' } = options;
  const words = [process.execPath, script, directory, 2, killBefore, stateBytes, pieceBytes];
  return new Promise((resolve) => {
    const child = execFile(
      'sh',
      ['-c', `${shell} && exec "$@"`, 'sh', ...words.map(String)],
      (_error, output) => resolve({ signal: child.signalCode, output }),
    );
  });
}

/** A directory that holds generation 1, or nothing. */
async function startingFrom(generation: bigint): Promise<string> {
  const directory = await mkdtemp(join(root, 'node-'));
  if (generation > 0n) await new SidecarFile({ directory }).write(nextState(generation), mac);
  return directory;
}

async function generationIn(directory: string): Promise<bigint> {
  const found = await new SidecarFile({ directory }).read();
  return found?.verify(mac.macKey).generation ?? 0n;
}

describe('SidecarFile in a process that is killed', () => {
  it.each([1n, 0n])(
    'invariant 5: leaves generation %i or 2, whole, for SIGKILL before any step',
    async (before) => {
      const undisturbed = await writeInChild({ directory: await startingFrom(before) });
      expect(undisturbed).toMatchObject({ signal: null });
      expect(undisturbed.output).toMatch(/^acknowledged \d+$/);
      const steps = Number(undisturbed.output.split(' ')[1]);
      const found: bigint[] = [];
      for (let first = 1; first <= steps; first += AT_ONCE) {
        const count = Math.min(AT_ONCE, steps - first + 1);
        const batch = Array.from({ length: count }, async (_, at) => {
          const directory = await startingFrom(before);
          const ended = await writeInChild({ directory, killBefore: first + at });
          expect(ended).toEqual({ signal: 'SIGKILL', output: '' });
          const generation = await generationIn(directory);
          await goesOn(directory);
          return generation;
        });
        found.push(...(await Promise.all(batch)));
      }
      // Old up to the rename, new from then on: the last step is the flush of the directory.
      expect(found).toEqual([...Array.from({ length: steps - 1 }, () => before), 2n]);
    },
    30_000,
  );

  /** The next process writes, and clears away what the killed one left. */
  async function goesOn(directory: string): Promise<void> {
    const sidecar = new SidecarFile({ directory });
    (await sidecar.read())?.verify(mac.macKey);
    await sidecar.write(nextState(3n), mac);
    expect(await generationIn(directory)).toBe(3n);
    expect(await readdir(directory)).toEqual([SIDECAR_FILE_NAME]);
  }

  it('keeps the old file where the kernel takes a part of the bytes only', async () => {
    const directory = await startingFrom(1n);
    const before = await readFile(join(directory, SIDECAR_FILE_NAME));
    const options = { directory, stateBytes: 20_000, pieceBytes: 1_000_000 };
    // 8 blocks of 512 bytes: a genuine short write of 4,096 bytes, then EFBIG.
    const limited = await writeInChild({ ...options, shell: 'ulimit -f 8' });
    expect(limited).toEqual({ signal: null, output: 'RAFTSEAL_SIDECAR_WRITE_FAILED' });
    expect(await readdir(directory)).toEqual([SIDECAR_FILE_NAME]);
    expect((await readFile(join(directory, SIDECAR_FILE_NAME))).equals(before)).toBe(true);
    expect((await writeInChild(options)).output).toMatch(/^acknowledged/);
  });
});
