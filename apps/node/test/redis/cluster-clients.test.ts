/** What users of a cluster run, as it is: two client libraries and the two programs of Redis. */
import { spawn } from 'node:child_process';
import { slotOf } from '@raftseal/kv';
import { Cluster } from 'ioredis';
import { createCluster, type RedisClusterType } from 'redis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { clusterId, MemoryCluster } from './memory-cluster.ts';
import { pause } from './serving.ts';

const names = (count: number, prefix = 'name'): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}:${i}`);

function startNodes(cluster: MemoryCluster): { host: string; port: number }[] {
  return cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port }));
}

/** Leads a shard on the next node; for a while, nobody leads it. */
async function failOver(cluster: MemoryCluster, shardId: number, gapMs: number): Promise<void> {
  const leader = cluster.leaderOf(shardId) ?? 0;
  cluster.lead(shardId, undefined);
  await pause(gapMs);
  cluster.lead(shardId, (leader + 1) % cluster.nodes.length);
}

function commandsOf(cluster: MemoryCluster, node: number): number {
  return cluster.node(node).server.statistics.commands;
}

function errorsOf(cluster: MemoryCluster): number[] {
  return cluster.nodes.map(({ server }) => server.statistics.errorReplies);
}

/** The output of a program that ends with code 0. */
function outputOf(program: string, args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'pipe', timeout: 25_000 });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
    }
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${program} ended with code ${code}: ${output}`));
    });
    child.stdin.end(input);
  });
}

describe('ioredis Cluster', () => {
  function connected(cluster: MemoryCluster, options = {}): Cluster {
    const redis = new Cluster(startNodes(cluster), {
      slotsRefreshTimeout: 5000,
      redisOptions: { password: 'secret' },
      ...options,
    });
    onTestFinished(() => redis.disconnect());
    return redis;
  }

  it('finds every key, and asks the right node at once', async () => {
    const cluster = await MemoryCluster.serve({ password: 'secret' });
    const redis = connected(cluster);
    await Promise.all(names(200).map((name) => redis.set(name, name)));
    const values = await Promise.all(names(200).map((name) => redis.get(name)));
    expect(values).toEqual(names(200));
    expect(errorsOf(cluster)).toEqual([0, 0, 0]);
    const sizes = await Promise.all(redis.nodes('master').map((node) => node.dbsize()));
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(200);
  });

  it('loses no write and repeats none while leaders change', async () => {
    const cluster = await MemoryCluster.serve({ password: 'secret' });
    const redis = connected(cluster, { retryDelayOnClusterDown: 10, maxRedirections: 50 });
    const keys = [0, 1, 2, 3].map((shardId) => cluster.keyOf(shardId));
    const rounds = 150;
    const writing = keys.map(async (key) => {
      for (let i = 1; i <= rounds; i++) expect(await redis.incr(key)).toBe(i);
    });
    for (let i = 0; i < 12; i++) await failOver(cluster, i % 4, i % 2 === 0 ? 0 : 15);
    await Promise.all(writing);
    expect(await Promise.all(keys.map((key) => redis.get(key)))).toEqual(
      keys.map(() => `${rounds}`),
    );
  });

  it('pipelines and runs transactions, also across a shard that has moved', async () => {
    const cluster = await MemoryCluster.serve({ password: 'secret' });
    const redis = connected(cluster);
    const key = cluster.keyOf(1);
    for (let round = 0; round < 3; round++) {
      const results = await redis.pipeline().incr(key).incr(key).get(key).exec();
      expect(results?.map(([, result]) => Number(result))).toEqual(
        [1, 2, 2].map((n) => n + 4 * round),
      );
      const replies = await redis.multi().incr(key).incr(key).exec();
      expect(replies?.map(([, result]) => result)).toEqual([3, 4].map((n) => n + 4 * round));
      await failOver(cluster, 1, 0);
      expect(await redis.get(key)).toBe(`${4 * round + 4}`);
    }
  });

  it('reads from followers with scaleReads, where there is a node that leads nothing', async () => {
    const cluster = await MemoryCluster.serve({ password: 'secret', learners: [2] });
    const redis = connected(cluster, { scaleReads: 'slave' });
    await Promise.all(names(50).map((name) => redis.set(name, name)));
    const before = commandsOf(cluster, 2);
    expect(await Promise.all(names(50).map((name) => redis.get(name)))).toEqual(names(50));
    expect(commandsOf(cluster, 2) - before).toBeGreaterThanOrEqual(50);
    expect(redis.nodes('slave')).toHaveLength(1);
  });

  it('reads from leaders with scaleReads, where every node leads something', async () => {
    const cluster = await MemoryCluster.serve({ password: 'secret' });
    const redis = connected(cluster, { scaleReads: 'slave' });
    await Promise.all(names(50).map((name) => redis.set(name, name)));
    expect(await Promise.all(names(50).map((name) => redis.get(name)))).toEqual(names(50));
    expect(redis.nodes('slave')).toHaveLength(0);
  });
});

describe('redis createCluster', () => {
  async function connected(cluster: MemoryCluster, options = {}): Promise<RedisClusterType> {
    const redis = createCluster({
      rootNodes: startNodes(cluster).map((socket) => ({ socket })),
      defaults: { password: 'secret' },
      ...options,
    }) as RedisClusterType;
    redis.on('error', () => undefined);
    await redis.connect();
    onTestFinished(() => redis.destroy());
    return redis;
  }

  it('finds every key, and asks the right node at once', async () => {
    const cluster = await MemoryCluster.serve({ password: 'secret' });
    const redis = await connected(cluster);
    // It asks for what Redis 7.0 does not have either.
    const before = errorsOf(cluster);
    await Promise.all(names(200).map((name) => redis.set(name, name)));
    expect(await Promise.all(names(200).map((name) => redis.get(name)))).toEqual(names(200));
    const key = cluster.keyOf(2);
    expect(await redis.multi().set(key, '1').get(key).exec()).toEqual(['OK', '1']);
    expect(errorsOf(cluster)).toEqual(before);
  });

  it('follows leaders that change; it leaves it to its caller to wait for one', async () => {
    const cluster = await MemoryCluster.serve({ password: 'secret' });
    const redis = await connected(cluster);
    const keys = [0, 1, 2, 3].map((shardId) => cluster.keyOf(shardId));
    const increment = async (key: string): Promise<number> => {
      for (;;) {
        try {
          return await redis.incr(key);
        } catch (error) {
          if (!String(error).includes('CLUSTERDOWN')) throw error;
          await pause(5);
        }
      }
    };
    const writing = keys.map(async (key) => {
      for (let i = 1; i <= 100; i++) expect(await increment(key)).toBe(i);
    });
    for (let i = 0; i < 8; i++) await failOver(cluster, i % 4, i % 2 === 0 ? 0 : 15);
    await Promise.all(writing);
  });

  it('reads from followers with useReplicas', async () => {
    const cluster = await MemoryCluster.serve({ password: 'secret', learners: [2] });
    const redis = await connected(cluster, { useReplicas: true });
    await Promise.all(names(50).map((name) => redis.set(name, name)));
    const before = commandsOf(cluster, 2);
    expect(await Promise.all(names(50).map((name) => redis.get(name)))).toEqual(names(50));
    expect(commandsOf(cluster, 2)).toBeGreaterThan(before + 10);
  });
});

describe('redis-cli', () => {
  it('-c goes where it is sent', async () => {
    const cluster = await MemoryCluster.serve();
    const [here, there] = [cluster.keyOf(0), cluster.keyOf(1)];
    const { port } = cluster.node(0);
    const output = await outputOf(
      'redis-cli',
      ['-c', '-p', `${port}`],
      `SET ${here} one\nSET ${there} two\nGET ${there}\nGET ${here}\nCLUSTER MYID\n`,
    );
    const redirected = (key: string, node: number): string =>
      `-> Redirected to slot [${slotOf(key)}] located at 127.0.0.1:${cluster.node(node).port}\n`;
    const [first, second] = [redirected(there, 1), redirected(here, 0)];
    expect(output).toBe(`OK\n${first}OK\ntwo\n${second}one\n${clusterId(0)}\n`);
  });

  it('--cluster check finds that all nodes agree and that every slot has a master', async () => {
    const cluster = await MemoryCluster.serve({ learners: [2] });
    for (const { port } of cluster.nodes) {
      const output = await outputOf('redis-cli', ['--cluster', 'check', `127.0.0.1:${port}`]);
      expect(output).toContain('All nodes agree about slots configuration.');
      expect(output).toContain('All 16384 slots covered.');
    }
    const { port } = cluster.node(1);
    const call = ['--cluster', 'call', `127.0.0.1:${port}`, 'DBSIZE'];
    expect((await outputOf('redis-cli', call)).match(/: \(integer\) 0|: 0$/gm)).toHaveLength(3);
  });
});

describe('redis-benchmark --cluster', () => {
  async function benchmark(
    cluster: MemoryCluster,
    node: number,
    requests: number,
  ): Promise<string> {
    const { port } = cluster.node(node);
    const options = `--cluster -h 127.0.0.1 -p ${port} -a secret -t set,get -n ${requests} -r 1000`;
    return outputOf('redis-benchmark', `${options} -c 8 -P 4 --csv`.split(' '));
  }

  it('loads all nodes that lead, wherever it starts', async () => {
    const cluster = await MemoryCluster.serve({ password: 'secret', learners: [2] });
    for (const node of [0, 2]) {
      const output = await benchmark(cluster, node, 2000);
      expect(output).toMatch(/^"SET","[\d.]+"/m);
      expect(output).toMatch(/^"GET","[\d.]+"/m);
    }
    expect(commandsOf(cluster, 0)).toBeGreaterThan(1000);
    expect(commandsOf(cluster, 1)).toBeGreaterThan(1000);
    expect(errorsOf(cluster)).toEqual([0, 0, 0]);
  });

  it('goes on while leaders change', async () => {
    const cluster = await MemoryCluster.serve({ password: 'secret' });
    const running = benchmark(cluster, 0, 20_000);
    for (const [shardId, leader] of [
      [1, 2],
      [3, 1],
    ] as const) {
      await pause(50);
      cluster.lead(shardId, leader);
    }
    expect(await running).toMatch(/^"GET","[\d.]+"/m);
  });
});
