import { cpSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RowSeal } from '@raftseal/interface';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeCommand, KvStateMachine } from '../src/index.ts';
import { TestBatch } from './support/batch.ts';
import { inactiveRowSeal, rotate, rowSeal, STORAGE_DEK } from './support/seal.ts';
import { TestShard } from './support/shard.ts';

const shards: TestShard[] = [];
async function openShard(...args: Parameters<typeof TestShard.open>): Promise<TestShard> {
  const shard = await TestShard.open(...args);
  shards.push(shard);
  return shard;
}
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function until(reached: () => boolean, timeoutMs = 25_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!reached()) {
    if (performance.now() > deadline) throw new Error('it did not come to that');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** What a crash now would leave, as a shard of its own. */
async function crashed(shard: TestShard): Promise<TestShard> {
  const directory = mkdtempSync(join(tmpdir(), 'raftseal-kv-'));
  cpSync(shard.options.directory, directory, { recursive: true });
  return openShard({ ...shard.options, directory, holdCheckpoints: true });
}

const KEYS = 6_000;
const HASHES = 300;

/** Every key and hash once more than before, in one entry for each part. */
function countUp(shard: TestShard, part: number, parts: number): void {
  const commands: Buffer[] = [];
  for (let i = part; i < KEYS; i += parts) commands.push(encodeCommand(['incr', `k${i}`]));
  for (let i = part; i < HASHES; i += parts) {
    commands.push(encodeCommand(['hincrby', `h${i}`, 'f', '1']));
    if (i % 3 === 0) commands.push(encodeCommand(['hset', `h${i}`, `f${shard.nowMs}`, 'new']));
  }
  shard.machine.apply(new TestBatch(shard.machine.appliedIndex + 1n, shard.nowMs, commands));
}

describe('a checkpoint', () => {
  it('AROT-15: waits while the key is used up, which ends no shard, and goes on with the next', async () => {
    let isUsedUp = true;
    const seal = rowSeal(1, 1, STORAGE_DEK, () => isUsedUp);
    const shard = await openShard({ seal, checkpointIdleMs: 100, checkpointAgeMs: 100 });
    countUp(shard, 0, 1);
    expect(await shard.machine.flush()).toBe(0n);
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(shard.machine.statistics()).toMatchObject({ checkpoints: 0, durableIndex: 0n });
    expect(shard.machine.pressure).toBe(0);
    isUsedUp = false;
    await until(() => shard.machine.durableIndex === shard.machine.appliedIndex);
  });

  it('invariant 12: waits until rows can be sealed, which ends no shard, and goes on then', async () => {
    const shard = await openShard({ checkpointIdleMs: 100, checkpointAgeMs: 100 });
    countUp(shard, 0, 2);
    const durable = await shard.machine.flush();
    // As after a snapshot: the key state says that rows are sealed, and this process may not yet.
    const seal = inactiveRowSeal();
    shard.machine.sealRows(seal);
    countUp(shard, 1, 2);
    expect(await shard.machine.flush()).toBe(durable);
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(shard.machine.durableIndex).toBe(durable);
    await expect(shard.machine.snapshot()).rejects.toMatchObject({
      code: 'RAFTSEAL_KV_CHECKPOINTS_HELD',
    });
    rotate(seal, STORAGE_DEK);
    await until(() => shard.machine.durableIndex === shard.machine.appliedIndex);
    expect(shard.machine.statistics().rowsCleartext).toBe(0);
  });

  it('invariant 12: follows as soon as rows are to be sealed, for snapshots are taken from it', async () => {
    const shard = await openShard();
    countUp(shard, 0, 1);
    shard.machine.sealRows(rowSeal());
    await until(() => shard.machine.durableIndex === shard.machine.appliedIndex);
    const snapshot = await shard.machine.snapshot();
    snapshot.release();
    expect(snapshot.isSealed).toBe(true);
  });

  it('invariant 9: holds the state of one index, though every key changes while it is gathered', async () => {
    const shard = await openShard({ seal: rowSeal() });
    countUp(shard, 0, 1);
    const index = shard.machine.appliedIndex;
    const state = shard.state();
    let durable = 0n;
    void shard.machine.flush().then(() => {
      durable = shard.machine.durableIndex;
    });
    let rounds = 0;
    for (; durable === 0n; rounds++) {
      // From the last entries to the first, so that most change before their turn comes.
      for (let part = 9; part >= 0 && durable === 0n; part--) {
        countUp(shard, part, 10);
        await turn();
      }
    }
    expect(rounds).toBeGreaterThan(0);
    expect(durable).toBe(index);
    const copy = await crashed(shard);
    expect(copy.machine.durableIndex).toBe(index);
    expect(copy.state() === state).toBe(true);
    expect(shard.state() === state).toBe(false);
    await shard.machine.flush();
    const later = await crashed(shard);
    expect(later.state() === shard.state()).toBe(true);
  });

  it('invariant 9: holds no trace of a FLUSHALL that comes while it is gathered', async () => {
    const shard = await openShard();
    countUp(shard, 0, 1);
    const state = shard.state();
    const flushed = shard.machine.flush();
    await turn();
    shard.line('flushall');
    shard.line('set after 1');
    await flushed;
    const copy = await crashed(shard);
    expect(copy.state() === state).toBe(true);
    expect(shard.scanAll()).toEqual(['after']);
    expect(shard.machine.size()).toBe(1);
    await shard.machine.flush();
    const later = await crashed(shard);
    expect(later.scanAll()).toEqual(['after']);
    expect(later.machine.size()).toBe(1);
  });

  it('starts by itself when changes come to rest, grow old or grow many', async () => {
    const resting = await openShard({ checkpointIdleMs: 150, checkpointAgeMs: 3_600_000 });
    resting.line('set a 1');
    await until(() => resting.machine.durableIndex === 1n);

    const old = await openShard({ checkpointIdleMs: 3_600_000, checkpointAgeMs: 200 });
    old.line('set a 1');
    await until(() => old.machine.durableIndex === 1n);

    const many = await openShard({ dirtyBytesMax: 10_000 });
    for (let i = 0; i < 9; i++) many.run('set', `k${i}`, 'x'.repeat(1_000));
    expect(many.machine.durableIndex).toBe(0n);
    many.run('set', 'k9', 'x'.repeat(1_000));
    await until(() => many.machine.durableIndex > 0n);
    expect(many.machine.statistics().checkpoints).toBe(1);
  });

  it('starts for entries without commands too', async () => {
    const shard = await openShard({ checkpointIdleMs: 150 });
    shard.machine.skip(1n);
    await until(() => shard.machine.durableIndex === 1n);
  });

  it('waits where it is held back', async () => {
    const shard = await openShard({ holdCheckpoints: true, checkpointIdleMs: 100 });
    shard.line('set a 1');
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(await shard.machine.flush()).toBe(0n);
    shard.machine.startCheckpoints();
    await until(() => shard.machine.durableIndex === 1n);
  });

  it('lets pressure rise where changes come faster than they are written, and fall again', async () => {
    const shard = await openShard({ dirtyBytesMax: 100_000 });
    expect(shard.machine.pressure).toBe(0);
    for (let i = 0; i < 40; i++) shard.run('set', `k${i}`, 'x'.repeat(4_000));
    expect(shard.machine.pressure).toBeGreaterThan(0.5);
    for (let i = 40; i < 60; i++) shard.run('set', `k${i}`, 'x'.repeat(4_000));
    expect(shard.machine.pressure).toBe(1);
    await shard.machine.flush();
    expect(shard.machine.pressure).toBe(0);
  });

  it('leaves the event loop to others, again and again, while it is gathered', async () => {
    const shard = await openShard({ seal: rowSeal(), checkpointIdleMs: 100 });
    countUp(shard, 0, 1);
    let turns = 0;
    while (shard.machine.durableIndex === 0n) {
      if (shard.machine.statistics().checkpoints === 0) turns++;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    // Sealing one row takes microseconds, a slice half a millisecond.
    expect(turns).toBeGreaterThan(15);
  });
});

describe('the cache', () => {
  it('stays near its bound, and what left it is read again', async () => {
    const shard = await openShard({ seal: rowSeal(), cacheBytesMax: 50_000 });
    for (let i = 0; i < 2_000; i++) shard.run('set', `k${i}`, `value-${i}`);
    await shard.machine.flush();
    for (let i = 0; i < 2_000; i++) expect(shard.query('get', `k${i}`)).toBe(`value-${i}`);
    const { cacheBytes, cacheKeys } = shard.machine.statistics();
    expect(cacheBytes).toBeLessThan(60_000);
    expect(cacheKeys).toBeGreaterThan(100);
  });

  it('keeps what is read often', async () => {
    let opened = 0;
    const seal = rowSeal();
    const counting: RowSeal = {
      activeDekId: seal.activeDekId,
      dekIdOf: seal.dekIdOf.bind(seal),
      rowKey: seal.rowKey.bind(seal),
      seal: seal.seal.bind(seal),
      open: (...args: Parameters<typeof seal.open>) => {
        opened++;
        return seal.open(...args);
      },
    };
    const shard = await openShard({ seal: counting, cacheBytesMax: 50_000 });
    for (let i = 0; i < 1_000; i++) shard.run('set', `k${i}`, 'v');
    await shard.machine.flush();
    for (let i = 0; i < 1_000; i++) {
      shard.query('get', `k${i}`);
      shard.query('get', 'k5');
    }
    opened = 0;
    shard.query('get', 'k5');
    expect(opened).toBe(0);
  });
});

describe('a closed shard', () => {
  it('has flushed, answers with a code, and closes again without complaint', async () => {
    const shard = await openShard();
    shard.line('set a 1');
    await Promise.all([shard.machine.close(), shard.machine.close()]);
    await shard.machine.close();
    const closed = expect.objectContaining({ code: 'RAFTSEAL_KV_CLOSED' });
    expect(() => shard.query('get', 'a')).toThrow(closed);
    expect(() => shard.line('set a 2')).toThrow(closed);
    shard.machine = await KvStateMachine.open(shard.options);
    expect(shard.query('get', 'a')).toBe('1');
  });
});
