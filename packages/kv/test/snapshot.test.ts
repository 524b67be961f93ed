import { randomBytes } from 'node:crypto';
import type { RowSeal } from '@raftseal/interface';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeCommand, type KvStateMachine } from '../src/index.ts';
import { TestBatch } from './support/batch.ts';
import { entryOf, timeOf } from './support/entries.ts';
import { rowSeal } from './support/seal.ts';
import { START_MS, stateOf, TestShard } from './support/shard.ts';
import { cut, install, readSnapshot, snapshotOf } from './support/snapshots.ts';
import { filesHold } from './support/store-files.ts';

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

function applyThrough(machine: KvStateMachine, through: bigint): void {
  for (let index = machine.appliedIndex + 1n; index <= through; index++) {
    machine.apply(entryOf(index));
  }
}

/** Entries of so many keys each. */
function fill(shard: TestShard, keys: number, value = 'x'.repeat(100)): void {
  for (let from = 0; from < keys; from += 1_000) {
    const commands: Buffer[] = [];
    for (let i = from; i < Math.min(keys, from + 1_000); i++) {
      commands.push(encodeCommand(['set', `key:${i}`, `${value}:${i}`]));
    }
    shard.machine.apply(new TestBatch(shard.machine.appliedIndex + 1n, shard.nowMs, commands));
  }
}

/** What rows look like in the store a snapshot is taken of, and what the other shard is set to. */
const kinds: readonly (readonly [string, RowSeal | 'cleartext', RowSeal | 'cleartext'])[] = [
  ['in the clear', 'cleartext', 'cleartext'],
  ['sealed', rowSeal(1, 1), rowSeal(1, 2)],
  ['in the clear, and sealed by who receives it', 'cleartext', rowSeal(1, 2)],
];

describe.each(kinds)('a snapshot of rows %s', (_, sending, receiving) => {
  it('invariant 9: is the state of its index, as another shard has it after the install', async () => {
    const from = await openShard({ seal: sending });
    applyThrough(from.machine, 300n);
    await from.machine.flush();
    applyThrough(from.machine, 310n);
    const snapshot = await snapshotOf(from.machine);
    expect(snapshot.expected).toEqual({ index: 300n, timestampMs: timeOf(300n) });

    const to = await openShard({ seal: receiving });
    to.line('set old 1');
    expect(await install(to.machine, snapshot)).toEqual(snapshot.expected);
    const reference = await openShard();
    applyThrough(reference.machine, 300n);
    const nowMs = timeOf(300n);
    expect(stateOf(to.machine, nowMs) === stateOf(reference.machine, nowMs)).toBe(true);
    expect(to.machine.size()).toBe(reference.machine.size());
    expect(snapshot.rowCount).toBe(reference.machine.size());
    expect(to.machine).toMatchObject({
      appliedIndex: 300n,
      durableIndex: 300n,
      durableTimestampMs: nowMs,
    });

    // It goes on from there, and comes to the same, also after a restart.
    applyThrough(to.machine, 400n);
    applyThrough(reference.machine, 400n);
    await to.reopen();
    const later = timeOf(400n);
    expect(stateOf(to.machine, later) === stateOf(reference.machine, later)).toBe(true);
    const sealed = receiving !== 'cleartext';
    expect(to.machine.statistics()).toMatchObject({
      [sealed ? 'rowsCleartext' : 'rowsSealed']: 0,
      cleartextLeft: !sealed,
    });
  });

  it('of a shard without keys, or without entries, is one too', async () => {
    const from = await openShard({ seal: sending });
    const empty = await snapshotOf(from.machine);
    expect(empty).toMatchObject({ expected: { index: 0n, timestampMs: 0 }, rowCount: 0 });
    from.line('set a 1');
    from.line('del a');
    from.machine.skip(3n);
    await from.machine.flush();
    const snapshot = await snapshotOf(from.machine);
    expect(snapshot).toMatchObject({ expected: { index: 3n, timestampMs: START_MS }, rowCount: 0 });
    const to = await openShard({ seal: receiving });
    to.line('set old 1');
    await install(to.machine, snapshot);
    expect(to.machine.size()).toBe(0);
    expect(to.query('get', 'old')).toBeNull();
    await expect(install(to.machine, empty)).rejects.toThrow(code('SNAPSHOT_STALE'));
  });

  it('may be cut anywhere, and may be installed again and again', async () => {
    const from = await openShard({ seal: sending });
    const to = await openShard({ seal: receiving });
    for (const pieceBytes of [1, 7, 1_000, 1 << 24]) {
      applyThrough(from.machine, from.machine.appliedIndex + 20n);
      await from.machine.flush();
      const snapshot = await snapshotOf(from.machine);
      await install(to.machine, snapshot, pieceBytes);
      expect(to.machine.appliedIndex).toBe(from.machine.appliedIndex);
      const nowMs = timeOf(from.machine.appliedIndex);
      expect(stateOf(to.machine, nowMs) === stateOf(from.machine, nowMs)).toBe(true);
    }
  });
});

describe('a snapshot of a store that is half sealed', () => {
  async function halfSealed(): Promise<TestShard> {
    const shard = await openShard({ seal: 'cleartext', dirtyBytesMax: 1 << 25 });
    fill(shard, 60_000, 'v');
    await shard.machine.flush();
    shard.machine.sealRows(rowSeal(1, 1));
    // One checkpoint, which moves 50,000 rows, and no other.
    const { checkpoints } = shard.machine.statistics();
    shard.run('set', 'key:0', 'x'.repeat(1 << 25));
    shard.run('set', 'key:0', 'changed');
    while (shard.machine.statistics().checkpoints === checkpoints) await turn();
    return shard;
  }

  it('has rows of both kinds; who receives it goes on sealing them', async () => {
    const from = await halfSealed();
    const snapshot = await snapshotOf(from.machine);
    expect(snapshot.rowCount).toBe(60_000);
    const to = await openShard({ seal: rowSeal(1, 2) });
    await install(to.machine, snapshot);
    const { rowsCleartext, rowsSealed } = to.machine.statistics();
    expect(rowsCleartext).toBeGreaterThan(0);
    expect(rowsSealed).toBeGreaterThan(0);
    const values = ['v:1', 'v:59999'];
    expect(to.query('mget', 'key:1', 'key:59999')).toEqual(values);
    expect(to.query('strlen', 'key:0')).toBe(1 << 25);
    expect(to.machine.size()).toBe(60_000);
    await to.machine.flush();
    expect(to.machine.statistics()).toMatchObject({
      rowsCleartext: 0,
      rowsSealed: 60_000,
      cleartextLeft: false,
    });
    expect(to.query('mget', 'key:1', 'key:59999')).toEqual(values);
  }, 30_000);
});

describe('taking a snapshot', () => {
  it('SNAP-05: shows nothing that is committed after it was taken', async () => {
    const shard = await openShard({ seal: rowSeal() });
    fill(shard, 5_000);
    await shard.machine.flush();
    const before = await snapshotOf(shard.machine);
    const snapshot = await shard.machine.snapshot();
    for (let round = 0; round < 3; round++) {
      fill(shard, 5_000, `round ${round}`);
      if (round === 1) shard.line('flushall');
      await shard.machine.flush();
    }
    const bytes = await readSnapshot(snapshot);
    const to = await openShard({ seal: rowSeal(1, 2) });
    await install(to.machine, bytes);
    expect(bytes.expected.index).toBe(5n);
    expect(bytes.rowCount).toBe(5_000);
    // Rows verbatim: only the seal of the whole differs, by its nonce.
    expect(bytes.bytes.subarray(0, -100).equals(before.bytes.subarray(0, -100))).toBe(true);
    expect(to.query('get', 'key:77')).toBe(`${'x'.repeat(100)}:77`);
  });

  it('invariant 9: is of one index, in the midst of writes and checkpoints', async () => {
    const shard = await openShard({ seal: rowSeal(), dirtyBytesMax: 30_000, shardId: 1 });
    const reference = await openShard({ shardId: 1 });
    let writing = true;
    const writer = (async (): Promise<void> => {
      while (writing) {
        applyThrough(shard.machine, shard.machine.appliedIndex + 1n);
        await turn();
        if (shard.machine.pressure > 0.5) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    const taken = [];
    for (let round = 0; round < 8; round++) {
      await new Promise((resolve) => setTimeout(resolve, 30));
      const snapshots = await Promise.all([shard.machine.snapshot(), shard.machine.snapshot()]);
      taken.push(...(await Promise.all(snapshots.map(readSnapshot))));
    }
    writing = false;
    await writer;
    expect(shard.machine.statistics().checkpoints).toBeGreaterThan(4);
    let indexes = 0;
    for (const snapshot of taken) {
      const { index, timestampMs } = snapshot.expected;
      if (index <= reference.machine.appliedIndex) continue;
      indexes++;
      applyThrough(reference.machine, index);
      const to = await openShard({ seal: rowSeal(1, 3), shardId: 1 });
      await install(to.machine, snapshot);
      expect(timestampMs).toBe(timeOf(index));
      const same = stateOf(to.machine, timestampMs) === stateOf(reference.machine, timestampMs);
      expect(same, `the state of index ${index}`).toBe(true);
    }
    expect(indexes).toBeGreaterThan(4);
  }, 60_000);

  it('goes on over a rewrite of the file, and does not hold it up', async () => {
    const shard = await openShard({ seal: 'cleartext' });
    const canary = randomBytes(24).toString('hex');
    fill(shard, 3_000);
    shard.run('set', 'canary', canary);
    await shard.machine.flush();
    const snapshot = await shard.machine.snapshot();
    const chunks = snapshot.chunks()[Symbol.asyncIterator]();
    const parts = [(await chunks.next()).value];
    shard.machine.sealRows(rowSeal());
    await shard.machine.flush();
    expect(shard.machine.statistics().cleartextLeft).toBe(false);
    expect(filesHold(shard.options.directory, Buffer.from(canary))).toBe(false);
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
      parts.push(next.value);
    }
    const to = await openShard();
    const { index, timestampMs } = snapshot;
    const bytes = Buffer.concat(parts.filter((part) => part !== undefined));
    await install(to.machine, { bytes, expected: { index, timestampMs } });
    expect(to.query('get', 'canary')).toBe(canary);
    expect(to.machine.size()).toBe(3_001);
    // The rewritten store gives snapshots too.
    const sealed = await snapshotOf(shard.machine);
    expect(sealed.bytes.includes(canary)).toBe(false);
  });

  it('reads nothing ahead of its consumer', async () => {
    const shard = await openShard({ seal: rowSeal() });
    for (let i = 0; i < 200; i++) shard.run('set', `k${i}`, 'x'.repeat(200_000));
    await shard.machine.flush();
    const snapshot = await shard.machine.snapshot();
    const chunks = snapshot.chunks()[Symbol.asyncIterator]();
    await chunks.next();
    const before = process.memoryUsage().arrayBuffers;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 << 20);
    let bytes = 0;
    let most = 0;
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
      bytes += next.value.length;
      most = Math.max(most, next.value.length);
    }
    expect(bytes).toBeGreaterThan(200 * 200_000 - (1 << 16));
    expect(most).toBeLessThanOrEqual(1 << 16);
  });

  it('gives its read transaction back at the end, at a break, at an error and on release', async () => {
    const shard = await openShard({ seal: rowSeal() });
    fill(shard, 4_000);
    await shard.machine.flush();
    const snapshots = [];
    for (let i = 0; i < 200; i++) {
      const snapshot = await shard.machine.snapshot();
      snapshots.push(snapshot);
      if (i % 4 === 0) await readSnapshot(snapshot);
      else if (i % 4 === 1) for await (const _chunk of snapshot.chunks()) break;
      else if (i % 4 === 2) await snapshot.chunks()[Symbol.asyncIterator]().return?.();
      if (i % 4 > 1) snapshot.release();
      snapshot.release();
      // A held one keeps the pages of its commit: the file would grow with each of these.
      if (i % 20 === 0) fill(shard, 1_000, `${i}`);
      if (i % 20 === 0) await shard.machine.flush();
    }
    const [first] = snapshots;
    await expect(first?.chunks()[Symbol.asyncIterator]().next()).rejects.toThrow('read once');
    const [, , released] = snapshots;
    await expect(released?.chunks()[Symbol.asyncIterator]().next()).rejects.toThrow('released');
  });

  it('ends with a code where the shard is closed meanwhile', async () => {
    const shard = await openShard({ seal: rowSeal() });
    fill(shard, 4_000);
    await shard.machine.flush();
    const [begun, other] = [await shard.machine.snapshot(), await shard.machine.snapshot()];
    const chunks = begun.chunks()[Symbol.asyncIterator]();
    await chunks.next();
    await shard.machine.close();
    const drain = async (): Promise<void> => {
      while ((await chunks.next()).done !== true);
    };
    await expect(drain()).rejects.toThrow(code('CLOSED'));
    await expect(readSnapshot(other)).rejects.toThrow(code('CLOSED'));
    await expect(shard.machine.snapshot()).rejects.toThrow(code('CLOSED'));
    other.release();
  });

  it('leaves the event loop to others, however fast its consumer is', async () => {
    const shard = await openShard({ seal: rowSeal() });
    fill(shard, 20_000);
    await shard.machine.flush();
    let turns = 0;
    let done = false;
    const read = snapshotOf(shard.machine).finally(() => {
      done = true;
    });
    while (!done) {
      await turn();
      turns++;
    }
    expect((await read).rowCount).toBe(20_000);
    expect(turns).toBeGreaterThan(10);
  });

  it('survives that LMDB maps its file anew', async () => {
    const shard = await openShard({ seal: rowSeal(), mapBytes: 1 << 20 });
    fill(shard, 1_000);
    await shard.machine.flush();
    const snapshot = await shard.machine.snapshot();
    const chunks = snapshot.chunks()[Symbol.asyncIterator]();
    const parts = [(await chunks.next()).value];
    for (let round = 0; round < 10; round++) {
      fill(shard, 20_000, `${round}`.repeat(150));
      await shard.machine.flush();
    }
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
      parts.push(next.value);
    }
    const { index, timestampMs } = snapshot;
    const to = await openShard({ seal: rowSeal(1, 2) });
    const bytes = Buffer.concat(parts.filter((part) => part !== undefined));
    await install(to.machine, { bytes, expected: { index, timestampMs } });
    expect(to.machine.size()).toBe(1_000);
    expect(to.query('get', 'key:999')).toBe(`${'x'.repeat(100)}:999`);
  }, 30_000);

  it('is refused while checkpoints are held', async () => {
    const shard = await openShard({ seal: rowSeal(), holdCheckpoints: true });
    await expect(shard.machine.snapshot()).rejects.toThrow(code('CHECKPOINTS_HELD'));
    shard.machine.startCheckpoints();
    (await shard.machine.snapshot()).release();
  });

  it('invariant 10: of sealed rows holds no key and no value', async () => {
    const shard = await openShard({ seal: rowSeal() });
    const [key, value] = [randomBytes(24).toString('hex'), randomBytes(24).toString('hex')];
    shard.run('set', key, value);
    await shard.machine.flush();
    const { bytes } = await snapshotOf(shard.machine);
    expect(bytes.includes(key) || bytes.includes(value)).toBe(false);
    const chunks = cut(bytes, 10);
    await chunks.return();
  });
});
