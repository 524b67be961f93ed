import { describe, expect, it } from 'vitest';
import { PAYLOAD_BYTES_MAX } from '../src/index.ts';
import { useEtcd } from './cluster.ts';
import { isAppend } from './proxy.ts';
import { appendOne, appendRange, code, expectEntries, readAll } from './samples.ts';

const manyShards = Array.from({ length: 120 }, (_, shardId) => shardId);

describe('group commit', () => {
  const cluster = useEtcd();
  it('takes the appends of all shards in few transactions, of 100 at most', async () => {
    const proxy = await cluster.proxy();
    const log = await cluster.open({
      access: { endpoints: [proxy.endpoint] },
      shardIds: manyShards,
    });
    const engines = manyShards.map((shardId) => log.engine(shardId));
    const leaderships = await Promise.all(engines.map((engine) => engine.elect()));
    const sizes: number[] = [];
    proxy.intercept = (method, request, forward) => {
      if (isAppend(method, request)) sizes.push(request.success.length);
      return forward(request);
    };
    const outcomes = await Promise.all(
      engines.map((engine, place) =>
        appendOne(engine, { term: leaderships[place]?.term ?? 0n }, 1n),
      ),
    );
    for (const outcome of outcomes) expect(outcome).toEqual({ outcome: 'done' });
    expect(sizes).toEqual([100, 20]);
  });

  it('gives each append an outcome of its own', async () => {
    const log = await cluster.open({ shardIds: [1, 2, 3] });
    const engines = [1, 2, 3].map((shardId) => log.engine(shardId));
    const leaderships = await Promise.all(engines.map((engine) => engine.elect()));
    await cluster.etcd.etcdctl('put', `${cluster.prefix}/logs/2/0000000000000001`, 'in the way');
    const outcomes = await Promise.all(
      engines.map((engine, place) =>
        appendOne(engine, { term: leaderships[place]?.term ?? 0n }, 1n),
      ),
    );
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['done', 'fenced', 'done']);
    expect(leaderships.map(({ signal }) => signal.aborted)).toEqual([false, true, false]);
  });

  it('takes payloads of the largest size, one by one', async () => {
    const log = await cluster.open({ shardIds: [1, 2], payloadBytesMax: PAYLOAD_BYTES_MAX });
    await Promise.all(
      [1, 2].map(async (shardId) => {
        const engine = log.engine(shardId);
        const leadership = await engine.elect();
        await appendRange(engine, leadership, 1n, 2n, PAYLOAD_BYTES_MAX);
        expectEntries(await readAll(engine), 1n, 2n);
      }),
    );
    await expect(cluster.open({ payloadBytesMax: PAYLOAD_BYTES_MAX + 1 })).rejects.toThrow(
      RangeError,
    );
  });

  it('one append of a shard is under way at a time', async () => {
    const engine = (await cluster.open()).engine(7);
    const leadership = await engine.elect();
    const first = appendOne(engine, leadership, 1n);
    await expect(appendOne(engine, leadership, 2n)).rejects.toThrow(RangeError);
    expect(await first).toEqual({ outcome: 'done' });
  });
});

describe('members that take less in one request than by default', () => {
  const cluster = useEtcd({ extraFlags: ['--max-request-bytes=200000', '--max-txn-ops=30'] });

  it('get smaller groups', async () => {
    const log = await cluster.open({ shardIds: manyShards });
    await Promise.all(
      manyShards.map(async (shardId) => {
        const engine = log.engine(shardId);
        const leadership = await engine.elect();
        await appendRange(engine, leadership, 1n, 3n, shardId % 40 === 0 ? 150_000 : 24);
      }),
    );
    expectEntries(await readAll(log.engine(40)), 1n, 3n);
  });

  it('refuse what is too large alone, and the index is free', async () => {
    const engine = (await cluster.open()).engine(7);
    const leadership = await engine.elect();
    const error = code('RAFTSEAL_ENGINE_PAYLOAD_TOO_LARGE');
    expect(await appendOne(engine, leadership, 1n, 250_000)).toEqual({ outcome: 'refused', error });
    expect(await appendOne(engine, leadership, 1n, 800_000)).toEqual({ outcome: 'refused', error });
    await appendRange(engine, leadership, 1n, 2n);
  });
});
