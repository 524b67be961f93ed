/** Clusters of nodes in this process, over a real etcd. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type EtcdCluster, startEtcd } from '@raftseal/etcd-for-tests';
import { Redis, Cluster as RedisCluster } from 'ioredis';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import type { AdminOperations } from '../../src/admin/operations.ts';
import type { NodeConfig } from '../../src/config.ts';
import { type Node, startNode } from '../../src/node.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

export const SHARD_COUNT = 4;

export interface ClusterPlace {
  readonly etcd: EtcdCluster;
  readonly prefix: string;
  readonly root: string;
  readonly kekUri: string;
  readonly tokenPath: string;
}

/** An etcd that is there while the tests of the calling file run. */
export function etcdOfFile(options?: Parameters<typeof startEtcd>[0]): () => EtcdCluster {
  let etcd: EtcdCluster | undefined;
  beforeAll(async () => {
    etcd = await startEtcd(options);
  });
  afterAll(() => etcd?.close());
  return () => {
    if (etcd === undefined) throw new Error('etcd runs inside of tests only');
    return etcd;
  };
}

/** A prefix, a KEK and a peer token that no other test has. */
export function newPlace(etcd: EtcdCluster): ClusterPlace {
  const root = temporaryDirectory();
  const kekPath = join(root, 'kek');
  const tokenPath = join(root, 'peer.token');
  writeFileSync(kekPath, randomBytes(32), { mode: 0o600 });
  writeFileSync(tokenPath, randomBytes(24).toString('hex'), { mode: 0o600 });
  const prefix = `/test/${randomBytes(6).toString('hex')}`;
  return { etcd, prefix, root, kekUri: `file:${kekPath}`, tokenPath };
}

export function configOf(
  place: ClusterPlace,
  name: string,
  changes: Partial<NodeConfig> & {
    readonly role?: 'voter' | 'learner';
    readonly leaseTtlMs?: number;
  } = {},
): NodeConfig {
  const { role = 'voter', leaseTtlMs = 2_000, ...rest } = changes;
  const here = { host: '127.0.0.1', port: 0 };
  return {
    dataPath: join(place.root, name),
    shardCount: SHARD_COUNT,
    encryption: 'on',
    kekUris: [place.kekUri],
    redis: { ...here, password: undefined },
    admin: { ...here, tokenPath: undefined },
    cacheBytesMax: 1024 * 1024,
    cluster: {
      etcd: {
        endpoints: place.etcd.endpoints,
        prefix: place.prefix,
        spaceBytesMax: 2 ** 31,
        leaseTtlMs,
      },
      role,
      reads: 'lease',
      peer: { ...here, security: { kind: 'token', tokenPath: place.tokenPath } },
      advertise: { redis: here, peer: here },
    },
    ...rest,
  };
}

/** Starts a node that is stopped when the test is over, if not before. */
export async function member(config: NodeConfig): Promise<Node> {
  const node = await startNode(config);
  onTestFinished(() => node.stop());
  return node;
}

/** The admin calls of nodes, for whoever does not care which process they run in. */
export function adminsOf(nodes: readonly Node[]): AdminOperations[] {
  return nodes.map(({ admin }) => admin);
}

/** A client of one node, which follows no redirection. */
export function directClient({ redisPort }: { readonly redisPort: number }): Redis {
  const client = new Redis(redisPort, '127.0.0.1');
  client.on('error', () => undefined);
  onTestFinished(() => client.disconnect());
  return client;
}

/** A client of a cluster that reports every failure instead of waiting it out. */
export function clusterClient(nodes: readonly Node[]): RedisCluster {
  const client = new RedisCluster(
    nodes.map((node) => ({ host: '127.0.0.1', port: node.redisPort })),
    {
      retryDelayOnClusterDown: 100,
      retryDelayOnTryAgain: 100,
      slotsRefreshTimeout: 2_000,
      clusterRetryStrategy: () => 100,
    },
  );
  client.on('error', () => undefined);
  onTestFinished(() => client.disconnect());
  return client;
}

/** Resolves once `condition` holds; a test that waits in vain runs into its own time limit. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Ids of the shards that a node leads. */
export function ledBy(node: Node): number[] {
  return node.admin
    .status()
    .shards.filter(({ state }) => state === 'leading')
    .map(({ shardId }) => shardId);
}
