/**
 * Front ends of several nodes in one process, over memory shards that every node has. Which node
 * leads a shard is said by the test; followers apply what the leader applies, at once or, where
 * they lag, later.
 */
import { slotOf } from '@raftseal/kv';
import { keyspaceOf, shardOfSlot, slotsOfShard } from '../../src/keyspace-of-shards.ts';
import {
  type ClusterNode,
  type ClusterTopology,
  type RedisServer,
  redisServer,
} from '../../src/redis/index.ts';
import { MemoryShard } from './memory-keyspace.ts';
import type { RawClient } from './raw-client.ts';
import { listening } from './serving.ts';

export interface ServedNode {
  readonly server: RedisServer;
  readonly port: number;
  readonly shards: readonly MemoryShard[];
  readonly client: () => Promise<RawClient>;
}

export interface ClusterOptions {
  readonly nodeCount?: number;
  readonly shardCount?: number;
  readonly password?: string;
  /** Nodes that never lead. */
  readonly learners?: readonly number[];
}

export class MemoryCluster {
  readonly nodes: ServedNode[] = [];
  /** Nodes that are out of reach for the others. */
  readonly dead = new Set<number>();
  readonly shardCount: number;
  readonly #learners: readonly number[];
  readonly #leaders: (number | undefined)[];
  #epoch = 1;

  private constructor({ shardCount = 4, learners = [] }: ClusterOptions) {
    this.shardCount = shardCount;
    this.#learners = learners;
    this.#leaders = Array.from({ length: shardCount }, () => undefined);
  }

  /** Leads shard i on node i, modulo the nodes that may lead. */
  static async serve(options: ClusterOptions = {}): Promise<MemoryCluster> {
    const { nodeCount = 3, password, learners = [] } = options;
    const cluster = new MemoryCluster(options);
    for (let index = 0; index < nodeCount; index++) {
      const shards = Array.from({ length: cluster.shardCount }, (_, id) => new MemoryShard(id));
      for (const shard of shards) shard.isServing = false;
      const keyspace = keyspaceOf(shards, cluster.#topologyOf(index));
      const bounds = { host: '127.0.0.1', port: 0, authFailureDelayMs: 0 };
      const server = redisServer(
        { ...bounds, ...(password !== undefined && { password }) },
        { keyspace },
      );
      const client = await listening(server);
      cluster.nodes.push({ server, port: server.port, shards, client });
    }
    const voters = cluster.nodes.map((_, index) => index).filter((i) => !learners.includes(i));
    for (let shardId = 0; shardId < cluster.shardCount; shardId++) {
      cluster.lead(shardId, voters[shardId % voters.length]);
    }
    return cluster;
  }

  /** Makes a node the leader of a shard; undefined: none is. */
  lead(shardId: number, node: number | undefined): void {
    const replicas = this.nodes.map((_, index) => this.shard(index, shardId));
    for (const replica of replicas) replica.isServing = false;
    const leader = node === undefined ? undefined : replicas[node];
    if (leader !== undefined) {
      leader.catchUp();
      leader.followers = replicas.filter((each) => each !== leader);
      leader.isServing = true;
    }
    this.announce(shardId, node);
  }

  /** Lets the nodes know of a leader, whether or not it is one. */
  announce(shardId: number, node: number | undefined): void {
    this.#leaders[shardId] = node;
    this.#epoch++;
  }

  leaderOf(shardId: number): number | undefined {
    return this.#leaders[shardId];
  }

  node(index: number): ServedNode {
    const node = this.nodes[index];
    if (node === undefined) throw new RangeError(`there is no node ${index}`);
    return node;
  }

  /** A shard as a node has it. */
  shard(node: number, shardId: number): MemoryShard {
    const shard = this.node(node).shards[shardId];
    if (shard === undefined) throw new RangeError(`there is no shard ${shardId}`);
    return shard;
  }

  /** A key of the given shard. */
  keyOf(shardId: number, prefix = 'key'): string {
    for (let i = 0; ; i++) {
      const key = `${prefix}:${i}`;
      if (shardOfSlot(slotOf(key), this.shardCount) === shardId) return key;
    }
  }

  #topologyOf(self: number): ClusterTopology {
    const described = (index: number): ClusterNode => ({
      id: clusterId(index),
      host: '127.0.0.1',
      port: this.node(index).port,
      peerPort: 8379 + index,
      role: this.#learners.includes(index) ? 'learner' : 'voter',
      isAlive: !this.dead.has(index),
      isSelf: index === self,
    });
    const epoch = (): number => this.#epoch;
    return {
      get self() {
        return described(self);
      },
      nodes: () => this.nodes.map((_, index) => described(index)),
      leaderOf: (shardId) => {
        const leader = this.#leaders[shardId];
        return leader === undefined ? undefined : described(leader);
      },
      slotsOf: (shardId) => slotsOfShard(shardId, this.shardCount),
      get epoch() {
        return epoch();
      },
    };
  }
}

/** What clients know a node by. */
export function clusterId(node: number): string {
  return `${(node + 1).toString(16)}`.repeat(40);
}
