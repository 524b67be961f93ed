/** A pass over the rows in a process of its own, which is killed between and within checkpoints. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { KvStateMachine } from '../src/index.ts';
import { bundle, type Program, run } from './support/program.ts';
import { NEXT_DEK, rowSeal, STORAGE_DEK } from './support/seal.ts';
import { stateOf, TestShard } from './support/shard.ts';

const KILLS = 4;
const ROWS = 2_000;
let base: string;
let program: Program;

beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'raftseal-kv-'));
  program = await bundle('rewriting-process.ts');
});

afterAll(() => {
  rmSync(base, { recursive: true, force: true });
  program.remove();
});

it('invariant 2: a pass that is killed goes on from where it was, and loses nothing', async () => {
  const directory = join(base, 'killed');
  const shard = await TestShard.open({ directory, seal: rowSeal() });
  for (let i = 0; i < ROWS; i++) shard.run('set', `k${i}`, `value-${i}`, 'px', `${50_000 + i}`);
  await shard.machine.flush();
  const state = shard.state();
  await shard.machine.close();
  let done = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const nonceEpoch = 2 + kill;
    const command = [process.execPath, program.path, directory, `${nonceEpoch}`];
    const printed = (await run(command, kill * 87)).at(-1) ?? '';
    const seal = rowSeal(1, 1_000 + kill, NEXT_DEK);
    const options = { directory, shardId: 3, seal, rewriteBytesPerSecond: 1 };
    const held = await KvStateMachine.open({ ...options, holdCheckpoints: true });
    const { rewrite } = held.statistics();
    expect(rewrite).toMatchObject({ dekId: NEXT_DEK, rowsTotal: ROWS, quarantined: 0 });
    expect(rewrite?.rowsDone).toBeGreaterThanOrEqual(Number.parseInt(printed, 10));
    expect(rewrite?.rowsDone).toBeGreaterThanOrEqual(done);
    done = rewrite?.rowsDone ?? 0;
    expect(done).toBeGreaterThan(0);
    expect(stateOf(held, shard.nowMs) === state).toBe(true);
    await held.close();
    const counting = await KvStateMachine.open({ ...options, checkpointIdleMs: 3_600_000 });
    const { rowsByDekId } = await counting.census();
    // Those that were done, and the meta row.
    expect(rowsByDekId.get(NEXT_DEK) ?? 0).toBe(done + 1);
    expect(rowsByDekId.get(STORAGE_DEK)).toBe(ROWS - done);
    await counting.close();
  }
  expect(done).toBeLessThan(ROWS);
  await shard.reopen({ seal: rowSeal(1, 9_999, NEXT_DEK), checkpointIdleMs: 1 });
  const deadline = performance.now() + 20_000;
  while (shard.machine.statistics().rewrite !== null && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect((await shard.machine.census()).rowsByDekId).toEqual(new Map([[NEXT_DEK, ROWS + 1]]));
  expect(shard.state() === state).toBe(true);
  await shard.dispose();
}, 60_000);
