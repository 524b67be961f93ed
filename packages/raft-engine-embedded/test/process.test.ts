/**
 * The log under a real process on a real disk: killed at any moment, held to a file size limit, and
 * (on request) with system calls that fail.
 */
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openEmbeddedLog } from '../src/index.ts';
import { temporaryDirectory } from './directory.ts';
import { payloadOf, readAll } from './samples.ts';

const kills = Number(process.env.RAFTSEAL_KILLS ?? 20);
const here = dirname(fileURLToPath(import.meta.url));
let base: Awaited<ReturnType<typeof temporaryDirectory>>;
let program: string;

beforeAll(async () => {
  base = await temporaryDirectory();
  program = join(base.directory, 'writer-process.mjs');
  await build({
    entryPoints: [join(here, 'writer-process.ts')],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
    conditions: ['@raftseal/source'],
    logLevel: 'error',
  });
});

afterAll(() => base.remove());

interface Outcome {
  /** Highest index acknowledged, by shard. */
  readonly acknowledged: readonly bigint[];
  readonly lines: readonly string[];
  readonly output: string;
}

/** Runs a command; kills it `killAfterMs` after its log was open, if that is given. */
function run(command: readonly string[], killAfterMs?: number): Promise<Outcome> {
  const [file = '', ...rest] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(file, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let errors = '';
    child.stdout.on('data', (bytes: Buffer) => {
      if (output === '' && killAfterMs !== undefined) {
        setTimeout(() => child.kill('SIGKILL'), killAfterMs);
      }
      output += bytes.toString('latin1');
    });
    child.stderr.on('data', (bytes: Buffer) => {
      errors += bytes.toString('latin1');
    });
    child.on('error', reject);
    child.on('close', () => {
      const lines = output.split('\n').slice(0, -1);
      const acknowledged = [0n, 0n];
      for (const line of lines) {
        const [shard, index] = line.split(' ');
        if (shard === '0' || shard === '1') acknowledged[Number(shard)] = BigInt(index ?? 0);
      }
      resolve({ acknowledged, lines, output: output + errors });
    });
  });
}

/** Opens what the process left, and insists on every acknowledged entry with its bytes. */
async function verify(
  directory: string,
  acknowledged: readonly bigint[],
  byteLength: number,
): Promise<void> {
  const log = await openEmbeddedLog({ directory, nodeId: 'a', shardIds: [0, 1] });
  for (const shardId of [0, 1]) {
    const engine = log.engine(shardId);
    const { firstIndex, headIndex } = await engine.bounds();
    expect(headIndex).toBeGreaterThanOrEqual(acknowledged[shardId] ?? 0n);
    const entries = await readAll(engine);
    expect(entries).toHaveLength(Number(headIndex - firstIndex + 1n));
    for (const { index, payload } of entries) {
      expect(payloadOf(shardId, index, byteLength).equals(payload)).toBe(true);
    }
  }
  await log.close();
}

describe('a process killed at any moment', () => {
  it(`invariant 2: loses no acknowledged append in ${kills} kills`, async () => {
    const directory = join(base.directory, 'killed');
    let total = 0n;
    for (let round = 0; round < kills; round++) {
      const killAfterMs = (round * 37) % 90;
      const command = [process.execPath, program, directory, '300'];
      const { acknowledged, output } = await run(command, killAfterMs);
      expect(output).toMatch(/^open/);
      await verify(directory, acknowledged, 300);
      total = acknowledged.reduce((sum, index) => sum + index, 0n) || total;
    }
    expect(total).toBeGreaterThan(100n);
  }, 3_600_000);
});

describe('a process held to a file size limit', () => {
  it('gets a genuine short write, stops, and loses nothing acknowledged', async () => {
    const directory = join(base.directory, 'limited');
    // 128 KiB for each file: above a segment, below the entry that makes one grow.
    const limited = 'trap \'\' XFSZ; ulimit -f 128; exec "$@"';
    const command = ['bash', '-c', limited, 'bash', process.execPath, program, directory];
    const { acknowledged } = await run([...command, '2000', '20']);
    expect(acknowledged).toEqual([20n, 20n]);
    const { lines } = await run([...command, '150000', '1']);
    expect(lines.at(-1)).toBe('failed RAFTSEAL_ENGINE_FLUSH_FAILED');
    const log = await openEmbeddedLog({ directory, nodeId: 'a', shardIds: [0, 1] });
    expect(log.tornBytes).toBeGreaterThan(30_000);
    await log.close();
    await verify(directory, acknowledged, 2000);
  });
});

/** Needs strace, and minutes: run by `pnpm test:strace`. */
function systemCallFaults(): void {
  for (const call of ['pwrite64', 'fsync', 'rename']) {
    for (const error of ['EIO', 'ENOSPC']) {
      it(`${error} from the nth ${call}: a coded error, and nothing acknowledged is lost`, async () => {
        let injected = 0;
        for (const nth of [1, 2, 3, 5, 8, 13, 40, 100]) {
          const directory = join(base.directory, `${call}-${error}-${nth}`);
          const trace = `${directory}.trace`;
          const inject = `inject=${call}:error=${error}:when=${nth}`;
          const strace = ['strace', '-f', '--seccomp-bpf', '-qq', '-o', trace, '-P', directory];
          const paths = [1, 2, 3, 4, 5].flatMap((sequence) => {
            const path = `${directory}/${String(sequence).padStart(16, '0')}.seg`;
            return ['-P', path, '-P', `${path}.new`];
          });
          const command = [process.execPath, program, directory, '300', '400'];
          const traced = [...strace, ...paths, '-e', `trace=${call}`, '-e', inject, ...command];
          const { acknowledged, lines } = await run(['env', 'UV_THREADPOOL_SIZE=1', ...traced]);
          if (!(await readFile(trace, 'latin1')).includes('(INJECTED)')) continue;
          injected += 1;
          const last = lines.at(-1) ?? '';
          if (last.startsWith('failed')) expect(last).toBe('failed RAFTSEAL_ENGINE_FLUSH_FAILED');
          await verify(directory, acknowledged, 300);
        }
        expect(injected).toBeGreaterThan(0);
      }, 600_000);
    }
  }
}

if (process.env.RAFTSEAL_STRACE) describe('a process whose system calls fail', systemCallFaults);
