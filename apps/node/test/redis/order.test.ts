import { RaftsealError } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { request } from './raw-client.ts';
import { eventually, keyOn, pause, serve } from './serving.ts';

const set = (key: string, value: string): string => request('SET', key, value);
const get = (key: string): string => request('GET', key);

describe('the replies of one client', () => {
  it('come in the order of its requests: a read sees the writes before it and none after', async () => {
    const { client } = await serve();
    const one = await client();
    one.send(set('a', '1') + get('a') + set('a', '2') + get('a') + request('DEL', 'a') + get('a'));
    expect(await one.until('$-1\r\n')).toBe('+OK\r\n$1\r\n1\r\n+OK\r\n$1\r\n2\r\n:1\r\n$-1\r\n');
  });

  it('come in order though shards answer in another', async () => {
    const serving = await serve({ shardCount: 2 });
    const [slow, fast] = [keyOn(serving, 0), keyOn(serving, 1)];
    const one = await serving.client();
    serving.keyspace.shard(0).held = true;
    one.send(request('INCR', slow) + request('APPEND', fast, 'xyz') + request('INCR', slow));
    await eventually(() => serving.keyspace.shard(1).batches.length === 1);
    await pause(10);
    expect(one.received).toBe('');
    serving.keyspace.shard(0).release();
    expect(await one.until(':2\r\n')).toBe(':1\r\n:3\r\n:2\r\n');
  });

  it('hold errors at their place', async () => {
    const { client } = await serve();
    const one = await client();
    one.send(set('a', '1') + request('NOSUCH') + set('a', '2') + request('SET', 'a') + get('a'));
    expect(await one.until('$1\r\n2\r\n')).toBe(
      "+OK\r\n-ERR unknown command 'NOSUCH', with args beginning with: \r\n+OK\r\n" +
        "-ERR wrong number of arguments for 'set' command\r\n$1\r\n2\r\n",
    );
  });

  it('are all there after a pipeline of 100,000 requests, reads and writes mixed', async () => {
    const { client } = await serve();
    const one = await client();
    const count = 100_000;
    let sent = '';
    let expected = '';
    for (let i = 1; i <= count / 4; i++) {
      sent += request('INCR', 'n') + request('ECHO', `${i}`) + get('n') + request('INCR', 'n');
      const odd = `${2 * i - 1}`;
      expected += `:${odd}\r\n$${`${i}`.length}\r\n${i}\r\n$${odd.length}\r\n${odd}\r\n:${2 * i}\r\n`;
    }
    one.send(sent);
    await one.length(expected.length);
    expect(one.received === expected).toBe(true);
  });
});

describe('writes', () => {
  it('that follow each other are proposed without waiting for each other', async () => {
    const { client, shard } = await serve();
    const one = await client();
    shard.held = true;
    one.send(set('a', '1').repeat(500));
    await eventually(() => shard.waiting === 500);
    shard.release();
    await one.length(500 * '+OK\r\n'.length);
    expect(shard.batches).toEqual([500]);
  });

  it('hold back the reads of their own client, and of nobody else', async () => {
    const { client, shard } = await serve();
    const [one, other] = [await client(), await client()];
    shard.held = true;
    one.send(set('a', '1') + get('a') + request('PING'));
    await eventually(() => shard.waiting === 1);
    expect(await other.ask(get('a'), '\r\n')).toBe('$-1\r\n');
    expect(one.received).toBe('');
    shard.release();
    expect(await one.until('+PONG\r\n')).toBe('+OK\r\n$1\r\n1\r\n+PONG\r\n');
  });

  it('that are refused are answered with an error at their place, and later ones go on', async () => {
    const { client, shard } = await serve();
    const one = await client();
    shard.refusal = new RaftsealError('RAFTSEAL_SHARD_GROUP_OVERLOADED', 'the queue is full');
    const refused = '-TRYAGAIN RAFTSEAL_SHARD_GROUP_OVERLOADED: the queue is full\r\n';
    expect(await one.ask(set('a', '1') + get('a'), refused + refused)).toBe(refused + refused);
    shard.refusal = undefined;
    expect(await one.ask(set('a', '2') + get('a'), '$1\r\n2\r\n')).toBe('+OK\r\n$1\r\n2\r\n');
  });

  it('of a client that has gone are applied, and harm nobody', async () => {
    const { client, shard, server } = await serve();
    const [one, other] = [await client(), await client()];
    shard.held = true;
    one.send(set('a', '1').repeat(10));
    await eventually(() => shard.waiting === 10);
    one.socket.resetAndDestroy();
    await eventually(() => server.clientCount === 1);
    shard.release();
    expect(await other.ask(set('b', '1') + get('a'), '$1\r\n1\r\n')).toBe('+OK\r\n$1\r\n1\r\n');
  });
});
