/**
 * The same bytes to two nodes of a real Redis cluster, a master of all slots and its replica, and to
 * two front ends of which one leads every shard; the same bytes back, but for ids, ports and epochs.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ByteString } from '@raftseal/interface';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MemoryCluster } from './memory-cluster.ts';
import { exchange, request } from './raw-client.ts';
import { freePort, type RedisReference, redisReference } from './redis-reference.ts';
import { pause } from './serving.ts';

let directory: string;
let master: RedisReference;
let replica: RedisReference;
let cluster: MemoryCluster;

/** In a directory of its own: a replica leaves a snapshot that the next server would load. */
async function clusterNode(name: string): Promise<RedisReference> {
  const own = join(directory, name);
  mkdirSync(own);
  const options =
    `--dir ${own} --cluster-enabled yes --cluster-port ${await freePort()} ` +
    '--cluster-node-timeout 1000 --repl-diskless-sync-delay 0';
  return redisReference(...options.split(' '));
}

async function said(port: number, ...args: readonly string[]): Promise<ByteString> {
  return exchange(port, request(...args));
}

/** Asks a node until it answers as wanted. */
async function until(port: number, args: readonly string[], wanted: RegExp): Promise<void> {
  for (const deadline = Date.now() + 25_000; ; ) {
    const answer = await said(port, ...args);
    if (wanted.test(answer)) return;
    if (Date.now() > deadline) throw new Error(`${args.join(' ')}: ${wanted} found ${answer}`);
    await pause(20);
  }
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'raftseal-node-'));
  [master, replica] = [await clusterNode('master'), await clusterNode('replica')];
  const id = /[0-9a-f]{40}/.exec(await said(master.port, 'CLUSTER', 'MYID'))?.[0] ?? '';
  expect(await said(master.port, 'CLUSTER', 'ADDSLOTSRANGE', '0', '16383')).toBe('+OK\r\n');
  const bus = /@(\d+)/.exec(await said(master.port, 'CLUSTER', 'NODES'))?.[1] ?? '';
  await said(replica.port, 'CLUSTER', 'MEET', '127.0.0.1', `${master.port}`, bus);
  await until(replica.port, ['CLUSTER', 'NODES'], new RegExp(id));
  await until(replica.port, ['CLUSTER', 'REPLICATE', id], /^\+OK/);
  for (const { port } of [master, replica]) {
    await until(port, ['CLUSTER', 'INFO'], /cluster_state:ok/);
    await until(port, ['CLUSTER', 'SLOTS'], /^\*1\r\n\*4\r\n/);
    await until(port, ['CLUSTER', 'NODES'], /slave [0-9a-f]{40} \d+ \d+ \d+ connected/);
  }
  await until(replica.port, ['INFO', 'replication'], /master_link_status:up/);
}, 60_000);

afterAll(() => {
  master?.stop();
  replica?.stop();
  rmSync(directory, { recursive: true, force: true });
});

beforeEach(async () => {
  cluster = await MemoryCluster.serve({ nodeCount: 2, learners: [1], shardCount: 4 });
});

/** Names in place of what differs from cluster to cluster. */
function normalized(
  replies: ByteString,
  ports: readonly number[],
  ids: readonly string[],
): ByteString {
  let text = replies;
  for (const [index, port] of ports.entries()) text = text.replaceAll(`${port}`, `<port ${index}>`);
  for (const [index, id] of ids.entries()) text = text.replaceAll(id, `<id ${index}>`);
  return text
    .replaceAll(/\$2\r\nid\r\n:\d+/g, '$2\r\nid\r\n:0')
    .replaceAll(/([$=])\d+\r\n(?=txt:|<id)/g, '$1<length>\r\n')
    .replaceAll(/@\d+ /g, '@<port> ')
    .replaceAll(/ \d+ \d+ \d+ (dis)?connected/g, ' <ping> <pong> <epoch> $1connected')
    .replaceAll(/replication-offset\r\n:\d+/g, 'replication-offset\r\n:0')
    .replaceAll(/connected\r\n:\d+\r\n/g, 'connected\r\n:0\r\n');
}

const idOf = async (port: number): Promise<string> =>
  /[0-9a-f]{40}/.exec(await said(port, 'CLUSTER', 'MYID'))?.[0] ?? '';

/** What both clusters say to a stream; `at` is 0 for the master and 1 for the replica. */
async function both(
  at: 0 | 1,
  stream: ByteString,
): Promise<{ redis: ByteString; own: ByteString }> {
  const theirs = [master.port, replica.port];
  const ours = cluster.nodes.map(({ port }) => port);
  const [redis, own] = await Promise.all(
    [theirs, ours].map(async (ports) => {
      const ids = await Promise.all(ports.map(idOf));
      return normalized(await exchange(ports[at] ?? 0, stream), ports, ids);
    }),
  );
  return { redis: redis ?? '', own: own ?? '' };
}

async function expectSame(at: 0 | 1, streams: readonly (readonly string[])[]): Promise<void> {
  for (const commands of streams) {
    const stream = commands.map((line) => request(...line.split(' '))).join('');
    const { redis, own } = await both(at, stream);
    expect(own, `${at}: ${commands.join(', ')}`).toBe(redis);
  }
}

type CommandRow = readonly [
  name: string,
  arity: number,
  flags: readonly string[],
  firstKey: number,
  lastKey: number,
  keyStep: number,
  categories: unknown,
  tips: unknown,
  keySpecifications: unknown,
  subcommands: readonly CommandRow[],
];

/** Lines of a text come in any order. */
function sortedLines(text: ByteString): readonly string[] {
  return text.split(/\r?\n|txt:/).toSorted();
}

describe('the same as a Redis cluster', () => {
  it('is how the map of slots looks, in both versions of the protocol', async () => {
    for (const at of [0, 1] as const) {
      for (const version of ['2', '3']) {
        const hello = `HELLO ${version}`;
        await expectSame(at, [
          [hello, 'CLUSTER SLOTS'],
          [hello, 'CLUSTER SHARDS'],
        ]);
        const stream = request('HELLO', version) + request('CLUSTER', 'NODES');
        const { redis, own } = await both(at, stream);
        expect(sortedLines(own)).toEqual(sortedLines(redis));
      }
    }
    const { redis, own } = await both(0, request('CLUSTER', 'REPLICAS', await idOf(master.port)));
    expect(redis).toMatch(/^\*1\r\n/);
    expect(own).toMatch(/^-ERR Unknown node/);
    const id = await idOf(cluster.node(0).port);
    const ours = await said(cluster.node(0).port, 'CLUSTER', 'REPLICAS', id);
    const ids = [id, await idOf(cluster.node(1).port)];
    const ports = cluster.nodes.map(({ port }) => port);
    expect(normalized(ours, ports, ids)).toBe(redis);
  });

  it('is which fields CLUSTER INFO has, and what the unchanging ones say', async () => {
    for (const at of [0, 1] as const) {
      const { redis, own } = await both(at, request('CLUSTER', 'INFO'));
      const fields = (text: ByteString): Map<string, string> =>
        new Map(text.split('\r\n').map((line) => line.split(':') as [string, string]));
      const [theirs, ours] = [fields(redis), fields(own)];
      for (const [name, value] of ours) {
        if (name.startsWith('$')) continue;
        expect([...theirs.keys()]).toContain(name);
        if (!/epoch|messages/.test(name)) expect(value, name).toBe(theirs.get(name));
      }
    }
  });

  it('is what COMMAND INFO says of the commands of a cluster', async () => {
    const described = async (port: number): Promise<Map<string, string>> => {
      const redis = new Redis({ port, host: '127.0.0.1' });
      const rows = await redis.call(
        'COMMAND',
        'INFO',
        'cluster',
        'readonly',
        'readwrite',
        'asking',
      );
      redis.disconnect();
      const found = new Map<string, string>();
      const note = (row: CommandRow): void => {
        const [name, arity, flags, first, last, step] = row;
        found.set(name, [arity, first, last, step, ...flags.toSorted()].join(' '));
        for (const subcommand of row[9]) note(subcommand);
      };
      for (const row of rows as CommandRow[]) note(row);
      return found;
    };
    const [redis, own] = [await described(master.port), await described(cluster.node(0).port)];
    expect([...own.keys()].toSorted()).toEqual([...redis.keys()].toSorted());
    for (const [name, description] of own) expect(description, name).toBe(redis.get(name));
  });

  it('is what the other commands of a cluster answer', async () => {
    const streams = [
      ['CLUSTER KEYSLOT foo', 'CLUSTER KEYSLOT {foo}bar', 'CLUSTER KEYSLOT', 'CLUSTER MYID'],
      ['CLUSTER', 'CLUSTER NOSUCH', 'CLUSTER MYID x', 'CLUSTER MEET', 'CLUSTER SLAVES x'],
      ['READONLY', 'READWRITE', 'ASKING', 'READONLY x', 'READWRITE x', 'ASKING x'],
      ['HELLO', 'HELLO 3', 'SELECT 0', 'SELECT 1', 'SELECT x', 'RESET'],
      ['INFO cluster', 'CONFIG GET cluster-enabled', 'CLUSTER REPLICAS x'],
      ['MULTI', 'CLUSTER MYID', 'READONLY', 'READWRITE', 'ASKING', 'EXEC'],
      ['MULTI', 'CLUSTER NOSUCH', 'EXEC'],
    ];
    await expectSame(0, streams);
    await expectSame(1, streams);
  });

  it('is what commands with keys answer at the master', async () => {
    await expectSame(0, [
      ['FLUSHALL', 'SET a 1', 'GET a', 'DBSIZE', 'KEYS a', 'RANDOMKEY', 'DEL a'],
      ['MSET a 1 b 2', 'MGET a b', 'DEL a b', 'RENAME a b', 'COPY a b', 'WATCH a b', 'EXISTS a b'],
      ['MSET {t}a 1 {t}b 2', 'MGET {t}a {t}b', 'DEL {t}a {t}b'],
      ['READONLY', 'SET a 1', 'GET a', 'DEL a'],
      ['MULTI', 'SET a 1', 'MGET a b', 'EXEC', 'GET a'],
      ['MULTI', 'SET {t}a 1', 'GET {t}a', 'DEL {t}a', 'EXEC'],
      ['WATCH a', 'MULTI', 'GET a', 'EXEC', 'MULTI', 'EXEC', 'ROLE x'],
    ]);
  });

  it('is what commands with keys answer at the replica', async () => {
    await said(master.port, 'SET', 'a', '1');
    await said(cluster.node(0).port, 'SET', 'a', '1');
    await until(replica.port, ['DBSIZE'], /^:1\r\n/);
    await expectSame(1, [
      ['GET a', 'SET a 2', 'MGET a b', 'WATCH a', 'OBJECT ENCODING a', 'GET'],
      ['READONLY', 'GET a', 'SET a 2', 'MGET a a', 'MGET a b', 'DEL a', 'FLUSHALL', 'FLUSHDB'],
      ['READONLY', 'MULTI', 'GET a', 'STRLEN a', 'EXEC', 'MULTI', 'GET a', 'SET a 2', 'EXEC'],
      ['READONLY', 'GET a', 'READWRITE', 'GET a', 'READONLY', 'RESET', 'GET a'],
      ['MULTI', 'GET a', 'EXEC', 'MULTI', 'PING', 'EXEC', 'ROLE'],
    ]);
    await said(master.port, 'DEL', 'a');
  });
});
