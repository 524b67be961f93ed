/**
 * A shard in a process of its own: killed at any moment, held to a file size limit, and (on request)
 * with system calls that fail. What is durable is the state of exactly one index.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KvStateMachine } from '../src/index.ts';
import { entryOf, timeOf } from './support/entries.ts';
import { bundle, type Program, run as runProgram } from './support/program.ts';
import { rowSeal } from './support/seal.ts';
import { stateOf, TestShard } from './support/shard.ts';

const kills = Number(process.env.RAFTSEAL_KILLS ?? 12);
let base: string;
let program: Program;

beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'raftseal-kv-'));
  program = await bundle('applying-process.ts');
});

afterAll(() => {
  rmSync(base, { recursive: true, force: true });
  program.remove();
});

interface Outcome {
  /** Highest index that the process was told is durable. */
  readonly durableIndex: bigint;
  readonly lastLine: string;
}

/** Runs a command until it ends, or for so long after its store is open. */
async function run(command: readonly string[], killAfterMs?: number): Promise<Outcome> {
  const lines = await runProgram(command, killAfterMs);
  const indexes = lines.flatMap((line) => /^(?:durable|open) (\d+)$/.exec(line)?.[1] ?? []);
  return { durableIndex: BigInt(indexes.at(-1) ?? 0), lastLine: lines.at(-1) ?? '' };
}

/** A shard that nothing happens to, as far as the other one is. */
async function advance(reference: TestShard, index: bigint): Promise<void> {
  for (let next = reference.machine.appliedIndex + 1n; next <= index; next++) {
    reference.machine.apply(entryOf(next));
  }
  await reference.machine.flush();
}

async function compare(reference: TestShard, machine: KvStateMachine): Promise<void> {
  await advance(reference, machine.durableIndex);
  const nowMs = timeOf(machine.durableIndex);
  const same = stateOf(machine, nowMs) === stateOf(reference.machine, nowMs);
  expect(same, `the state of index ${machine.durableIndex}`).toBe(true);
  expect(machine.size()).toBe(reference.machine.size());
}

describe('a shard whose process is killed', () => {
  it(`invariants 2 and 9: is the state of its durable index, ${kills} times`, async () => {
    const directory = join(base, 'killed');
    const reference = await TestShard.open({ shardId: 1 });
    let durable = 0n;
    for (let kill = 0; kill < kills; kill++) {
      // In the clear first; then rows are sealed, and the file is rewritten, under the kills.
      const mode = kill < kills / 2 ? 'cleartext' : 'sealed';
      const killAfterMs = (kill * 37) % 230;
      const command = [process.execPath, program.path, directory, mode, `${kill + 1}`];
      const outcome = await run(command, killAfterMs);
      expect(outcome.lastLine).toMatch(/^(open|durable) /);
      const machine = await KvStateMachine.open({
        directory,
        shardId: 1,
        seal: mode === 'sealed' ? rowSeal(1, 1000 + kill) : 'cleartext',
        holdCheckpoints: true,
      });
      expect(machine.durableIndex).toBeGreaterThanOrEqual(outcome.durableIndex);
      expect(machine.durableIndex).toBeGreaterThanOrEqual(durable);
      durable = machine.durableIndex;
      await compare(reference, machine);
      // Replay goes on from there, and comes to the same.
      const through = durable + 20n;
      for (let next = durable + 1n; next <= through; next++) machine.apply(entryOf(next));
      await machine.close();
    }
    expect(durable).toBeGreaterThan(BigInt(kills));
    await reference.dispose();
  }, 120_000);
});

const code = 'RAFTSEAL_KV_COMMIT_FAILED';

describe('a store that cannot be written', () => {
  it('ends the shard with a code, tries no further commit and keeps what was durable', async () => {
    const directory = join(base, 'limited');
    const limited = 'trap \'\' XFSZ; ulimit -f 256; exec "$@"';
    const command = ['bash', '-c', limited, 'bash', process.execPath, program.path];
    const outcome = await run([...command, directory, 'sealed', '1']);
    expect(outcome.lastLine).toBe(`failed ${code}, then ${code}, ${code}`);
    expect(outcome.durableIndex).toBeGreaterThan(0n);
    await verify(directory, outcome);
  }, 30_000);
});

describe('a store whose files cannot be made', () => {
  it('is refused with a code, and does not end the process', async () => {
    const directory = join(base, 'no-room');
    // 8,192 bytes: not as much as LMDB maps into memory of its lock file.
    const limited = 'trap \'\' XFSZ; ulimit -f 8; exec "$@"';
    const command = ['bash', '-c', limited, 'bash', process.execPath, program.path];
    const { lastLine } = await run([...command, directory, 'sealed', '1']);
    expect(lastLine).toContain('RAFTSEAL_KV_OPEN_FAILED');
  });
});

async function verify(directory: string, outcome: Outcome): Promise<void> {
  const reference = await TestShard.open({ shardId: 1 });
  const seal = rowSeal(1, 9);
  const machine = await KvStateMachine.open({ directory, shardId: 1, seal, holdCheckpoints: true });
  expect(machine.durableIndex).toBeGreaterThanOrEqual(outcome.durableIndex);
  await compare(reference, machine);
  await machine.close();
  await reference.dispose();
}

/** Needs strace, and minutes: run by `pnpm test:strace`. */
function systemCallFaults(): void {
  it.each(['fdatasync', 'pwrite64'])(
    'an error from the nth %s: a code, no further commit, and nothing durable is lost',
    async (call) => {
      let injected = 0;
      for (const nth of [1, 2, 3, 5, 8, 13, 21]) {
        const directory = join(base, `${call}-${nth}`);
        mkdirSync(directory);
        const trace = `${directory}.trace`;
        const strace = ['strace', '-f', '--seccomp-bpf', '-qq', '-o', trace];
        const paths = ['-P', join(directory, 'data.mdb'), '-P', directory];
        const inject = ['-e', `trace=${call}`, '-e', `inject=${call}:error=EIO:when=${nth}`];
        const command = [process.execPath, program.path, directory, 'sealed', '1'];
        const traced = ['timeout', '-s', 'KILL', '5', ...strace, ...paths, ...inject, ...command];
        const outcome = await run(traced);
        if (!readFileSync(trace, 'latin1').includes('(INJECTED)')) continue;
        injected++;
        if (outcome.lastLine.includes(code)) {
          expect(outcome.lastLine).toBe(`failed ${code}, then ${code}, ${code}`);
        }
        await verify(directory, outcome);
      }
      expect(injected).toBeGreaterThan(0);
    },
    120_000,
  );
}

if (process.env.RAFTSEAL_STRACE) describe('a disk that fails', systemCallFaults);
