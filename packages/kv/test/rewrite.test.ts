import type { Reply } from '@raftseal/interface';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeCommand, KvStateMachine, type RewriteProgress } from '../src/index.ts';
import { anyCommand } from './support/arbitraries.ts';
import { TestBatch } from './support/batch.ts';
import { LAST_DEK, NEXT_DEK, rotate, rowSeal, STORAGE_DEK } from './support/seal.ts';
import { START_MS, TestShard } from './support/shard.ts';
import { install, snapshotOf } from './support/snapshots.ts';
import { editRows, flipBit } from './support/store-files.ts';

const shards: TestShard[] = [];
async function openShard(...args: Parameters<typeof TestShard.open>): Promise<TestShard> {
  const shard = await TestShard.open(...args);
  shards.push(shard);
  return shard;
}
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

/** A pass in the background, as fast as it can. */
const unbound = { checkpointIdleMs: 1, rewriteBytesPerSecond: 2 ** 40 };
/** A pass of a few rows in each checkpoint that the test asks for. */
const slow = { rewriteBytesPerSecond: 20_000 };

async function until(reached: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!reached()) {
    if (performance.now() > deadline) throw new Error('it did not come to that');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function progressOf({ machine }: TestShard): RewriteProgress | null {
  return machine.statistics().rewrite;
}

const isRewritten = (shard: TestShard) => (): boolean => progressOf(shard) === null;
const isEnded = (shard: TestShard) => (): boolean => progressOf(shard)?.remainingMs === 0;

async function rowsByDekId({ machine }: TestShard): Promise<Record<string, number>> {
  return Object.fromEntries((await machine.census()).rowsByDekId);
}

function fill(shard: TestShard, count: number, value: string): void {
  const commands = Array.from({ length: count }, (_, i) => ['set', `k${i}`, `${value}-${i}`]);
  apply(shard, commands);
}

function apply(shard: TestShard, commands: readonly (readonly string[])[]): Reply[] {
  const encoded = commands.map((command) => encodeCommand(command));
  const index = shard.machine.appliedIndex + 1n;
  return shard.machine.apply(new TestBatch(index, shard.nowMs, encoded));
}

async function shardOf(count: number, options: object = unbound): Promise<TestShard> {
  const shard = await openShard({ seal: rowSeal() });
  fill(shard, count, 'value');
  await shard.reopen({ ...options, seal: rowSeal(1, 2) });
  return shard;
}

describe('the rows of a shard after a rotation', () => {
  it('follow to the active DEK without a write, the meta row too, and are not looked at again', async () => {
    const seal = rowSeal();
    const shard = await openShard({ ...unbound, seal });
    fill(shard, 400, 'value');
    apply(shard, [
      ['hset', 'hash', 'f', 'v'],
      ['set', 'empty', ''],
      ['set', 'large', 'x'.repeat(200_000)],
    ]);
    await shard.machine.flush();
    const state = shard.state();
    expect(await rowsByDekId(shard)).toEqual({ [STORAGE_DEK]: 404 });
    expect(progressOf(shard)).toBe(null);
    rotate(seal, NEXT_DEK);
    expect(progressOf(shard)).toMatchObject({ dekId: NEXT_DEK, rowsDone: 0, rowsTotal: 403 });
    shard.machine.rewriteRows();
    await until(isRewritten(shard));
    expect(await rowsByDekId(shard)).toEqual({ [NEXT_DEK]: 404 });
    expect(shard.state()).toBe(state);
    await shard.reopen({ ...unbound, seal: rowSeal(1, 2, NEXT_DEK) });
    expect(progressOf(shard)).toBe(null);
    expect(shard.state()).toBe(state);
    shard.machine.rewriteRows();
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(shard.machine.statistics().checkpoints).toBe(0);
  });

  it('follow soon where a checkpoint was hurried on, however much is written and waited for', async () => {
    const seal = rowSeal();
    const never = { checkpointAgeMs: 2 ** 30, checkpointIdleMs: 2 ** 30 };
    const shard = await openShard({ ...unbound, ...never, seal });
    fill(shard, 5_000, 'value');
    await shard.machine.flush();
    rotate(seal, NEXT_DEK);
    shard.machine.rewriteRows();
    shard.line('set other 1');
    await shard.machine.flush();
    expect(progressOf(shard)?.rowsDone).toBeLessThan(5_000);
    await until(isRewritten(shard));
    expect(await rowsByDekId(shard)).toEqual({ [NEXT_DEK]: 5_002 });
  });

  it('follow where there is none but the meta row', async () => {
    const seal = rowSeal();
    const shard = await openShard({ ...unbound, seal });
    shard.machine.skip(1n);
    await shard.machine.flush();
    rotate(seal, NEXT_DEK);
    shard.machine.rewriteRows();
    await until(isRewritten(shard));
    expect(await rowsByDekId(shard)).toEqual({ [NEXT_DEK]: 1 });
  });

  it('follow beside the rows of other checkpoints, as many as the budget has room for', async () => {
    const shard = await shardOf(1_000, { ...slow, seal: rowSeal() });
    await shard.reopen({ ...slow, seal: rowSeal(1, 3, NEXT_DEK) });
    shard.line('set other 1');
    await shard.machine.flush();
    const progress = progressOf(shard);
    expect(progress).toMatchObject({ dekId: NEXT_DEK, quarantined: 0, quarantinedRows: [] });
    expect(progress?.rowsTotal).toBe(1_001);
    expect(progress?.rowsDone).toBeGreaterThan(0);
    expect(progress?.rowsDone).toBeLessThan(900);
    // Those that were met, the one that was written, and the meta row; more by the next checkpoint.
    const met = progress?.rowsDone ?? 0;
    const { [STORAGE_DEK]: left = 0, [NEXT_DEK]: sealed = 0 } = await rowsByDekId(shard);
    expect(left + sealed).toBe(1_002);
    expect(sealed).toBeGreaterThanOrEqual(met + 2);
    // The pass goes on from there, and ends.
    await shard.reopen({ ...slow, holdCheckpoints: true, seal: rowSeal(1, 4, NEXT_DEK) });
    expect(progressOf(shard)?.rowsDone).toBeGreaterThanOrEqual(sealed - 2);
    await shard.reopen({ ...unbound, seal: rowSeal(1, 5, NEXT_DEK) });
    await until(isRewritten(shard));
    expect(await rowsByDekId(shard)).toEqual({ [NEXT_DEK]: 1_002 });
  });

  it('keep their times of expiry, in the index too', async () => {
    const seal = rowSeal();
    const shard = await openShard({ ...unbound, seal });
    apply(
      shard,
      Array.from({ length: 300 }, (_, i) => ['set', `k${i}`, 'v', 'px', `${1_000 + i}`]),
    );
    shard.line('set stays v px 1000000');
    await shard.machine.flush();
    rotate(seal, NEXT_DEK);
    shard.machine.rewriteRows();
    await until(isRewritten(shard));
    await shard.reopen({ ...unbound, seal: rowSeal(1, 2, NEXT_DEK) });
    shard.nowMs = START_MS + 2_000;
    const command = shard.machine.expired(shard.nowMs, 1_000);
    expect(command === undefined ? [] : shard.applyRaw(command)).toEqual([300]);
    await shard.machine.flush();
    expect(shard.scanAll()).toEqual(['stays']);
    expect(shard.machine.expired(shard.nowMs, 1_000)).toBeUndefined();
    expect(shard.query('pexpiretime', 'stays')).toBe(START_MS + 1_000_000);
  });

  it('follow where they were only just sealed, and nothing in the clear is left', async () => {
    const shard = await openShard({ ...unbound, seal: 'cleartext' });
    fill(shard, 500, 'value');
    await shard.machine.flush();
    const state = shard.state();
    const seal = rowSeal();
    shard.machine.sealRows(seal);
    const flushed = shard.machine.flush();
    await turn();
    rotate(seal, NEXT_DEK);
    shard.machine.rewriteRows();
    await flushed;
    await until(isRewritten(shard));
    expect(await rowsByDekId(shard)).toEqual({ [NEXT_DEK]: 501 });
    expect(shard.machine.statistics()).toMatchObject({ rowsCleartext: 0, cleartextLeft: false });
    expect(shard.state()).toBe(state);
  });

  it('follow the second of two rotations, also where the first pass is not over', async () => {
    const shard = await shardOf(1_000, { ...slow, seal: rowSeal() });
    const seal = rowSeal(1, 3, NEXT_DEK);
    await shard.reopen({ ...slow, seal });
    shard.line('set other 1');
    await shard.machine.flush();
    expect(Object.keys(await rowsByDekId(shard))).toEqual([`${STORAGE_DEK}`, `${NEXT_DEK}`]);
    rotate(seal, LAST_DEK);
    shard.machine.rewriteRows();
    expect(progressOf(shard)).toMatchObject({ dekId: LAST_DEK, rowsDone: 0 });
    await shard.reopen({ ...unbound, seal: rowSeal(1, 4, LAST_DEK) });
    await until(isRewritten(shard));
    expect(await rowsByDekId(shard)).toEqual({ [LAST_DEK]: 1_002 });
  });

  it('follow a rotation that falls between the rows of one checkpoint', async () => {
    const seal = rowSeal();
    const shard = await openShard({ ...unbound, seal, dirtyBytesMax: 1_000_000 });
    fill(shard, 500, 'value');
    await shard.machine.flush();
    rotate(seal, NEXT_DEK);
    const fresh = Array.from({ length: 1_000 }, (_, i) => ['set', `n${i}`, 'x'.repeat(1_000)]);
    apply(shard, fresh);
    await turn();
    // The checkpoint runs, and has sealed some of its rows; then it comes to the pass.
    rotate(seal, LAST_DEK);
    await until(() => shard.machine.durableIndex === shard.machine.appliedIndex);
    // Nothing of it may count as being under the last DEK, whatever it is under.
    const snapshot = await shard.machine.snapshot();
    const { openSnapshots, rowsByDekId: rows } = await shard.machine.census();
    expect(openSnapshots).toEqual([{ index: shard.machine.durableIndex, onlyDekId: null }]);
    expect(rows.get(NEXT_DEK)).toBeGreaterThan(0);
    snapshot.release();
    await until(isRewritten(shard));
    expect(await rowsByDekId(shard)).toEqual({ [LAST_DEK]: 1_501 });
  });
});

describe('HAZARD ADES-06: a row that is sealed again', () => {
  it('never overwrites a newer write, nor brings back what was deleted', async () => {
    const seal = rowSeal();
    const shard = await openShard({ ...unbound, seal, dirtyBytesMax: 1_000_000 });
    fill(shard, 2_000, 'old');
    await shard.machine.flush();
    rotate(seal, NEXT_DEK);
    // So many that a checkpoint begins at once, with all of the pass in it.
    const written = Array.from({ length: 500 }, (_, i) => ['set', `k${i}`, 'x'.repeat(2_000)]);
    const deleted = Array.from({ length: 500 }, (_, i) => ['del', `k${500 + i}`]);
    apply(shard, [...written, ...deleted]);
    const state = shard.state();
    await until(isRewritten(shard));
    expect(shard.machine.statistics().checkpoints).toBe(2);
    await shard.reopen({ seal: rowSeal(1, 2, NEXT_DEK) });
    expect(shard.state() === state).toBe(true);
    expect(await rowsByDekId(shard)).toEqual({ [NEXT_DEK]: 1_501 });
  });

  it('invariant 9: leaves the state of every random schedule as it is', async () => {
    const step = fc.record({
      commands: fc.array(anyCommand, { minLength: 1, maxLength: 20 }),
      waitMs: fc.constantFrom(0, 0, 1, 4),
      rotates: fc.integer({ min: 0, max: 5 }).map((number) => number === 0),
      flushes: fc.integer({ min: 0, max: 4 }).map((number) => number === 0),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
        const seal = rowSeal();
        const options = { ...unbound, seal, cacheBytesMax: 500, dirtyBytesMax: 1_500 };
        const shard = await openShard(options);
        const model = await openShard({ dirtyBytesMax: 2 ** 30 });
        const deks = [NEXT_DEK, LAST_DEK];
        let active = STORAGE_DEK;
        for (const { commands, waitMs, rotates, flushes } of steps) {
          expect(apply(shard, commands)).toEqual(apply(model, commands));
          if (rotates) {
            active = deks.shift() ?? active;
            if (seal.activeDekId !== active) rotate(seal, active);
            shard.machine.rewriteRows();
          }
          if (flushes) void shard.machine.flush();
          if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
        }
        await shard.machine.flush();
        await until(isRewritten(shard));
        expect(shard.state() === model.state()).toBe(true);
        await shard.reopen({ seal: rowSeal(1, 9, active) });
        expect(shard.state() === model.state()).toBe(true);
        expect(Object.keys(await rowsByDekId(shard))).toEqual([`${active}`]);
        for (const each of shards.splice(0)) await each.dispose();
      }),
      { numRuns: Number(process.env.RAFTSEAL_REWRITES ?? 8) },
    );
  }, 120_000);
});

describe('a row that does not open', () => {
  const rowKeyOf = (key: string): Buffer => rowSeal().rowKey(3, Buffer.from(key));

  /** A closed shard, in whose file so many rows are damaged. */
  async function damaged(keys: readonly string[]): Promise<TestShard> {
    const shard = await shardOf(400, { seal: rowSeal() });
    await shard.machine.close();
    const damagedRows = new Set(keys.map((key) => rowKeyOf(key).toString('hex')));
    await editRows(shard.options.directory, 'sealed', ({ key, value }) =>
      damagedRows.has(key.toString('hex')) ? flipBit(value, value.length * 8 - 1) : value,
    );
    return shard;
  }

  async function reopen(shard: TestShard, nonceEpoch: number): Promise<void> {
    const seal = rowSeal(1, nonceEpoch, NEXT_DEK);
    shard.machine = await KvStateMachine.open({ ...shard.options, ...unbound, seal });
  }

  it('is named and stays as it is, and all others follow', async () => {
    const shard = await damaged(['k7', 'k300']);
    for (const nonceEpoch of [5, 6]) {
      // A pass of a later process names them again.
      await reopen(shard, nonceEpoch);
      await until(isEnded(shard));
      expect(progressOf(shard)).toMatchObject({
        dekId: NEXT_DEK,
        rowsDone: 398,
        rowsTotal: 400,
        quarantined: 2,
      });
      const named = progressOf(shard)?.quarantinedRows ?? [];
      const code = 'RAFTSEAL_ENVELOPE_INTEGRITY';
      const expected = ['k7', 'k300'].map((key) => ({
        rowKey: rowKeyOf(key).toString('hex'),
        code,
      }));
      expect(new Set(named)).toEqual(new Set(expected));
      expect(await rowsByDekId(shard)).toEqual({ [STORAGE_DEK]: 2, [NEXT_DEK]: 399 });
      expect(shard.query('get', 'k8')).toBe('value-8');
      expect(JSON.stringify(shard.query('get', 'k7'))).toContain('RAFTSEAL_KV_ROW_CORRUPT');
      if (nonceEpoch === 5) await shard.machine.close();
    }
    // Nothing more is done for them, and their shard is not disturbed.
    const { checkpoints } = shard.machine.statistics();
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(shard.machine.statistics().checkpoints).toBe(checkpoints);
  });

  it('leaves the quarantine when its key is set anew, or all keys go', async () => {
    const shard = await damaged(['k7', 'k300']);
    await reopen(shard, 5);
    await until(isEnded(shard));
    shard.line('set k7 healed');
    await shard.machine.flush();
    expect(progressOf(shard)).toMatchObject({ quarantined: 1, rowsDone: 399 });
    shard.line('set k300 healed');
    await shard.machine.flush();
    await until(isRewritten(shard));
    expect(await rowsByDekId(shard)).toEqual({ [NEXT_DEK]: 401 });
    const again = await damaged(['k7']);
    await reopen(again, 5);
    await until(isEnded(again));
    again.line('flushall');
    await again.machine.flush();
    await until(isRewritten(again));
    expect(await rowsByDekId(again)).toEqual({ [NEXT_DEK]: 1 });
  });

  it('is written in the checkpoint that would seal it again', async () => {
    const shard = await damaged(['k7']);
    const seal = rowSeal(1, 5, NEXT_DEK);
    shard.machine = await KvStateMachine.open({
      ...shard.options,
      ...unbound,
      dirtyBytesMax: 10,
      seal,
    });
    // It begins at once, with the pass in it.
    shard.line('set k7 healed');
    await until(isRewritten(shard));
    expect(await rowsByDekId(shard)).toEqual({ [NEXT_DEK]: 401 });
    expect(shard.query('get', 'k7')).toBe('healed');
  });

  it('is counted where there are more than are named', async () => {
    const keys = Array.from({ length: 130 }, (_, i) => `k${i}`);
    const shard = await damaged(keys);
    await reopen(shard, 5);
    await until(isEnded(shard));
    expect(progressOf(shard)).toMatchObject({ quarantined: 130, rowsDone: 270 });
    expect(progressOf(shard)?.quarantinedRows).toHaveLength(100);
    apply(
      shard,
      keys.slice(3).map((key) => ['set', key, 'healed']),
    );
    await shard.machine.flush();
    await until(() => progressOf(shard)?.quarantined === 3 || isEnded(shard)());
    apply(
      shard,
      keys.map((key) => ['set', key, 'healed']),
    );
    await shard.machine.flush();
    await until(isRewritten(shard));
    expect(await rowsByDekId(shard)).toEqual({ [NEXT_DEK]: 401 });
  });

  it('may name no DEK at all', async () => {
    const shard = await shardOf(20, { seal: rowSeal() });
    await shard.machine.close();
    await editRows(shard.options.directory, 'sealed', ({ key, value }) =>
      key.equals(rowKeyOf('k7')) ? value.subarray(0, 12) : value,
    );
    await reopen(shard, 5);
    await until(isEnded(shard));
    expect(progressOf(shard)?.quarantinedRows).toEqual([
      { rowKey: rowKeyOf('k7').toString('hex'), code: 'RAFTSEAL_ENVELOPE_TOO_SHORT' },
    ]);
    const { rowsByDekId: rows, rowsUnreadable } = await shard.machine.census();
    expect([Object.fromEntries(rows), rowsUnreadable]).toEqual([{ [NEXT_DEK]: 20 }, 1]);
  });
});

describe('a snapshot from a shard that has not followed a rotation', () => {
  it('is brought under the active DEK by who installs it, from where the sender was', async () => {
    const from = await shardOf(500, { ...slow, seal: rowSeal() });
    await from.reopen({ ...slow, seal: rowSeal(1, 3, NEXT_DEK) });
    from.line('set other 1');
    await from.machine.flush();
    const snapshot = await snapshotOf(from.machine);
    const halfway = progressOf(from)?.rowsDone;
    const to = await openShard({ ...unbound, seal: rowSeal(1, 4, NEXT_DEK) });
    to.line('set a 1');
    await to.machine.flush();
    expect(progressOf(to)).toBe(null);
    await install(to.machine, snapshot);
    expect((await to.machine.census()).installs).toBe(1);
    expect(progressOf(to)).toMatchObject({ dekId: NEXT_DEK, rowsDone: halfway });
    await until(isRewritten(to));
    expect(await rowsByDekId(to)).toEqual({ [NEXT_DEK]: 502 });
    expect(to.state()).toBe(from.state());
  });

  it('needs nothing where all of it is under the active DEK', async () => {
    const seal = rowSeal();
    const from = await openShard({ seal });
    fill(from, 50, 'value');
    const to = await openShard({ ...unbound, seal: rowSeal(1, 2) });
    await install(to.machine, await snapshotOf(from.machine));
    expect(progressOf(to)).toBe(null);
    const late = await openShard({ ...unbound, seal: rowSeal(1, 3, NEXT_DEK) });
    await install(late.machine, await snapshotOf(from.machine));
    await until(isRewritten(late));
    expect(await rowsByDekId(late)).toEqual({ [NEXT_DEK]: 51 });
  });
});

describe('the census', () => {
  it('counts rows in the clear, and under which DEK the others are', async () => {
    const shard = await openShard();
    fill(shard, 20, 'value');
    await shard.machine.flush();
    expect(await shard.machine.census()).toEqual({
      index: 1n,
      rowsByDekId: new Map([[0, 21]]),
      rowsUnreadable: 0,
      activeDekId: null,
      openSnapshots: [],
      installing: false,
      installs: 0,
    });
    shard.machine.sealRows(rowSeal());
    // In memory only: it is under no DEK yet.
    shard.line('set another 1');
    expect((await shard.machine.census()).rowsByDekId).toEqual(new Map([[0, 21]]));
    await shard.machine.flush();
    const census = await shard.machine.census();
    expect(census.rowsByDekId).toEqual(new Map([[STORAGE_DEK, 22]]));
    expect(census.activeDekId).toBe(STORAGE_DEK);
  });

  it('is of what a checkpoint that runs will have written', async () => {
    const shard = await openShard({ seal: rowSeal() });
    fill(shard, 2_000, 'value');
    void shard.machine.flush();
    const { index, rowsByDekId: rows } = await shard.machine.census();
    expect([index, rows]).toEqual([1n, new Map([[STORAGE_DEK, 2_001]])]);
  });

  it('names the snapshots that are being read out, and says what they may need', async () => {
    const seal = rowSeal();
    const shard = await openShard({ seal, ...slow });
    fill(shard, 200, 'value');
    await shard.machine.flush();
    const first = await shard.machine.snapshot();
    rotate(seal, NEXT_DEK);
    shard.line('set other 1');
    await shard.machine.flush();
    const second = await shard.machine.snapshot();
    expect((await shard.machine.census()).openSnapshots).toEqual([
      { index: 1n, onlyDekId: STORAGE_DEK },
      { index: 2n, onlyDekId: null },
    ]);
    first.release();
    for await (const chunk of second.chunks()) expect(chunk.length).toBeGreaterThan(0);
    second.release();
    expect((await shard.machine.census()).openSnapshots).toEqual([]);
  });

  it('says that a snapshot is being installed', async () => {
    const shard = await openShard({ seal: rowSeal() });
    const from = await openShard({ seal: rowSeal(1, 2) });
    from.line('set a 1');
    const { bytes, expected } = await snapshotOf(from.machine);
    const gate: { open?: () => void } = {};
    async function* chunks(): AsyncGenerator<Buffer, void> {
      yield bytes.subarray(0, 10);
      await new Promise<void>((resolve) => {
        gate.open = resolve;
      });
      yield bytes.subarray(10);
    }
    const installed = shard.machine.install(chunks(), expected);
    await until(() => gate.open !== undefined);
    expect(await shard.machine.census()).toMatchObject({ installing: true, installs: 0 });
    gate.open?.();
    await installed;
    expect(await shard.machine.census()).toMatchObject({ installing: false, installs: 1 });
  });

  it('ends when it is aborted, and is refused before checkpoints are taken', async () => {
    const shard = await shardOf(3_000, { seal: rowSeal() });
    const controller = new AbortController();
    const counting = shard.machine.census(controller.signal);
    controller.abort(new Error('enough'));
    await expect(counting).rejects.toThrow('enough');
    await expect(shard.machine.census(controller.signal)).rejects.toThrow('enough');
    await shard.reopen({ holdCheckpoints: true, seal: rowSeal(1, 3) });
    const held = expect.objectContaining({ code: 'RAFTSEAL_KV_CHECKPOINTS_HELD' });
    await expect(shard.machine.census()).rejects.toThrow(held);
  });
});

it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])(
  'a budget of %d bytes a second is refused',
  async (rewriteBytesPerSecond) => {
    await expect(openShard({ rewriteBytesPerSecond })).rejects.toThrow(RangeError);
  },
);
