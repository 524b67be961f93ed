/** Installs in a process of their own: killed at every step, at any time, and without room. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KvStateMachine } from '../src/index.ts';
import { bundle, type Program, run } from './support/program.ts';
import { rowSeal } from './support/seal.ts';
import { START_MS, TestShard } from './support/shard.ts';
import { snapshotOf, type WholeSnapshot } from './support/snapshots.ts';

const kills = Number(process.env.RAFTSEAL_KILLS ?? 12);
let base: string;
let program: Program;
let small: WholeSnapshot;
let large: WholeSnapshot;

/** As many bytes in all as several transactions write. */
function valueAt(number: number): string {
  return 'new'.repeat(1 + (number % 400));
}

async function makeSnapshot(name: string, rows: number): Promise<WholeSnapshot> {
  const shard = await TestShard.open({ seal: rowSeal(1, 1) });
  for (let i = 0; i < rows; i++) shard.run('set', `key:${i}`, valueAt(i));
  shard.machine.skip(1_000_000n);
  await shard.machine.flush();
  const snapshot = await snapshotOf(shard.machine);
  writeFileSync(join(base, name), snapshot.bytes);
  await shard.dispose();
  return snapshot;
}

beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'raftseal-kv-'));
  program = await bundle('installing-process.ts');
  small = await makeSnapshot('small', 50);
  large = await makeSnapshot('large', 30_000);
});

afterAll(() => {
  rmSync(base, { recursive: true, force: true });
  program.remove();
});

/** A store with a state of its own, and the command that installs a snapshot into it. */
async function prepare(
  name: string,
  file: string,
  fault: { kind: 'kill' | 'error'; step: number } = { kind: 'kill', step: -1 },
): Promise<{ directory: string; command: string[] }> {
  const directory = join(base, name);
  const shard = await TestShard.open({ directory, seal: rowSeal(1, 1) });
  for (let i = 0; i < 60; i++) shard.run('set', `key:${i}`, 'old');
  await shard.machine.close();
  const { index, timestampMs } = (file === 'small' ? small : large).expected;
  const numbers = [`${index}`, `${timestampMs}`, fault.kind, `${fault.step}`];
  const path = join(base, file);
  return { directory, command: [process.execPath, program.path, directory, path, ...numbers] };
}

/** Opens what a process has left: the old store or the new one, whole, and nothing beside it. */
async function verify(directory: string, snapshot: WholeSnapshot): Promise<'old' | 'new'> {
  const machine = await KvStateMachine.open({ directory, shardId: 3, seal: rowSeal(1, 3) });
  expect(existsSync(join(directory, 'replacement'))).toBe(false);
  const { index, timestampMs } = snapshot.expected;
  const isNew = machine.durableIndex >= index;
  const after = machine.query(['get', 'after'], START_MS) === null ? 0 : 1;
  expect(machine.durableIndex).toBe((isNew ? index : 60n) + BigInt(after));
  expect(machine.durableTimestampMs).toBe(isNew ? timestampMs : START_MS);
  expect(machine.size()).toBe((isNew ? snapshot.rowCount : 60) + after);
  for (const key of machine.keys('key:*', START_MS)) {
    const number = Number(key.slice(4));
    const value = isNew ? valueAt(number) : 'old';
    if (machine.query(['get', key], START_MS) !== value) throw new Error(`${key} is another`);
  }
  await machine.close();
  return isNew ? 'new' : 'old';
}

describe('an install whose process is killed', () => {
  it('invariant 5: leaves the old store or the new one, whole, at every step', async () => {
    const outcomes: string[] = [];
    for (let step = 0; ; step++) {
      const { directory, command } = await prepare(`step-${step}`, 'small', {
        kind: 'kill',
        step,
      });
      const lines = await run(command);
      outcomes.push(await verify(directory, small));
      if (lines.length < 3) continue;
      expect(lines).toEqual(['open', `installed ${step}`, 'goes on']);
      break;
    }
    // Once it is the new one it stays the new one.
    const first = outcomes.indexOf('new');
    expect(outcomes.slice(0, first)).toEqual(outcomes.slice(0, first).map(() => 'old'));
    expect(outcomes.slice(first)).toEqual(outcomes.slice(first).map(() => 'new'));
    expect(first).toBeGreaterThan(4);
    expect(outcomes.length - first).toBeGreaterThan(4);
  }, 120_000);

  it(`invariant 5: leaves the old store or the new one, whole, at any time, ${kills} times`, async () => {
    for (let kill = 0; kill < kills; kill++) {
      const { directory, command } = await prepare(`kill-${kill}`, 'large');
      await run(command, (kill * 97) % 900);
      await verify(directory, large);
      rmSync(directory, { recursive: true });
    }
  }, 120_000);
});

describe('an install on a disk that fails', () => {
  it('leaves the old state in use, or ends the shard where the file was replaced', async () => {
    const endings: string[] = [];
    for (let step = 0; ; step++) {
      const { directory, command } = await prepare(`error-${step}`, 'small', {
        kind: 'error',
        step,
      });
      const [, outcome = '', ending = ''] = await run(command);
      const left = await verify(directory, small);
      endings.push(ending);
      if (outcome === `installed ${step}`) {
        expect([left, ending]).toEqual(['new', 'goes on']);
        break;
      }
      if (ending === 'goes on') {
        // What is left of a replacement is removed whenever that can be done.
        expect(left).toBe(outcome.startsWith('installed') ? 'new' : 'old');
      } else {
        expect(outcome).toBe('failed RAFTSEAL_KV_COMMIT_FAILED');
        expect(ending).toBe('ended by RAFTSEAL_KV_COMMIT_FAILED');
      }
    }
    expect(endings.filter((ending) => ending !== 'goes on').length).toBeGreaterThan(3);
    expect(endings.filter((ending) => ending === 'goes on').length).toBeGreaterThan(4);
  }, 120_000);
});

describe('an install without room for it', () => {
  it('ends with a code, and the shard goes on with the old state', async () => {
    const { directory, command } = await prepare('limited', 'large');
    const limited = 'trap \'\' XFSZ; ulimit -f 2048; exec "$@"';
    const lines = await run(['bash', '-c', limited, 'bash', ...command]);
    expect(lines).toEqual(['open', 'failed RAFTSEAL_KV_COMMIT_FAILED', 'goes on']);
    expect(await verify(directory, large)).toBe('old');
  }, 60_000);
});
