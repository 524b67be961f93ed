import { describe, expect, it } from 'vitest';
import { exchange, RawClient, request } from './raw-client.ts';
import { eventually, pause, serve } from './serving.ts';

const value = (bytes: number): string => 'x'.repeat(bytes);
const bulk = (text: string): string => `$${text.length}\r\n${text}\r\n`;

describe('a client that does not read', () => {
  it('holds a bounded amount of memory, slows nobody, and gets all once it reads', async () => {
    const { client, server } = await serve({ outputPauseBytes: 100_000, unreadBytesMax: 50_000 });
    const [slow, other] = [await client(), await client()];
    const text = value(20_000);
    await slow.ask(request('SET', 'a', text), '+OK\r\n');
    slow.socket.pause();
    slow.send(request('GET', 'a').repeat(3000));
    await eventually(() => server.statistics.bytesSent > 1_000_000);
    for (let i = 0; i < 50; i++) {
      expect(await other.ask(request('PING'), '\r\n')).toBe('+PONG\r\n');
    }
    const line = await other.ask(
      request('CLIENT', 'LIST', 'ID', '1') + request('PING'),
      '+PONG\r\n',
    );
    expect(Number(/tot-mem=(\d+)/.exec(line)?.[1])).toBeLessThan(600_000);
    slow.socket.resume();
    const received = await slow.length('+OK\r\n'.length + 3000 * bulk(text).length);
    expect(received === `+OK\r\n${bulk(text).repeat(3000)}`).toBe(true);
  });

  it('is closed where one reply is above the hard bound', async () => {
    const { client, server, events } = await serve({ outputBytesMax: 1_000_000 });
    const [slow, other] = [await client(), await client()];
    await slow.ask(request('SET', 'a', value(300_000)), '+OK\r\n');
    slow.send(request('MGET', 'a', 'a', 'a', 'a'));
    await slow.closed;
    expect(server.statistics.clientsEvicted).toBe(1);
    expect(events.map(({ message }) => message)).toEqual([
      'closed a client: it does not take its replies',
    ]);
    expect(await other.ask(request('MGET', 'a', 'a', 'a'), '\r\n')).toHaveLength(4 + 3 * 300_011);
  });
});

describe('a client that sends too much', () => {
  it('is not read any further while its requests wait', async () => {
    const { client, server, shard } = await serve({ unreadBytesMax: 100_000 });
    const one = await client();
    shard.held = true;
    const count = 200_000;
    one.send(request('SET', 'a', '1') + request('PING').repeat(count));
    await eventually(() => server.statistics.bytesReceived >= 100_000);
    await pause(30);
    expect(server.statistics.bytesReceived).toBeLessThan(100_000 + 2 * 65_536);
    shard.release();
    await one.length('+OK\r\n'.length + count * '+PONG\r\n'.length);
  });

  it('is not read any further either where it sends byte by byte', async () => {
    const { client, server, shard } = await serve();
    const one = await client();
    one.socket.setNoDelay(true);
    shard.held = true;
    one.send(request('SET', 'a', '1') + request('PING'));
    await eventually(() => shard.waiting === 1);
    const before = server.statistics.bytesReceived;
    for (let i = 0; i < 200; i++) {
      one.send('P');
      await pause(0);
    }
    expect(server.statistics.bytesReceived - before).toBeLessThan(150);
    shard.release();
    one.send('\r\n');
    expect(await one.until(': \r\n')).toMatch(/\+PONG\r\n-ERR unknown command 'P{128}'/);
  });

  it('has a bounded number of writes under way, and of their bytes', async () => {
    const { client, shard } = await serve({ inFlightCommandsMax: 10, inFlightBytesMax: 5000 });
    const one = await client();
    shard.held = true;
    one.send(request('SET', 'a', '1').repeat(100));
    await eventually(() => shard.waiting === 10);
    await pause(10);
    expect(shard.waiting).toBe(10);
    shard.release();
    await one.length(100 * '+OK\r\n'.length);
    shard.held = true;
    one.send(request('SET', 'a', value(2000)).repeat(10));
    await eventually(() => shard.waiting === 3);
    await pause(10);
    expect(shard.waiting).toBe(3);
    shard.release();
    await one.length(110 * '+OK\r\n'.length);
  });

  it('may send one write above the bound of bytes under way', async () => {
    const { client } = await serve({ inFlightBytesMax: 1000 });
    const one = await client();
    expect(await one.ask(request('SET', 'a', value(100_000)).repeat(3), '+OK\r\n'.repeat(3))).toBe(
      '+OK\r\n'.repeat(3),
    );
  });

  it('is closed first where clients hold too much together', async () => {
    const { client, server } = await serve({ clientsBytesMax: 3_000_000 });
    const [small, large] = [await client(), await client()];
    small.send(`*2\r\n$4\r\nECHO\r\n$600000\r\n${value(599_000)}`);
    large.send(`*2\r\n$4\r\nECHO\r\n$90000000\r\n${value(4_000_000)}`);
    await large.closed;
    expect(server.statistics.clientsEvicted).toBe(1);
    small.send(`${value(1000)}\r\n`);
    expect(await small.until('\r\n')).toBe(bulk(value(600_000)));
  });
});

describe('a value of several megabytes', () => {
  it('comes and goes whole', async () => {
    const { client } = await serve();
    const one = await client();
    const text = Array.from({ length: 400_000 }, (_, i) => `${i}`.padStart(10, '\xff')).join('');
    await one.ask(request('SET', 'a', text), '+OK\r\n');
    expect((await one.ask(request('GET', 'a'), `${text.slice(-9)}\r\n`)) === bulk(text)).toBe(true);
  });

  it('is refused above the limit', async () => {
    const { port } = await serve({ request: { bulkBytesMax: 1_000_000 } });
    expect(await exchange(port, '*2\r\n$4\r\nECHO\r\n$1000001\r\n')).toBe(
      '-ERR Protocol error: invalid bulk length\r\n',
    );
  });
});

describe('a shard under pressure', () => {
  it('lets writes wait, with what follows them, and reads of others go on', async () => {
    const { client, shard, server } = await serve({ unreadBytesMax: 10_000 });
    const [one, other] = [await client(), await client()];
    shard.pressure = true;
    one.send(request('SET', 'a', '1').repeat(20_000));
    await pause(30);
    expect(shard.waiting + shard.batches.length).toBe(0);
    expect(server.statistics.bytesReceived).toBeLessThan(200_000);
    expect(await other.ask(request('GET', 'a'), '\r\n')).toBe('$-1\r\n');
    shard.pressure = false;
    await one.length(20_000 * '+OK\r\n'.length);
  });
});

describe('connections', () => {
  it('above the limit are told so and closed; a place that becomes free is given again', async () => {
    const { client, port, server } = await serve({ clientsMax: 2 });
    const [one] = [await client(), await client()];
    expect(await exchange(port, request('PING'))).toBe('-ERR max number of clients reached\r\n');
    one?.close();
    await eventually(() => server.clientCount === 1);
    expect(await exchange(port, request('PING'))).toBe('+PONG\r\n');
    expect(server.statistics.connectionsRefused).toBe(1);
  });

  it('that are silent for too long are closed, unless they wait for an answer', async () => {
    const { client, shard } = await serve({ idleTimeoutMs: 50 });
    const [silent, waiting] = [await client(), await client()];
    shard.held = true;
    waiting.send(request('SET', 'a', '1'));
    await silent.closed;
    await pause(20);
    shard.release();
    expect(await waiting.until('\r\n')).toBe('+OK\r\n');
  });

  it('by the hundred are served at once', async () => {
    const { port, server } = await serve();
    const clients = await Promise.all(Array.from({ length: 500 }, () => RawClient.open(port)));
    const replies = await Promise.all(
      clients.map((client, i) => client.ask(request('INCR', `n${i % 7}`), '\r\n')),
    );
    expect(replies.filter((reply) => reply.startsWith(':'))).toHaveLength(500);
    expect(server.clientCount).toBe(500);
    for (const client of clients) client.close();
    await eventually(() => server.clientCount === 0);
  });

  it('closed by the client for writing still get every reply that is due', async () => {
    const { client, shard } = await serve();
    const one = await client();
    shard.held = true;
    one.send(request('SET', 'a', '1') + request('GET', 'a') + request('GET', 'half').slice(0, -3));
    one.socket.end();
    await eventually(() => shard.waiting === 1);
    await pause(10);
    shard.release();
    expect(await one.closed).toBe('+OK\r\n$1\r\n1\r\n');
  });

  it('that speak HTTP are closed without a word', async () => {
    const { port, events } = await serve();
    expect(await exchange(port, 'POST / HTTP/1.1\r\nHost: localhost\r\n\r\nFLUSHALL\r\n')).toBe('');
    expect(await exchange(port, 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')).toBe('');
    expect(events.map(({ level }) => level)).toEqual(['warn', 'warn']);
  });

  it('are refused a port in use with a coded error', async () => {
    const { port } = await serve();
    await expect(serve({ port })).rejects.toMatchObject({ code: 'RAFTSEAL_NODE_PORT' });
  });

  it('end with the server, but not before a transaction under way is answered', async () => {
    const { client, server, shard } = await serve();
    const one = await client();
    shard.held = true;
    one.send(request('MULTI') + request('INCR', 'n') + request('EXEC') + request('PING'));
    await eventually(() => shard.waiting === 1);
    const closed = server.close();
    shard.release();
    await closed;
    expect(await one.closed).toBe('+OK\r\n+QUEUED\r\n*1\r\n:1\r\n');
  });

  it('end with the server: what was answered leaves first', async () => {
    const { client, server, shard } = await serve();
    const [one, idle] = [await client(), await client()];
    shard.held = true;
    one.send(request('SET', 'a', '1') + request('GET', 'a'));
    await eventually(() => shard.waiting === 1);
    const closed = server.close();
    shard.release();
    await closed;
    expect(await one.closed).toBe('+OK\r\n');
    expect(await idle.closed).toBe('');
    expect(server.address()).toBeUndefined();
    await server.close();
  });
});

it('bounds are checked when the server is made', async () => {
  await expect(serve({ clientsMax: 0 })).rejects.toThrow(RangeError);
  await expect(serve({ idleTimeoutMs: -1 })).rejects.toThrow(RangeError);
  await expect(serve({ outputBytesMax: 1.5 })).rejects.toThrow(RangeError);
});
