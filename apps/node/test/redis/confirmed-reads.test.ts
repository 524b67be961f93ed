/** Reads that wait until the log has confirmed that this node leads. */
import { RaftsealError } from '@raftseal/interface';
import { slotOf } from '@raftseal/kv';
import { describe, expect, it } from 'vitest';
import type { ReadConfirmed } from '../../src/redis/index.ts';
import { MemoryCluster } from './memory-cluster.ts';
import { request } from './raw-client.ts';
import { eventually, pause, serve } from './serving.ts';

/** Every shard of a node asks; the test answers. */
class Log {
  readonly asked: { readonly shardId: number; readonly done: ReadConfirmed }[] = [];

  constructor(cluster: MemoryCluster, node: number) {
    for (const shard of cluster.node(node).shards) {
      shard.confirmRead = (done) => this.asked.push({ shardId: shard.shardId, done });
    }
  }

  async confirm(count: number, error: RaftsealError | null = null): Promise<void> {
    await eventually(() => this.asked.length === count);
    for (const { done } of this.asked.splice(0)) done(error);
  }
}

async function confirming(): Promise<{ cluster: MemoryCluster; log: Log }> {
  const cluster = await MemoryCluster.serve();
  return { cluster, log: new Log(cluster, 0) };
}

const get = (key: string): string => request('GET', key);
const set = (key: string, value: string): string => request('SET', key, value);

describe('invariant 8: where the log confirms reads', () => {
  it('a read waits, and sees what was written meanwhile', async () => {
    const { cluster, log } = await confirming();
    const key = cluster.keyOf(0);
    const [one, other] = [await cluster.node(0).client(), await cluster.node(0).client()];
    one.send(get(key));
    await eventually(() => log.asked.length === 1);
    await other.ask(set(key, '1'), '+OK\r\n');
    expect(one.received).toBe('');
    await log.confirm(1);
    expect(await one.until('1\r\n1\r\n')).toBe('$1\r\n1\r\n');
  });

  it('a pipeline keeps its order, and waits once per shard and not once per read', async () => {
    const { cluster, log } = await confirming();
    const [a, b] = [cluster.keyOf(0), cluster.keyOf(3)];
    const client = await cluster.node(0).client();
    client.send(
      set(a, '1') + get(a) + set(a, '2') + get(a) + get(b) + request('PING') + get(a) + set(b, '3'),
    );
    await log.confirm(1);
    await log.confirm(1);
    expect(await client.until('+PONG\r\n$1\r\n2\r\n+OK\r\n')).toBe(
      '+OK\r\n$1\r\n1\r\n+OK\r\n$1\r\n2\r\n$-1\r\n+PONG\r\n$1\r\n2\r\n+OK\r\n',
    );
    expect(log.asked).toHaveLength(0);
  });

  it('a read that comes in later than the log was asked makes it be asked again', async () => {
    const { cluster, log } = await confirming();
    const key = cluster.keyOf(0);
    const client = await cluster.node(0).client();
    client.send(get(key));
    await eventually(() => log.asked.length === 1);
    const { bytesReceived } = cluster.node(0).server.statistics;
    client.send(get(key));
    await eventually(() => cluster.node(0).server.statistics.bytesReceived > bytesReceived);
    await log.confirm(1);
    await client.until('$-1\r\n');
    await eventually(() => log.asked.length === 1);
    expect(client.received).toBe('$-1\r\n');
    await log.confirm(1);
    await client.until('$-1\r\n$-1\r\n');
  });

  it('every command that reads waits for the shards that it reads, and for no other', async () => {
    const { cluster, log } = await confirming();
    const [a, b] = [cluster.keyOf(0), cluster.keyOf(3)];
    const client = await cluster.node(0).client();
    await client.ask(set(a, '1') + set(b, '1'), '+OK\r\n+OK\r\n');
    const cases: [requests: string, asked: number, end: string][] = [
      [request('DBSIZE'), 2, ':2\r\n'],
      [request('KEYS', a), 2, `${a}\r\n`],
      [request('RANDOMKEY'), 2, '\r\n'],
      [request('SCAN', '0'), 1, `${a}\r\n`],
      [request('SCAN', `${3n << 48n}`), 1, `${b}\r\n`],
      [request('WATCH', a), 1, '+OK\r\n'],
      [request('MULTI') + get(a) + request('EXEC'), 1, '*1\r\n$1\r\n1\r\n'],
      [request('MULTI') + get(a) + request('DBSIZE') + request('EXEC'), 2, ':2\r\n'],
      [request('MULTI') + set(a, '2') + request('DBSIZE') + request('EXEC'), 2, ':2\r\n'],
    ];
    for (const [requests, asked, end] of cases) {
      client.send(requests);
      await log.confirm(asked);
      await client.until(end);
    }
    const free = request('MULTI') + set(a, '3') + get(a) + request('EXEC') + request('PING');
    await client.ask(free + set(a, '4') + request('MULTI') + request('EXEC'), '*0\r\n');
    expect(log.asked).toHaveLength(0);
  });

  it('a read that the log does not confirm is refused, and its client goes on', async () => {
    const { cluster, log } = await confirming();
    const key = cluster.keyOf(0);
    const client = await cluster.node(0).client();
    const silent = new RaftsealError('RAFTSEAL_ENGINE_UNAVAILABLE', 'no answer');
    const refused = '-CLUSTERDOWN RAFTSEAL_ENGINE_UNAVAILABLE: no answer\r\n';
    client.send(get(key) + request('PING'));
    await log.confirm(1, silent);
    await client.until(`${refused}+PONG\r\n`);
    for (const requests of [get(key), request('DBSIZE')]) {
      client.send(requests);
      await eventually(() => log.asked.length > 0);
      await log.confirm(log.asked.length, silent);
      await client.until(`+PONG\r\n${refused.repeat(requests === get(key) ? 1 : 2)}`);
    }
    client.send(request('MULTI') + get(key) + request('EXEC') + request('EXEC'));
    await log.confirm(1, silent);
    await client.until(`+QUEUED\r\n${refused}-ERR EXEC without MULTI\r\n`);
  });

  it('a read whose shard was lost is sent after it', async () => {
    const { cluster, log } = await confirming();
    const key = cluster.keyOf(0);
    const notLeader = new RaftsealError('RAFTSEAL_SHARD_GROUP_NOT_LEADER', 'deposed');
    const elsewhere = `-MOVED ${slotOf(key)} 127.0.0.1:${cluster.node(1).port}\r\n`;
    const client = await cluster.node(0).client();
    client.send(get(key));
    await eventually(() => log.asked.length === 1);
    cluster.lead(0, 1);
    await log.confirm(1, notLeader);
    await client.until(elsewhere);
    // The log knows before this node does.
    cluster.lead(0, 0);
    client.send(get(key));
    await eventually(() => log.asked.length === 1);
    cluster.announce(0, 1);
    await log.confirm(1, notLeader);
    await client.until(elsewhere.repeat(2));
  });

  it('followers are read in READONLY mode without asking the log', async () => {
    const { cluster, log } = await confirming();
    const key = cluster.keyOf(1);
    const client = await cluster.node(0).client();
    await client.ask(request('READONLY') + get(key), '$-1\r\n');
    expect(log.asked).toHaveLength(0);
  });

  it('a client that leaves while it waits harms nobody', async () => {
    const { cluster, log } = await confirming();
    const key = cluster.keyOf(0);
    const { server } = cluster.node(0);
    const client = await cluster.node(0).client();
    client.send(get(key) + get(key));
    await eventually(() => log.asked.length === 1);
    client.socket.resetAndDestroy();
    await eventually(() => server.clientCount === 0);
    await log.confirm(1);
    await pause(5);
    expect(log.asked).toHaveLength(0);
  });
});

it('a node that is of no cluster waits as well', async () => {
  const { client, shard } = await serve();
  const one = await client();
  const asked: ReadConfirmed[] = [];
  shard.confirmRead = (done) => asked.push(done);
  one.send(set('a', '1') + get('a') + request('EXISTS', 'a', 'b'));
  await eventually(() => asked.length === 1);
  expect(await one.until('OK\r\n')).toBe('+OK\r\n');
  asked[0]?.(null);
  expect(await one.until(':1\r\n')).toBe('+OK\r\n$1\r\n1\r\n:1\r\n');
});

it('a log that answers at once is as good', async () => {
  const { client, shard } = await serve();
  const one = await client();
  shard.confirmRead = (done) => done(null);
  await one.ask(set('a', '1') + get('a').repeat(3), `+OK\r\n${'$1\r\n1\r\n'.repeat(3)}`);
});
