import { errorCodes, RaftsealError } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { shardErrorText } from '../../src/redis/index.ts';
import { exchange, request } from './raw-client.ts';
import { eventually, serve } from './serving.ts';

const lines = (...commands: string[]): string => commands.join('\r\n').concat('\r\n');

describe('INFO', () => {
  it('has the sections of Redis and the one of the node', async () => {
    const { port } = await serve({
      infoSection: () => [
        ['sealed', 'yes'],
        ['log_index', 7n],
      ],
    });
    const said = await exchange(port, lines('SET a 1', 'INFO'));
    const titles = [...said.matchAll(/^# (\w+)/gm)].map(([, title]) => title);
    expect(titles).toEqual([
      'Server',
      'Clients',
      'Memory',
      'Persistence',
      'Stats',
      'Replication',
      'Cluster',
      'Keyspace',
      'Raftseal',
    ]);
    expect(said).toContain('\r\nrole:master\r\n');
    expect(said).toContain('\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n');
    expect(said).toContain('\r\nsealed:yes\r\nlog_index:7\r\n');
    expect(said).toContain('\r\nconnected_clients:1\r\n');
  });

  it('has the sections that are asked for', async () => {
    const { port } = await serve();
    expect(await exchange(port, lines('INFO keyspace REPLICATION'))).toMatch(
      /^\$\d+\r\n# Replication\r\nrole:master[^#]*\r\n# Keyspace\r\n\r\n$/,
    );
  });
});

describe('CLIENT', () => {
  it('LIST shows every client with what it is doing', async () => {
    const { client } = await serve();
    const [one, other] = [await client(), await client()];
    await one.ask(
      lines('CLIENT SETNAME worker', 'CLIENT SETINFO lib-name x', 'MULTI', 'PING'),
      'QUEUED\r\n',
    );
    const list = await other.ask(lines('HELLO 3', 'CLIENT LIST', 'PING'), '+PONG\r\n');
    expect(list).toMatch(
      /id=1 addr=127\.0\.0\.1:\d+ laddr=127\.0\.0\.1:\d+ name=worker .* flags=x .* multi=1 .* cmd=ping .* resp=2 lib-name=x/,
    );
    expect(list).toMatch(/id=2 .* flags=N .* cmd=client\|list user=default redir=-1 resp=3/);
    expect(await other.ask(lines('CLIENT INFO'), '\n\r\n')).toMatch(/id=2 /);
    expect(await other.ask(lines('CLIENT LIST ID 1 99'), '\n\r\n')).not.toMatch(/id=2 /);
  });

  it('KILL closes the clients it names', async () => {
    const { client, server } = await serve();
    const [one, two, three, last] = [
      await client(),
      await client(),
      await client(),
      await client(),
    ];
    expect(await last.ask(lines('CLIENT KILL ID 1'), '\r\n')).toBe(':1\r\n');
    await one.closed;
    const { port } = two.socket.address() as { port: number };
    expect(await last.ask(lines(`CLIENT KILL 127.0.0.1:${port}`), '\r\n')).toBe('+OK\r\n');
    await two.closed;
    expect(await last.ask(lines('CLIENT KILL TYPE normal'), '\r\n')).toBe(':1\r\n');
    await three.closed;
    last.send(lines('CLIENT KILL TYPE normal SKIPME no', 'PING'));
    expect(await last.closed).toMatch(/:1\r\n$/);
    await eventually(() => server.clientCount === 0);
  });
});

describe('COMMAND', () => {
  it('lists data commands and those of the front end, with where their keys are', async () => {
    const { port } = await serve();
    const said = await exchange(port, lines('COMMAND INFO get watch client|id nosuch'));
    expect(said).toMatch(
      /^\*4\r\n\*10\r\n\$3\r\nget\r\n:2\r\n\*2\r\n\+readonly\r\n\+fast\r\n:1\r\n:1\r\n:1\r\n/,
    );
    expect(said).toContain('$5\r\nwatch\r\n:-2\r\n');
    expect(said).toContain('$9\r\nclient|id\r\n:2\r\n');
    expect(said).toMatch(/\$-1\r\n$/);
    const count = Number(/:(\d+)/.exec(await exchange(port, lines('COMMAND COUNT')))?.[1]);
    expect(await exchange(port, lines('COMMAND'))).toMatch(new RegExp(`^\\*${count}\r\n`));
    expect(await exchange(port, lines('COMMAND LIST'))).toMatch(new RegExp(`^\\*${count}\r\n`));
  });
});

describe('commands that only an operator may give', () => {
  it('are refused in words that say what to do', async () => {
    const { port } = await serve();
    const said = await exchange(
      port,
      lines('SHUTDOWN', 'SHUTDOWN NOSAVE', 'DEBUG SLEEP 0', 'PING'),
    );
    expect(said).toMatch(
      /^(-ERR SHUTDOWN is not for clients[^\r]*\r\n){2}-ERR DEBUG [^\r]*\r\n\+PONG\r\n$/,
    );
    expect(
      await exchange(port, lines('CONFIG SET maxmemory 100', 'CONFIG SET appendonly yes')),
    ).toMatch(/^-ERR CONFIG SET failed [^\r]*maxmemory[^\r]*\r\n\+OK\r\n$/);
  });
});

describe('what a shard throws', () => {
  it('reaches the client with its code, under a word that says whether to try again', () => {
    const texts = (Object.keys(errorCodes) as (keyof typeof errorCodes)[]).map(
      (code) => [code, shardErrorText(new RaftsealError(code, 'why'))?.split(' ')[0]] as const,
    );
    expect(texts.filter(([, word]) => word !== 'ERR')).toEqual(
      expect.arrayContaining([
        ['RAFTSEAL_SHARD_GROUP_NOT_LEADER', 'CLUSTERDOWN'],
        ['RAFTSEAL_SHARD_GROUP_STOPPED', 'CLUSTERDOWN'],
        ['RAFTSEAL_SHARD_GROUP_OVERLOADED', 'TRYAGAIN'],
        ['RAFTSEAL_NODE_NOT_READY', 'LOADING'],
      ]),
    );
    expect(texts.filter(([, word]) => word !== 'ERR')).toHaveLength(4);
    expect(shardErrorText(new RaftsealError('RAFTSEAL_KV_CLOSED', 'why'))).toBe(
      'ERR RAFTSEAL_KV_CLOSED: why',
    );
    expect(shardErrorText(new Error('why'))).toBeUndefined();
  });

  it('invariant 11: without a code is reported, not shown, and ends that client alone', async () => {
    const { client, port, shard, events } = await serve();
    const other = await client();
    shard.fault = new Error('details of the inside');
    expect(await exchange(port, request('GET', 'a') + request('PING'))).toBe(
      '-ERR internal error: the log of the node says more; the connection is closed\r\n',
    );
    expect(events).toMatchObject([{ level: 'error', error: shard.fault }]);
    shard.fault = undefined;
    expect(await other.ask(request('GET', 'a'), '\r\n')).toBe('$-1\r\n');
  });
});
