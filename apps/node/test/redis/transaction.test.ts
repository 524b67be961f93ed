import { RaftsealError } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { request } from './raw-client.ts';
import { eventually, keyOn, type Serving, serve } from './serving.ts';

const incrementOnce = request('MULTI') + request('INCR', 'n') + request('EXEC');
const committed = '+OK\r\n+QUEUED\r\n*1\r\n:1\r\n';
const aborted = '+OK\r\n+QUEUED\r\n*-1\r\n';
const crossSlot = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";

async function ask(serving: Serving, requests: readonly string[][], end: string): Promise<string> {
  const client = await serving.client();
  return client.ask(requests.map((args) => request(...args)).join(''), end);
}

describe('a transaction', () => {
  it('is one log entry, however many commands it has', async () => {
    const serving = await serve();
    await ask(
      serving,
      [['MULTI'], ['INCR', 'n'], ['GET', 'n'], ['SET', 'a', '1'], ['EXEC']],
      '*3\r\n:1\r\n$1\r\n1\r\n+OK\r\n',
    );
    expect(serving.shard.batches).toEqual([1]);
  });

  it('aborts where a watched key was changed by another client', async () => {
    const { client } = await serve();
    const [one, other] = [await client(), await client()];
    await one.ask(request('WATCH', 'n', 'm'), '+OK\r\n');
    await other.ask(request('SET', 'm', '1'), '+OK\r\n');
    expect(await one.ask(incrementOnce, '\r\n*-1\r\n')).toBe(aborted);
    expect(await one.ask(incrementOnce, ':1\r\n')).toBe(committed);
  });

  it('aborts where a change of a watched key is on its way while EXEC is sent', async () => {
    const { client, shard } = await serve();
    const [one, other] = [await client(), await client()];
    await one.ask(request('WATCH', 'm'), '+OK\r\n');
    shard.held = true;
    other.send(request('SET', 'm', '1'));
    await eventually(() => shard.waiting === 1);
    one.send(incrementOnce);
    await eventually(() => shard.waiting === 2);
    shard.release();
    expect(await one.until('\r\n*-1\r\n')).toContain(aborted);
  });

  it('of two that watch the same key and run at once, exactly one commits', async () => {
    const { client, shard } = await serve();
    const [one, other] = [await client(), await client()];
    await one.ask(request('WATCH', 'n'), '+OK\r\n');
    await other.ask(request('WATCH', 'n'), '+OK\r\n');
    shard.held = true;
    one.send(incrementOnce);
    await eventually(() => shard.waiting === 1);
    other.send(incrementOnce);
    await eventually(() => shard.waiting === 2);
    shard.release();
    expect(await one.until(':1\r\n')).toContain(committed);
    expect(await other.until('*-1\r\n')).toContain(aborted);
  });

  it('that a shard refuses is answered with the error of the shard', async () => {
    const serving = await serve();
    serving.shard.refusal = new RaftsealError('RAFTSEAL_SHARD_GROUP_NOT_LEADER', 'not here');
    const end = '-CLUSTERDOWN RAFTSEAL_SHARD_GROUP_NOT_LEADER: not here\r\n+PONG\r\n';
    await ask(serving, [['MULTI'], ['INCR', 'n'], ['EXEC'], ['PING']], end);
  });

  it('is bounded in size', async () => {
    const serving = await serve({ request: { requestBytesMax: 4096 } });
    const big = ['SET', 'a', 'x'.repeat(2000)];
    await ask(
      serving,
      [['MULTI'], big, big, ['EXEC']],
      '+QUEUED\r\n-ERR the transaction is too large\r\n' +
        '-EXECABORT Transaction discarded because of previous errors.\r\n',
    );
  });
});

describe('with several shards', () => {
  it('keys of different slots are refused, keys with the same tag are not', async () => {
    const serving = await serve({ shardCount: 4 });
    await ask(
      serving,
      [
        ['MSET', 'a', '1', 'b', '2'],
        ['DEL', 'a', 'b'],
        ['MGET', 'a', 'b'],
      ],
      crossSlot.repeat(3),
    );
    await ask(
      serving,
      [
        ['MSET', '{t}a', '1', '{t}b', '2'],
        ['MGET', '{t}a', '{t}b'],
      ],
      '+OK\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n',
    );
  });

  it('a transaction that would leave its slot is refused when it is queued', async () => {
    const serving = await serve({ shardCount: 4 });
    await ask(
      serving,
      [['MULTI'], ['SET', 'a', '1'], ['GET', 'b'], ['EXEC']],
      `+QUEUED\r\n${crossSlot}-EXECABORT Transaction discarded because of previous errors.\r\n`,
    );
    await ask(
      serving,
      [['WATCH', 'a'], ['MULTI'], ['SET', 'b', '1']],
      `+OK\r\n+OK\r\n${crossSlot}`,
    );
    await ask(
      serving,
      [
        ['WATCH', 'a'],
        ['WATCH', 'b'],
        ['WATCH', 'a', 'b'],
      ],
      `+OK\r\n${crossSlot}${crossSlot}`,
    );
    await ask(
      serving,
      [['MULTI'], ['FLUSHALL']],
      '-ERR FLUSHALL is not possible inside a transaction: there are several shards\r\n',
    );
    await ask(
      serving,
      [
        ['WATCH', 'a'],
        ['UNWATCH'],
        ['WATCH', 'b'],
        ['DISCARD'],
        ['MULTI'],
        ['SET', 'b', '1'],
        ['EXEC'],
        ['MULTI'],
        ['SET', 'a', '1'],
        ['EXEC'],
      ],
      '*1\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n',
    );
  });

  it('commands over all keys reach every shard', async () => {
    const serving = await serve({ shardCount: 3 });
    const keys = [0, 1, 2].map((shard) => keyOn(serving, shard));
    for (const key of keys) await ask(serving, [['SET', key, '1']], '+OK\r\n');
    await ask(serving, [['DBSIZE']], ':3\r\n');
    const all = await ask(serving, [['KEYS', '*'], ['PING']], '+PONG\r\n');
    for (const key of keys) expect(all).toContain(key);
    expect(await ask(serving, [['RANDOMKEY'], ['PING']], '+PONG\r\n')).toContain('key:');
    await ask(serving, [['FLUSHALL']], '+OK\r\n');
    await ask(serving, [['DBSIZE'], ['RANDOMKEY']], ':0\r\n$-1\r\n');
  });

  it('SCAN walks through the shards one after the other and returns every key once', async () => {
    const serving = await serve({ shardCount: 3 });
    const names = Array.from({ length: 50 }, (_, i) => `name:${i}`);
    for (const name of names) await ask(serving, [['SET', name, '1']], '+OK\r\n');
    const found: string[] = [];
    let cursor = '0';
    do {
      const page = await ask(serving, [['SCAN', cursor, 'COUNT', '7'], ['PING']], '+PONG\r\n');
      const parts = page.split('\r\n');
      cursor = parts[2] ?? '';
      found.push(...parts.filter((part) => part.startsWith('name:')));
    } while (cursor !== '0');
    expect(found.sort()).toEqual([...names].sort());
    await ask(serving, [['SCAN', `${3n << 48n}`]], '*2\r\n$1\r\n0\r\n*0\r\n');
  });

  it('FLUSHALL says where a shard refused it', async () => {
    const serving = await serve({ shardCount: 2 });
    serving.shard.refusal = new RaftsealError('RAFTSEAL_SHARD_GROUP_HALTED', 'it halted');
    await ask(
      serving,
      [['FLUSHALL'], ['PING']],
      '-ERR RAFTSEAL_SHARD_GROUP_HALTED: it halted\r\n+PONG\r\n',
    );
  });
});

it('FLUSHALL that some shards have done is refused with no word that makes a client resend it', async () => {
  const serving = await serve({ shardCount: 2 });
  const full = new RaftsealError('RAFTSEAL_SHARD_GROUP_OVERLOADED', 'the queue is full');
  serving.keyspace.shard(1).refusal = full;
  const text = 'RAFTSEAL_SHARD_GROUP_OVERLOADED: the queue is full\r\n';
  await ask(serving, [['FLUSHALL']], `-ERR ${text}`);
  serving.shard.refusal = full;
  await ask(serving, [['FLUSHALL']], `-TRYAGAIN ${text}`);
});

it('invariant 11: a shard that is not served ends no connection, whatever asks for it', async () => {
  const serving = await serve();
  serving.shard.isServing = false;
  const refused =
    '-CLUSTERDOWN RAFTSEAL_SHARD_GROUP_NOT_LEADER: this node does not lead shard 0\r\n';
  const requests = [['WATCH', 'a'], ['DBSIZE'], ['KEYS', '*'], ['SCAN', '0'], ['RANDOMKEY']];
  await ask(serving, requests, refused.repeat(requests.length));
  await ask(serving, [['MULTI'], ['GET', 'a'], ['EXEC']], `+QUEUED\r\n${refused}`);
  await ask(serving, [['INFO', 'keyspace'], ['PING']], '# Keyspace\r\n\r\n+PONG\r\n');
  const client = await serving.client();
  serving.shard.isServing = true;
  await client.ask(request('WATCH', 'a'), '+OK\r\n');
  serving.shard.isServing = false;
  await client.ask(request('MULTI') + request('PING') + request('EXEC'), refused);
});

it('with one shard, keys of different slots may go together', async () => {
  const serving = await serve();
  await ask(
    serving,
    [
      ['MSET', 'a', '1', 'b', '2'],
      ['WATCH', 'a', 'b'],
      ['MULTI'],
      ['GET', 'a'],
      ['GET', 'b'],
    ].concat([['FLUSHALL'], ['EXEC']]),
    '*3\r\n$1\r\n1\r\n$1\r\n2\r\n+OK\r\n',
  );
});
