import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '@raftseal/interface';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeCommand, KvStateMachine } from '../src/index.ts';
import { TestBatch } from './support/batch.ts';
import { entryOf, timeOf } from './support/entries.ts';
import { rowSeal } from './support/seal.ts';
import { START_MS, stateOf, TestShard } from './support/shard.ts';
import { cut, install, snapshotOf, type WholeSnapshot } from './support/snapshots.ts';

const shards: TestShard[] = [];
async function openShard(...args: Parameters<typeof TestShard.open>): Promise<TestShard> {
  const shard = await TestShard.open(...args);
  shards.push(shard);
  return shard;
}
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

const code = (name: string) => expect.objectContaining({ code: `RAFTSEAL_KV_${name}` });
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function fill(shard: TestShard, keys: number, value: string): void {
  const commands = Array.from({ length: keys }, (_, i) =>
    encodeCommand(['set', `key:${i}`, `${value}:${i}`]),
  );
  shard.machine.apply(new TestBatch(shard.machine.appliedIndex + 1n, shard.nowMs, commands));
}

/** A shard that is ahead of every other one, and its snapshot. */
async function ahead(keys: number, value = 'new'): Promise<WholeSnapshot> {
  const shard = await openShard({ seal: rowSeal(1, 9) });
  fill(shard, keys, value);
  shard.machine.skip(1_000n);
  await shard.machine.flush();
  return snapshotOf(shard.machine);
}

/** Chunks that come when they are let through. */
class Gate {
  readonly #waiting: (() => void)[] = [];
  #open = 0;
  returned = false;

  let(count: number): void {
    for (let i = 0; i < count; i++) {
      const next = this.#waiting.shift();
      if (next === undefined) this.#open++;
      else next();
    }
  }

  async *chunks(bytes: Buffer, pieceBytes: number): AsyncGenerator<Buffer, void> {
    try {
      for await (const piece of cut(bytes, pieceBytes)) {
        if (this.#open > 0) this.#open--;
        else await new Promise<void>((resolve) => this.#waiting.push(resolve));
        yield piece;
      }
    } finally {
      this.returned = true;
    }
  }
}

describe('an install', () => {
  it('lets reads see the old state until it is done, and none of it afterwards', async () => {
    const to = await openShard({ seal: rowSeal(1, 1) });
    fill(to, 2_000, 'old');
    to.run('set', 'gone', '1', 'PX', '60000');
    await to.machine.flush();
    to.run('hset', 'gone too', 'f', 'v');
    const snapshot = await ahead(1_500);
    const gate = new Gate();
    const installed = to.machine.install(gate.chunks(snapshot.bytes, 10_000), snapshot.expected);
    for (let i = 0; i < snapshot.bytes.length / 10_000 - 1; i++) {
      gate.let(1);
      await turn();
      expect(to.query('get', 'key:7')).toBe('old:7');
      expect(to.query('get', 'key:1999')).toBe('old:1999');
      expect(to.machine.size()).toBe(2_002);
    }
    gate.let(2);
    expect(await installed).toEqual({ index: 1_000n, timestampMs: START_MS });
    expect(to.query('mget', 'key:7', 'key:1499', 'key:1999', 'gone')).toEqual([
      'new:7',
      'new:1499',
      null,
      null,
    ]);
    expect(to.query('hget', 'gone too', 'f')).toBeNull();
    expect(to.machine.size()).toBe(1_500);
    expect(to.scanAll(100)).toHaveLength(1_500);
    expect(to.machine.keys('gone*', to.nowMs)).toEqual([]);
    expect(to.machine.versionOf('key:7', to.nowMs)).toBe(1n);
    expect(to.machine.expired(START_MS + 120_000, 10)).toBeUndefined();
    expect(to.machine.statistics()).toMatchObject({
      dirtyKeys: 0,
      dirtyBytes: 0,
      appliedIndex: 1_000n,
      durableIndex: 1_000n,
      rowsSealed: 1_500,
    });
  });

  it('takes the place of changes in memory, and of a checkpoint that runs', async () => {
    const to = await openShard({ seal: rowSeal(1, 1) });
    fill(to, 30_000, 'old');
    const snapshot = await ahead(500);
    const flushed = to.machine.flush();
    await turn();
    fill(to, 10_000, 'dirty');
    to.line('flushall');
    fill(to, 3_000, 'dirty again');
    await install(to.machine, snapshot);
    await flushed;
    expect(to.machine.size()).toBe(500);
    expect(to.query('mget', 'key:1', 'key:600')).toEqual(['new:1', null]);
    to.line('set key:600 after');
    expect(await to.machine.flush()).toBe(1_001n);
    await to.reopen();
    expect(to.machine.size()).toBe(501);
    expect(to.query('mget', 'key:1', 'key:600', 'key:601')).toEqual(['new:1', 'after', null]);
  });

  it('lets the applied index fall to its own, where that is above the durable one', async () => {
    const to = await openShard({ seal: rowSeal(1, 1) });
    to.line('set a 1');
    await to.machine.flush();
    const from = await openShard({ seal: rowSeal(1, 9) });
    fill(from, 10, 'new');
    from.machine.skip(5n);
    await from.machine.flush();
    const snapshot = await snapshotOf(from.machine);
    to.machine.skip(50n);
    await install(to.machine, snapshot);
    expect(to.machine.appliedIndex).toBe(5n);
    expect(await to.machine.flush()).toBe(5n);
    to.machine.skip(6n);
    expect(await to.machine.flush()).toBe(6n);
  });

  it('only goes forwards', async () => {
    const to = await openShard({ seal: rowSeal(1, 1) });
    const snapshot = await ahead(10);
    fill(to, 1, 'old');
    to.machine.skip(1_000n);
    await to.machine.flush();
    await expect(install(to.machine, snapshot)).rejects.toThrow(code('SNAPSHOT_STALE'));
    expect(to.query('get', 'key:0')).toBe('old:0');
  });

  it('only goes forwards, also past what became durable while it was built', async () => {
    const to = await openShard({ seal: rowSeal(1, 1) });
    const snapshot = await ahead(10);
    const gate = new Gate();
    const installed = to.machine.install(gate.chunks(snapshot.bytes, 100), snapshot.expected);
    fill(to, 1, 'old');
    to.machine.skip(1_000n);
    await to.machine.flush();
    gate.let(1_000);
    await expect(installed).rejects.toThrow(code('SNAPSHOT_STALE'));
    expect(to.query('get', 'key:0')).toBe('old:0');
    expect(existsSync(join(to.options.directory, 'replacement'))).toBe(false);
  });

  it('is one at a time', async () => {
    const to = await openShard({ seal: rowSeal(1, 1) });
    const snapshot = await ahead(10);
    const first = install(to.machine, snapshot);
    await expect(install(to.machine, snapshot)).rejects.toThrow('one snapshot');
    await first;
  });

  it('SNAP-10: passes on what its chunks throw, and goes on with the old state', async () => {
    const to = await openShard({ seal: rowSeal(1, 1) });
    to.line('set a 1');
    const snapshot = await ahead(10);
    const broken = async function* (): AsyncGenerator<Buffer> {
      yield snapshot.bytes.subarray(0, 100);
      throw new Error('the line is dead');
    };
    await expect(to.machine.install(broken(), snapshot.expected)).rejects.toThrow('the line');
    await install(to.machine, snapshot);
    expect(to.query('get', 'key:1')).toBe('new:1');
  });

  it('returns chunks that it does not want', async () => {
    const to = await openShard({ seal: rowSeal(1, 1) });
    const snapshot = await ahead(10);
    const gate = new Gate();
    gate.let(1_000);
    const expected = { ...snapshot.expected, index: 999n };
    const installed = to.machine.install(gate.chunks(snapshot.bytes, 100), expected);
    await expect(installed).rejects.toThrow(code('SNAPSHOT_INVALID'));
    expect(gate.returned).toBe(true);
  });

  it('ends with a code where the shard is closed, though its chunks never come', async () => {
    const to = await openShard({ seal: rowSeal(1, 1) });
    to.line('set a 1');
    // More than one transaction's worth, so that there is something to clean up.
    const snapshot = await ahead(20, 'x'.repeat(1 << 20));
    const gate = new Gate();
    gate.let(19 * 16);
    const installed = to.machine.install(gate.chunks(snapshot.bytes, 1 << 16), snapshot.expected);
    const ended = expect(installed).rejects.toThrow(code('CLOSED'));
    const building = join(to.options.directory, 'replacement');
    while (!existsSync(building)) await turn();
    await to.machine.close();
    await ended;
    expect(existsSync(building)).toBe(false);
    to.machine = await KvStateMachine.open(to.options);
    expect(to.query('get', 'a')).toBe('1');
  });

  it('waits, where the shard is closed, for what takes its place', async () => {
    const to = await openShard({ seal: rowSeal(1, 1) });
    const snapshot = await ahead(2_000);
    const installed = install(to.machine, snapshot).then(
      () => 'installed',
      (error: unknown) => codeOf(error),
    );
    await turn();
    await to.machine.close();
    const outcome = await installed;
    to.machine = await KvStateMachine.open(to.options);
    expect(to.machine.size()).toBe(outcome === 'installed' ? 2_000 : 0);
  });

  it('leaves what it did not finish to the next start, which removes it', async () => {
    const to = await openShard({ seal: rowSeal(1, 1) });
    to.line('set a 1');
    const building = join(to.options.directory, 'replacement');
    await to.machine.close();
    mkdirSync(building);
    writeFileSync(join(building, 'data.mdb'), 'half of something');
    to.machine = await KvStateMachine.open(to.options);
    expect(existsSync(building)).toBe(false);
    expect(to.query('get', 'a')).toBe('1');
  });

  it('needs the seal of a sealed snapshot', async () => {
    const to = await openShard({ seal: 'cleartext' });
    to.line('set a 1');
    const snapshot = await ahead(10);
    await expect(install(to.machine, snapshot)).rejects.toThrow(code('SEAL_REQUIRED'));
    expect(to.query('get', 'a')).toBe('1');
    // As when the key state arrives: rows are sealed from now on, and the snapshot opens.
    to.machine.sealRows(rowSeal(1, 1));
    await install(to.machine, snapshot);
    expect(to.query('get', 'key:3')).toBe('new:3');
    await to.machine.flush();
    expect(to.machine.statistics()).toMatchObject({ rowsCleartext: 0, cleartextLeft: false });
  });

  it('takes checkpoints no sooner than the node that holds them back', async () => {
    const to = await openShard({ seal: rowSeal(1, 1), holdCheckpoints: true });
    const snapshot = await ahead(10);
    await install(to.machine, snapshot);
    to.line('set key:3 after');
    expect(await to.machine.flush()).toBe(1_000n);
    to.machine.startCheckpoints();
    expect(await to.machine.flush()).toBe(1_001n);
  });

  it('brings keys that expire, and their expiry index', async () => {
    const from = await openShard({ seal: rowSeal(1, 9) });
    for (let i = 0; i < 100; i++) from.run('set', `k${i}`, 'v', 'PXAT', `${START_MS + 1_000 + i}`);
    from.run('set', 'stays', 'v');
    await from.machine.flush();
    const to = await openShard({ seal: rowSeal(1, 1) });
    to.run('set', 'soon', 'v', 'PX', '1');
    await install(to.machine, await snapshotOf(from.machine));
    to.nowMs = START_MS + 1_050;
    expect(to.query('exists', 'k49', 'k50', 'k51', 'stays')).toBe(3);
    for (let deleted = 0; deleted < 50; ) {
      const command = to.machine.expired(to.nowMs, 20);
      if (command === undefined) throw new Error(`${deleted} keys were deleted`);
      const [count] = to.applyRaw(command);
      deleted += Number(count);
      await to.machine.flush();
    }
    expect(to.machine.expired(to.nowMs, 20)).toBeUndefined();
    expect(to.machine.size()).toBe(51);
    expect(to.query('pexpiretime', 'k77')).toBe(START_MS + 1_077);
  });

  it('keeps a hundred thousand rows, sealed, as they were', async () => {
    const from = await openShard({ seal: rowSeal(1, 9) });
    for (let part = 0; part < 10; part++) {
      const commands = Array.from({ length: 10_000 }, (_, i) =>
        encodeCommand(['set', `key:${part}:${i}`, `value:${i}`]),
      );
      from.machine.apply(new TestBatch(BigInt(part + 1), from.nowMs, commands));
    }
    const to = await openShard({ seal: rowSeal(1, 1) });
    await from.machine.flush();
    await install(to.machine, await snapshotOf(from.machine));
    expect(to.machine.size()).toBe(100_000);
    expect(await to.machine.digest()).toEqual(await from.machine.digest());
  }, 60_000);

  it('invariant 9: goes on in the midst of reads, and with entries from its index on', async () => {
    const from = await openShard({ seal: rowSeal(1, 9) });
    const to = await openShard({ seal: rowSeal(1, 1), dirtyBytesMax: 30_000 });
    for (let through = 200n; through <= 1_000n; through += 200n) {
      for (let index = from.machine.appliedIndex + 1n; index <= through; index++) {
        from.machine.apply(entryOf(index));
      }
      await from.machine.flush();
      const snapshot = await snapshotOf(from.machine);
      for (let behind = to.machine.appliedIndex + 1n; behind <= through - 150n; behind++) {
        to.machine.apply(entryOf(behind));
      }
      let done = false;
      const installed = install(to.machine, snapshot, 1_000).finally(() => {
        done = true;
      });
      for (let i = 0; !done; i++) {
        to.query('hgetall', `h${i % 50}`);
        to.query('get', `k${i % 400}`);
        await turn();
      }
      await installed;
      const nowMs = timeOf(through);
      expect(stateOf(to.machine, nowMs) === stateOf(from.machine, nowMs)).toBe(true);
    }
  }, 30_000);
});
