/** What others change in etcd by hand, and what the engine must notice of it. */
import type { LogEntry, RaftEngine } from '@raftseal/interface';
import { beforeEach, describe, expect, it } from 'vitest';
import { encodeEntry, inspectEtcdLog } from '../src/index.ts';
import { useEtcd } from './cluster.ts';
import {
  appendOne,
  appendRange,
  code,
  expectEntries,
  followThrough,
  payloadOf,
  readAll,
} from './samples.ts';

const cluster = useEtcd();
const corrupt = expect.objectContaining({ code: 'RAFTSEAL_ENGINE_CORRUPT', fatal: true });
let engine: RaftEngine;
let term: bigint;

beforeEach(async () => {
  engine = (await cluster.open()).engine(7);
  const leadership = await engine.elect();
  term = leadership.term;
  await appendRange(engine, leadership, 1n, 10n);
});

function keyOf(index: bigint, shardId = 7): string {
  return `${cluster.prefix}/logs/${shardId}/${index.toString(16).padStart(16, '0')}`;
}

/** Puts bytes where the entry stands: etcdctl reads them from a file of that name. */
async function edit(index: bigint, change: (value: Buffer) => Buffer): Promise<void> {
  const value = encodeEntry(7, { index, term, payload: payloadOf(index) });
  await putBytes(keyOf(index), change(value));
}

async function putBytes(key: string, value: Buffer): Promise<void> {
  const url = `${cluster.etcd.endpoints[0]}/v3/kv/put`;
  const body = JSON.stringify({
    key: Buffer.from(key).toString('base64'),
    value: value.toString('base64'),
  });
  const response = await fetch(url, { method: 'POST', body });
  expect(response.ok).toBe(true);
}

async function inspect(): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  const access = { endpoints: cluster.etcd.endpoints };
  for await (const entry of inspectEtcdLog(access, cluster.prefix, 7)) entries.push(entry);
  return entries;
}

/** The indexes read before the error, and the error. */
async function readUntilError(from = 1n): Promise<{ indexes: bigint[]; error: unknown }> {
  const indexes: bigint[] = [];
  try {
    for await (const chunk of engine.read({ from, follow: true })) {
      indexes.push(...chunk.map(({ index }) => index));
    }
  } catch (error) {
    return { indexes, error };
  }
  return { indexes, error: undefined };
}

describe('invariant 7: an entry that was changed in etcd is refused', () => {
  it.each<[string, (value: Buffer) => Buffer]>([
    ['a bit of its payload', (value) => flip(value, value.length - 1)],
    ['a bit of its term', (value) => flip(value, 8)],
    ['a bit of its checksum', (value) => flip(value, 9)],
    ['its version', (value) => Buffer.concat([Buffer.of(2), value.subarray(1)])],
    ['its end, cut off', (value) => value.subarray(0, -1)],
    ['everything, cut off', () => Buffer.alloc(0)],
    ['a byte more', (value) => Buffer.concat([value, Buffer.of(0)])],
  ])('%s', async (_, change) => {
    await edit(4n, change);
    const { indexes, error } = await readUntilError();
    expect(indexes).toEqual([1n, 2n, 3n]);
    expect(error).toEqual(corrupt);
    expect(String(error)).toMatch(/shard 7.*entry 4/);
    await expect(inspect()).rejects.toEqual(corrupt);
    expectEntries(await readAll(engine, 5n), 5n, 10n);
  });

  it('two entries in each other’s place', async () => {
    await edit(4n, () => encodeEntry(7, { index: 5n, term, payload: payloadOf(5n) }));
    await edit(5n, () => encodeEntry(7, { index: 4n, term, payload: payloadOf(4n) }));
    expect(await readUntilError()).toEqual({ indexes: [1n, 2n, 3n], error: corrupt });
  });

  it('an entry of another shard', async () => {
    await edit(4n, () => encodeEntry(0, { index: 4n, term, payload: payloadOf(4n) }));
    expect(await readUntilError()).toEqual({ indexes: [1n, 2n, 3n], error: corrupt });
  });

  it('as it arrives at the tail', async () => {
    const following = readUntilError();
    await putBytes(keyOf(11n), Buffer.from('no entry'));
    const { indexes, error } = await following;
    expect(indexes.at(-1)).toBe(10n);
    expect(error).toEqual(corrupt);
  });
});

describe('entries that were deleted in etcd', () => {
  it.each([1n, 2n, 5n, 9n])('entry %i in the middle is missed', async (index) => {
    await cluster.etcd.etcdctl('del', keyOf(index));
    const { indexes, error } = await readUntilError();
    expect(indexes).toHaveLength(Number(index) - 1);
    expect(error).toEqual(corrupt);
    expect(String(error)).toContain(`entry ${index} is missing`);
    await expect(inspect()).rejects.toEqual(corrupt);
  });

  it('the last one is not missed by the engine; who appends next is refused', async () => {
    await cluster.etcd.etcdctl('del', keyOf(10n));
    expect((await engine.bounds()).headIndex).toBe(9n);
    expectEntries(await readAll(engine), 1n, 9n);
    const { headIndex } = await engine.elect();
    expect(headIndex).toBe(9n);
  });

  it('the floor, taken away, makes what was truncated a loss', async () => {
    await engine.truncate(4n);
    expect(await engine.bounds()).toEqual({ firstIndex: 5n, headIndex: 10n });
    await cluster.etcd.etcdctl('del', `${cluster.prefix}/floors/7`);
    await expect(readAll(engine)).rejects.toEqual(corrupt);
    await cluster.etcd.etcdctl('put', `${cluster.prefix}/floors/7`, 'four');
    await expect(engine.bounds()).rejects.toEqual(corrupt);
  });

  it('the floor, moved above entries that are there, is no truncation', async () => {
    const floor = `${cluster.prefix}/floors/7`;
    for (const forged of ['5', '110']) {
      await cluster.etcd.etcdctl('put', floor, forged);
      const error = await engine.bounds().catch((thrown: unknown) => thrown);
      expect(error).toEqual(corrupt);
      expect(String(error)).toContain(`truncated through ${forged}, and entry 1 is there`);
      await expect(engine.truncate(7n)).rejects.toEqual(corrupt);
      expect(await readUntilError(11n)).toEqual({ indexes: [], error: corrupt });
    }
  });
});

describe('entries that were added in etcd', () => {
  it('beyond the next index: the gap before them is a loss', async () => {
    const following = readUntilError();
    const value = encodeEntry(7, { index: 13n, term, payload: payloadOf(13n) });
    await putBytes(keyOf(13n), value);
    const { indexes, error } = await following;
    expect(indexes.at(-1)).toBe(10n);
    expect(error).toEqual(corrupt);
    expect(String(error)).toContain('entry 11 is missing');
  });

  it('at the next index: they are delivered as they stand, and the leader is fenced', async () => {
    const following = followThrough(engine, 1n, 11n);
    await putBytes(
      keyOf(11n),
      encodeEntry(7, { index: 11n, term, payload: Buffer.from('forged') }),
    );
    const entries = await following;
    expect(Buffer.from(entries.at(-1)?.payload ?? []).toString()).toBe('forged');
    expect(await appendOne(engine, { term }, 11n)).toMatchObject({ outcome: 'fenced' });
    const { headIndex } = await engine.elect();
    expect(headIndex).toBe(11n);
  });

  it('behind a reader: it goes on, since it has read them', async () => {
    const stop = new AbortController();
    const indexes: bigint[] = [];
    for await (const chunk of engine.read({ from: 1n, follow: true, signal: stop.signal })) {
      for (const { index } of chunk) {
        indexes.push(index);
        if (index === 11n) stop.abort();
        if (index !== 10n) continue;
        await edit(3n, (value) => flip(value, 5));
        await appendRange(engine, { term }, 11n, 11n);
      }
    }
    expect(indexes).toEqual([1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 9n, 10n, 11n]);
  });

  it('under a key that is no index: neither read nor counted over', async () => {
    await cluster.etcd.etcdctl('put', `${cluster.prefix}/logs/7/zzz`, 'what is this');
    expect(await readUntilError()).toMatchObject({ error: corrupt });
    await expect(engine.bounds()).rejects.toEqual(corrupt);
    await expect(engine.elect()).rejects.toEqual(corrupt);
    await cluster.etcd.etcdctl('del', `${cluster.prefix}/logs/7/zzz`);
    expect((await engine.elect()).headIndex).toBe(10n);
  });
});

describe('inspection', () => {
  it('walks the log as it is, without a session', async () => {
    expectEntries(await inspect(), 1n, 10n);
    await engine.truncate(6n);
    expectEntries(await inspect(), 7n, 10n);
    await engine.truncate(10n);
    expect(await inspect()).toEqual([]);
    await expect(readAll(engine)).rejects.toEqual(code('RAFTSEAL_ENGINE_TRUNCATED'));
  });
});

function flip(value: Buffer, place: number): Buffer {
  const flipped = Buffer.from(value);
  flipped[place] = (flipped[place] ?? 0) ^ 1;
  return flipped;
}
