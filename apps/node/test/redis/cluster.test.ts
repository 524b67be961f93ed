import { slotOf } from '@raftseal/kv';
import { describe, expect, it } from 'vitest';
import { clusterId, MemoryCluster } from './memory-cluster.ts';
import { request } from './raw-client.ts';
import { eventually } from './serving.ts';

const down =
  '-CLUSTERDOWN RAFTSEAL_SHARD_GROUP_NOT_LEADER: no node is known to lead the shard now: try again\r\n';
const crossSlot = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
const execAbort = '-EXECABORT Transaction discarded because of previous errors.\r\n';
const readOnly = "-READONLY You can't write against a read only replica.\r\n";

const set = (key: string, value: string): string => request('SET', key, value);
const get = (key: string): string => request('GET', key);

function moved(cluster: MemoryCluster, key: string, node: number): string {
  return `-MOVED ${slotOf(key)} 127.0.0.1:${cluster.node(node).port}\r\n`;
}

/** What a node says to some requests on a connection of their own, up to the expected end. */
async function ask(
  cluster: MemoryCluster,
  node: number,
  requests: readonly (readonly string[])[],
  end: string,
): Promise<string> {
  const client = await cluster.node(node).client();
  return client.ask(requests.map((args) => request(...args)).join(''), end);
}

describe('a key whose shard another node leads', () => {
  it('is answered with where its leader is, for reads and writes alike', async () => {
    const cluster = await MemoryCluster.serve();
    const [here, there] = [cluster.keyOf(0), cluster.keyOf(1)];
    const elsewhere = moved(cluster, there, 1);
    expect(
      await ask(
        cluster,
        0,
        [
          ['SET', here, '1'],
          ['SET', there, '1'],
          ['GET', there],
          ['DEL', there],
          ['GET', here],
          ['OBJECT', 'ENCODING', there],
        ],
        `$1\r\n1\r\n${elsewhere}`,
      ),
    ).toBe(`+OK\r\n${elsewhere.repeat(3)}$1\r\n1\r\n${elsewhere}`);
    await ask(cluster, 1, [['SET', there, '2']], '+OK\r\n');
  });

  it('is answered at its place among writes that are on their way', async () => {
    const cluster = await MemoryCluster.serve();
    const [here, there] = [cluster.keyOf(0), cluster.keyOf(1)];
    const client = await cluster.node(0).client();
    const shard = cluster.shard(0, 0);
    shard.held = true;
    client.send(set(here, '1') + set(there, '1') + set(here, '2') + get(here));
    await eventually(() => shard.waiting === 1);
    expect(client.received).toBe('');
    shard.release();
    const expected = `+OK\r\n${moved(cluster, there, 1)}+OK\r\n$1\r\n2\r\n`;
    expect(await client.until('$1\r\n2\r\n')).toBe(expected);
  });

  it('is answered so when the lead is lost while a write waits: nothing was appended', async () => {
    const cluster = await MemoryCluster.serve();
    const key = cluster.keyOf(0);
    const client = await cluster.node(0).client();
    const shard = cluster.shard(0, 0);
    shard.held = true;
    client.send(set(key, '1') + request('MULTI') + set(key, '2') + request('EXEC'));
    await eventually(() => shard.waiting === 1);
    cluster.lead(0, 2);
    shard.release();
    const elsewhere = moved(cluster, key, 2);
    expect(await client.until(execAbort)).toBe(`${elsewhere}+OK\r\n${elsewhere}${execAbort}`);
    await ask(cluster, 2, [['GET', key]], '$-1\r\n');
  });

  it('may be one of several keys only if all are in one slot', async () => {
    const cluster = await MemoryCluster.serve({ nodeCount: 1, shardCount: 1 });
    await ask(
      cluster,
      0,
      [
        ['MSET', 'a', '1', 'b', '2'],
        ['MGET', 'a', 'b'],
        ['MSET', '{t}a', '1', '{t}b', '2'],
        ['MGET', '{t}a', '{t}b'],
      ],
      `${crossSlot.repeat(2)}+OK\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n`,
    );
  });

  it('is what it goes by: a command that could have one, and has none, is answered anywhere', async () => {
    const cluster = await MemoryCluster.serve({ learners: [1] });
    const end = '-ERR the memory shard has no object\r\n';
    for (const node of [0, 1]) await ask(cluster, node, [['OBJECT', 'HELP']], end);
  });
});

describe('a shard that nobody is known to lead', () => {
  it('is answered with a word that makes clients wait and ask again', async () => {
    const cluster = await MemoryCluster.serve();
    const key = cluster.keyOf(1);
    cluster.lead(1, undefined);
    for (const node of [0, 1, 2]) {
      await ask(
        cluster,
        node,
        [['SET', key, '1'], ['GET', key], ['PING']],
        `${down + down}+PONG\r\n`,
      );
    }
    cluster.lead(1, 0);
    await ask(cluster, 1, [['GET', key]], moved(cluster, key, 0));
  });

  it('is answered so, too, by a node that is said to lead and cannot: nobody is sent in a circle', async () => {
    const cluster = await MemoryCluster.serve();
    const key = cluster.keyOf(0);
    cluster.shard(0, 0).isServing = false;
    await ask(cluster, 0, [['GET', key], ['SET', key, '1'], ['PING']], `${down + down}+PONG\r\n`);
    await ask(cluster, 0, [['MULTI'], ['GET', key], ['EXEC']], `+OK\r\n+QUEUED\r\n${down}`);
  });

  it('leaves the shards that are led as they are', async () => {
    const cluster = await MemoryCluster.serve();
    cluster.lead(1, undefined);
    await ask(cluster, 0, [['SET', cluster.keyOf(0), '1']], '+OK\r\n');
    const info = await ask(cluster, 0, [['CLUSTER', 'INFO'], ['PING']], '+PONG\r\n');
    expect(info).toContain('cluster_state:fail\r\n');
    expect(info).toContain('cluster_slots_ok:12288\r\n');
    expect(info).toContain('cluster_slots_fail:4096\r\n');
  });

  it('keeps no new client from the others where it has halted', async () => {
    const cluster = await MemoryCluster.serve();
    cluster.lead(1, undefined);
    cluster.shard(0, 1).isHalted = true;
    const info = await ask(cluster, 0, [['CLUSTER', 'INFO'], ['PING']], '+PONG\r\n');
    expect(info).toContain('cluster_state:ok\r\n');
    expect(info).toContain('cluster_slots_fail:4096\r\n');
    cluster.lead(2, undefined);
    const electing = await ask(cluster, 0, [['CLUSTER', 'INFO'], ['PING']], '+PONG\r\n');
    expect(electing).toContain('cluster_state:fail\r\n');
  });
});

describe('READONLY', () => {
  it('lets a follower answer reads from what it has applied, perhaps from the past', async () => {
    const cluster = await MemoryCluster.serve();
    const key = cluster.keyOf(0);
    cluster.shard(1, 0).lags = true;
    await ask(cluster, 0, [['SET', key, '1']], '+OK\r\n');
    const client = await cluster.node(1).client();
    const elsewhere = moved(cluster, key, 0);
    expect(await client.ask(get(key), '\r\n')).toBe(elsewhere);
    expect(await client.ask(request('READONLY') + get(key), '-1\r\n')).toBe('+OK\r\n$-1\r\n');
    cluster.shard(1, 0).catchUp();
    expect(await client.ask(get(key) + set(key, '2'), elsewhere)).toBe(`$1\r\n1\r\n${elsewhere}`);
    // Without a leader, nobody knows how old the values are.
    cluster.lead(0, undefined);
    expect(await client.ask(get(key), down)).toBe(down);
    expect(await client.ask(request('READWRITE') + get(key), down)).toBe(`+OK\r\n${down}`);
  });

  it('changes nothing on the leader', async () => {
    const cluster = await MemoryCluster.serve();
    const key = cluster.keyOf(0);
    const requests = [['READONLY'], ['SET', key, '1'], ['GET', key]];
    await ask(cluster, 0, requests, '+OK\r\n+OK\r\n$1\r\n1\r\n');
  });

  it('reads a transaction of reads, and nothing that writes or watches', async () => {
    const cluster = await MemoryCluster.serve();
    const key = cluster.keyOf(0);
    await ask(cluster, 0, [['SET', key, '1']], '+OK\r\n');
    const elsewhere = moved(cluster, key, 0);
    await ask(
      cluster,
      1,
      [['READONLY'], ['MULTI'], ['GET', key], ['STRLEN', key], ['PING'], ['EXEC']],
      '+QUEUED\r\n*3\r\n$1\r\n1\r\n:1\r\n+PONG\r\n',
    );
    await ask(
      cluster,
      1,
      [['READONLY'], ['MULTI'], ['GET', key], ['SET', key, '2'], ['EXEC']],
      `+OK\r\n+OK\r\n+QUEUED\r\n${elsewhere}${execAbort}`,
    );
    await ask(cluster, 1, [['READONLY'], ['WATCH', key]], `+OK\r\n${elsewhere}`);
  });

  it('ends with RESET, and is seen in CLIENT INFO', async () => {
    const cluster = await MemoryCluster.serve();
    const key = cluster.keyOf(0);
    const elsewhere = moved(cluster, key, 0);
    const said = await ask(
      cluster,
      1,
      [['READONLY'], ['CLIENT', 'INFO'], ['ASKING'], ['RESET'], ['CLIENT', 'INFO'], ['GET', key]],
      elsewhere,
    );
    expect(said).toMatch(/^\+OK\r\n\$\d+\r\n[^\r]* flags=r [^\r]*\r\n\+OK\r\n\+RESET\r\n/);
    expect(said).toContain(' flags=N ');
  });
});

describe('a transaction', () => {
  it('that is led elsewhere is refused when it is queued, and aborts', async () => {
    const cluster = await MemoryCluster.serve();
    const [here, there] = [cluster.keyOf(0), cluster.keyOf(1)];
    await ask(
      cluster,
      0,
      [['MULTI'], ['SET', here, '1'], ['GET', there], ['EXEC'], ['GET', here]],
      `+OK\r\n+QUEUED\r\n${moved(cluster, there, 1)}${execAbort}$-1\r\n`,
    );
    await ask(cluster, 0, [['WATCH', there]], moved(cluster, there, 1));
  });

  it('whose shard moves before EXEC is sent after it, whole or not at all', async () => {
    const cluster = await MemoryCluster.serve();
    const key = cluster.keyOf(0);
    for (const queued of [
      ['SET', key, '1'],
      ['GET', key],
    ]) {
      cluster.lead(0, 0);
      const client = await cluster.node(0).client();
      await client.ask(request('MULTI') + request(...queued), '+QUEUED\r\n');
      cluster.lead(0, 2);
      const end = `${moved(cluster, key, 2)}-ERR EXEC without MULTI\r\n`;
      await client.ask(request('EXEC') + request('EXEC'), end);
      await ask(cluster, 2, [['GET', key]], '$-1\r\n');
    }
  });

  it('whose shard moves while its entry waits is sent after it', async () => {
    const cluster = await MemoryCluster.serve();
    const key = cluster.keyOf(0);
    const client = await cluster.node(0).client();
    const shard = cluster.shard(0, 0);
    shard.held = true;
    client.send(request('MULTI') + set(key, '1') + request('EXEC'));
    await eventually(() => shard.waiting === 1);
    cluster.lead(0, 1);
    shard.release();
    await client.until(`+QUEUED\r\n${moved(cluster, key, 1)}`);
  });

  it('that watches a shard which has moved and come back still sees what was written meanwhile', async () => {
    const cluster = await MemoryCluster.serve();
    const key = cluster.keyOf(0);
    const client = await cluster.node(0).client();
    await client.ask(request('WATCH', key), '+OK\r\n');
    cluster.lead(0, 1);
    await ask(cluster, 1, [['SET', key, '1']], '+OK\r\n');
    cluster.lead(0, 0);
    await client.ask(request('MULTI') + set(key, '2') + request('EXEC'), '*-1\r\n');
  });

  it('of reads alone writes nothing to the log, and still minds what it watches', async () => {
    const cluster = await MemoryCluster.serve();
    const key = cluster.keyOf(0);
    await ask(cluster, 0, [['SET', key, '1']], '+OK\r\n');
    const shard = cluster.shard(0, 0);
    const before = shard.batches.length;
    const client = await cluster.node(0).client();
    const reading = request('MULTI') + get(key) + request('DBSIZE') + request('EXEC');
    await client.ask(request('WATCH', key) + reading, '*2\r\n$1\r\n1\r\n:1\r\n');
    expect(shard.batches).toHaveLength(before);
    await client.ask(request('WATCH', key), '+OK\r\n');
    await ask(cluster, 0, [['SET', key, '2']], '+OK\r\n');
    await client.ask(reading, '*-1\r\n');
  });
});

describe('commands over all keys', () => {
  it('go over the shards that the node leads', async () => {
    const cluster = await MemoryCluster.serve();
    const keys = [0, 1, 2, 3].map((shardId) => cluster.keyOf(shardId));
    for (const [shardId, key] of keys.entries()) {
      await ask(cluster, cluster.leaderOf(shardId) ?? 0, [['SET', key, '1']], '+OK\r\n');
    }
    for (const [node, size] of [2, 1, 1].entries()) {
      await ask(cluster, node, [['DBSIZE']], `:${size}\r\n`);
      const own = keys.filter((_, shardId) => cluster.leaderOf(shardId) === node);
      const all = await ask(cluster, node, [['KEYS', '*'], ['PING']], '+PONG\r\n');
      for (const key of keys) expect(all.includes(key)).toBe(own.includes(key));
      const any = await ask(cluster, node, [['RANDOMKEY'], ['PING']], '+PONG\r\n');
      expect(own.some((key) => any.includes(key))).toBe(true);
    }
    await ask(cluster, 0, [['FLUSHALL'], ['DBSIZE']], '+OK\r\n:0\r\n');
    await ask(cluster, 1, [['DBSIZE']], ':1\r\n');
    expect(await ask(cluster, 1, [['INFO', 'keyspace']], '\r\n\r\n')).toContain('keys=1,');
  });

  it('find nothing, and write nothing, on a node that leads nothing', async () => {
    const cluster = await MemoryCluster.serve({ learners: [2] });
    await ask(
      cluster,
      2,
      [['DBSIZE'], ['KEYS', '*'], ['RANDOMKEY'], ['SCAN', '0'], ['FLUSHALL'], ['FLUSHDB']],
      `:0\r\n*0\r\n$-1\r\n*2\r\n$1\r\n0\r\n*0\r\n${readOnly}${readOnly}`,
    );
    const single = await MemoryCluster.serve({ learners: [1], nodeCount: 2, shardCount: 1 });
    await ask(single, 1, [['MULTI'], ['FLUSHALL'], ['EXEC']], readOnly + execAbort);
    await ask(single, 0, [['MULTI'], ['FLUSHALL'], ['EXEC']], '*1\r\n+OK\r\n');
  });

  it('FLUSHALL passes over a shard that is lost on the way, and says so if that was all', async () => {
    const cluster = await MemoryCluster.serve();
    const client = await cluster.node(0).client();
    const [first, second] = [cluster.shard(0, 0), cluster.shard(0, 3)];
    second.held = true;
    client.send(request('FLUSHALL'));
    await eventually(() => second.waiting === 1);
    cluster.lead(3, 1);
    second.release();
    await client.until('+OK\r\n');
    first.held = true;
    client.send(request('FLUSHALL'));
    await eventually(() => first.waiting === 1);
    cluster.lead(0, 1);
    first.release();
    await client.until(`+OK\r\n${down}`);
  });

  it('SCAN ends with an error where its shard is lost in the middle, never silently', async () => {
    const cluster = await MemoryCluster.serve();
    const names = Array.from({ length: 12 }, (_, i) => `{${cluster.keyOf(0)}}:${i}`);
    for (const name of names) await ask(cluster, 0, [['SET', name, '1']], '+OK\r\n');
    const page = await ask(cluster, 0, [['SCAN', '0', 'COUNT', '5'], ['PING']], '+PONG\r\n');
    const cursor = page.split('\r\n')[2] ?? '';
    expect(cursor).toBe('5');
    cluster.lead(0, 1);
    expect(await ask(cluster, 0, [['SCAN', cursor]], '\r\n')).toMatch(
      /^-ERR RAFTSEAL_SHARD_GROUP_NOT_LEADER: .* start again/,
    );
    // Shard 3 is the next one that this node leads.
    const rest = await ask(cluster, 0, [['SCAN', '0'], ['PING']], '+PONG\r\n');
    expect(rest).toBe('*2\r\n$1\r\n0\r\n*0\r\n+PONG\r\n');
    expect(await ask(cluster, 0, [['SCAN', `${2n << 48n}`], ['PING']], '+PONG\r\n')).toBe(rest);
  });
});

describe('what a node says of itself', () => {
  it('is that it is a master where it leads, and a replica where it leads nothing', async () => {
    const cluster = await MemoryCluster.serve({ learners: [2] });
    const hello = await ask(cluster, 0, [['HELLO', '3'], ['PING']], '+PONG\r\n');
    expect(hello).toContain('$4\r\nmode\r\n$7\r\ncluster\r\n$4\r\nrole\r\n$6\r\nmaster\r\n');
    await ask(cluster, 0, [['ROLE']], '*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n');
    const learner = await ask(cluster, 2, [['HELLO'], ['PING']], '+PONG\r\n');
    expect(learner).toContain('$4\r\nrole\r\n$7\r\nreplica\r\n');
    const { port } = cluster.node(0);
    const role = `*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:${port}\r\n$9\r\nconnected\r\n:0\r\n`;
    await ask(cluster, 2, [['ROLE']], role);
    const info = await ask(cluster, 2, [['INFO'], ['PING']], '+PONG\r\n');
    expect(info).toContain(`role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:${port}\r\n`);
    expect(info).toContain('redis_mode:cluster\r\n');
    expect(info).toContain('# Cluster\r\ncluster_enabled:1\r\n');
  });

  it('is that there is one database, and that slots need not all be covered', async () => {
    const cluster = await MemoryCluster.serve();
    await ask(
      cluster,
      0,
      [
        ['SELECT', '0'],
        ['SELECT', '1'],
        ['CONFIG', 'GET', 'cluster-enabled'],
        ['CONFIG', 'GET', 'cluster-require-full-coverage'],
      ],
      '+OK\r\n-ERR SELECT is not allowed in cluster mode\r\n*2\r\n$15\r\ncluster-enabled\r\n' +
        '$3\r\nyes\r\n*2\r\n$29\r\ncluster-require-full-coverage\r\n$2\r\nno\r\n',
    );
  });
});

describe('CLUSTER', () => {
  it('SLOTS names the leader of each range first, then the live learners', async () => {
    const cluster = await MemoryCluster.serve({ nodeCount: 5, shardCount: 2, learners: [2, 3] });
    cluster.lead(1, 4);
    cluster.dead.add(3);
    const node = (index: number): string =>
      `*4\r\n$9\r\n127.0.0.1\r\n:${cluster.node(index).port}\r\n$40\r\n${clusterId(index)}\r\n*0\r\n`;
    const replicas = node(2);
    const slots =
      `*2\r\n*4\r\n:0\r\n:8191\r\n${node(0)}${replicas}` +
      `*4\r\n:8192\r\n:16383\r\n${node(4)}${replicas}`;
    for (const index of [0, 2]) await ask(cluster, index, [['CLUSTER', 'SLOTS']], slots);
    // A voter is never a replica: clients would make it give old values to who asked for none.
    cluster.lead(1, 0);
    const merged = `*1\r\n*4\r\n:0\r\n:16383\r\n${node(0)}${replicas}`;
    await ask(cluster, 1, [['CLUSTER', 'SLOTS']], merged);
  });

  it('NODES, SHARDS and REPLICAS tell the same', async () => {
    const cluster = await MemoryCluster.serve({ learners: [2] });
    cluster.dead.add(2);
    const lines = (await ask(cluster, 1, [['CLUSTER', 'NODES'], ['PING']], '+PONG\r\n')).split(
      '\n',
    );
    const [a, b, c] = [0, 1, 2].map((index) => cluster.node(index).port);
    expect(lines[1]).toMatch(
      new RegExp(
        `^${clusterId(0)} 127.0.0.1:${a}@8379 master - 0 \\d{13} \\d+ connected 0-4095 8192-12287$`,
      ),
    );
    expect(lines[2]).toMatch(
      new RegExp(
        `^${clusterId(1)} 127.0.0.1:${b}@8380 myself,master - 0 \\d{13} \\d+ connected 4096-8191 12288-16383$`,
      ),
    );
    expect(lines[3]).toMatch(
      new RegExp(
        `^${clusterId(2)} 127.0.0.1:${c}@8381 slave,fail ${clusterId(0)} 0 0 \\d+ disconnected$`,
      ),
    );
    const shards = await ask(cluster, 1, [['CLUSTER', 'SHARDS'], ['PING']], '+PONG\r\n');
    expect(shards).toContain('$5\r\nslots\r\n*4\r\n:0\r\n:4095\r\n:8192\r\n:12287\r\n');
    expect(shards.match(/\$6\r\nhealth\r\n\$4\r\nfail\r\n/g)).toHaveLength(2);
    const replicas = await ask(
      cluster,
      1,
      [['CLUSTER', 'REPLICAS', clusterId(1)], ['PING']],
      '+PONG\r\n',
    );
    expect(replicas).toMatch(new RegExp(`^\\*1\\r\\n.*slave,fail ${clusterId(1)} `, 's'));
  });

  it('shows the slots of a shard without a leader with a master that will know of the next one', async () => {
    const cluster = await MemoryCluster.serve();
    cluster.lead(1, undefined);
    const slots = await ask(cluster, 1, [['CLUSTER', 'SLOTS'], ['PING']], '+PONG\r\n');
    expect(slots).toMatch(/^\*3\r\n\*3\r\n:0\r\n:8191\r\n/);
    for (const shardId of [0, 2, 3]) cluster.lead(shardId, undefined);
    const all = await ask(cluster, 1, [['CLUSTER', 'SLOTS'], ['PING']], '+PONG\r\n');
    const first = `*4\r\n$9\r\n127.0.0.1\r\n:${cluster.node(1).port}\r\n`;
    expect(all.startsWith(`*1\r\n*3\r\n:0\r\n:16383\r\n${first}`)).toBe(true);
  });

  it('MYID, KEYSLOT and INFO answer, what changes a cluster is refused in words that help', async () => {
    const cluster = await MemoryCluster.serve();
    await ask(
      cluster,
      1,
      [
        ['CLUSTER', 'MYID'],
        ['CLUSTER', 'KEYSLOT', '{a}b'],
        ['CLUSTER', 'MEET', '127.0.0.1', '7000'],
        ['CLUSTER', 'COUNTKEYSINSLOT', '1'],
        ['CLUSTER', 'MEET'],
        ['CLUSTER', 'NOSUCH'],
      ],
      `$40\r\n${clusterId(1)}\r\n:15495\r\n` +
        "-ERR CLUSTER MEET is not for clients: members and leaders are changed with raftseal's " +
        'admin API\r\n-ERR CLUSTER COUNTKEYSINSLOT is not offered: keys are not indexed by their ' +
        "slot\r\n-ERR wrong number of arguments for 'cluster|meet' command\r\n" +
        "-ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP.\r\n",
    );
    const info = await ask(cluster, 1, [['CLUSTER', 'INFO'], ['PING']], '+PONG\r\n');
    expect(info).toContain('cluster_state:ok\r\ncluster_slots_assigned:16384\r\n');
    expect(info).toContain('cluster_known_nodes:3\r\ncluster_size:3\r\n');
  });

  it('asks for a password first, as everything else does', async () => {
    const cluster = await MemoryCluster.serve({ password: 'secret' });
    await ask(
      cluster,
      0,
      [['CLUSTER', 'SLOTS'], ['READONLY'], ['GET', cluster.keyOf(1)]],
      '-NOAUTH Authentication required.\r\n'.repeat(3),
    );
  });
});
