/** What tests of clusters do and wait for, whichever process their nodes are in. */
import { slotOf } from '@raftseal/kv';
import { openEtcdLog } from '@raftseal/raft-engine-etcd';
import { pino } from 'pino';
import { expect, onTestFinished } from 'vitest';
import type { MemberStatus, NodeStatus, ShardDigest } from '../../src/admin/operations.ts';
import type { EtcdConfig, NodeConfig } from '../../src/config.ts';
import { shardOfSlot } from '../../src/keyspace-of-shards.ts';
import { type Node, startNode } from '../../src/node.ts';
import { type ClusterPlace, ledBy, SHARD_COUNT, until } from './running-cluster.ts';

/** A machine that also builds, or runs other tests, is slow: only a hang takes this long. */
export const TIME_LIMIT_MS = 120_000;

/** A node of a test: one in this process, or a spawned one. */
export interface Replica {
  status(): NodeStatus | Promise<NodeStatus>;
  digest(): Promise<Readonly<Record<number, ShardDigest>>>;
}

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly code?: string;
  readonly shardId?: number;
  /** Of a snapshot: the node that it is of. */
  readonly from?: string;
  readonly index?: string;
  /** Of a node that serves: its ports. */
  readonly redis?: number;
  readonly admin?: number;
}

interface LoggedNode {
  readonly node: Node;
  readonly log: readonly LogLine[];
}

/** Starts a node in this process that is stopped with the test, and keeps what it logs. */
export async function loggedMember(config: NodeConfig): Promise<LoggedNode> {
  const { starting, log } = startLogged(config);
  return { node: await starting, log };
}

/** The same for a node that may wait while it starts. */
export function startLogged(config: NodeConfig): {
  readonly starting: Promise<Node>;
  readonly log: readonly LogLine[];
  readonly stop: () => Promise<void>;
} {
  const log: LogLine[] = [];
  const write = (line: string): unknown => log.push(JSON.parse(line) as LogLine);
  const stopping = new AbortController();
  const parts = { log: pino({ base: null }, { write }), signal: stopping.signal };
  const starting = startNode(config, parts);
  const stop = async (): Promise<void> => {
    stopping.abort();
    const node = await starting.catch(() => undefined);
    await node?.stopped;
  };
  onTestFinished(stop);
  return { starting, log, stop };
}

/** With another way to etcd, or a quota of its own there. */
export function withEtcd(config: NodeConfig, changes: Partial<EtcdConfig>): NodeConfig {
  const { cluster } = config;
  if (!cluster) throw new TypeError('a member of a cluster has its configuration');
  return { ...config, cluster: { ...cluster, etcd: { ...cluster.etcd, ...changes } } };
}

/** Keys of a shard, always the same ones. */
export function keysIn(shardId: number, count: number, shardCount: number = SHARD_COUNT): string[] {
  const keys: string[] = [];
  for (let n = 0; keys.length < count; n++) {
    const key = `key:${n}`;
    if (shardOfSlot(slotOf(key), shardCount) === shardId) keys.push(key);
  }
  return keys;
}

export function keyIn(shardId: number, shardCount: number = SHARD_COUNT): string {
  return keysIn(shardId, 1, shardCount)[0] ?? '';
}

function statusOf(nodes: readonly Replica[]): Promise<NodeStatus[]> {
  return Promise.all(nodes.map(async (node) => node.status()));
}

/** Resolves once exactly one of the nodes leads each of the shards. */
export async function led(nodes: readonly Replica[]): Promise<void> {
  await until(async () => {
    const reports = await statusOf(nodes);
    const leaders = reports.flatMap(({ shards }) =>
      shards.filter(({ state }) => state === 'leading').map(({ shardId }) => shardId),
    );
    const count = reports[0]?.shards.length;
    return leaders.length === count && new Set(leaders).size === count;
  });
}

/**
 * Has a node lead every shard, for as long as it is there: other nodes that join are given none.
 * Resolves once it does.
 */
export async function leadAll(leader: Node): Promise<void> {
  await preferForAll(leader, leader.admin.status().nodeId);
  await until(() => ledBy(leader).length === leader.admin.status().shards.length);
}

/** @param by any node of the cluster */
export async function preferForAll(by: Node, nodeId: string): Promise<void> {
  const { shards } = by.admin.status();
  await until(() => by.admin.status().cluster?.members.find(isNode(nodeId))?.isAlive === true);
  for (const { shardId } of shards) await by.admin.preferLeader(shardId, nodeId);
}

function isNode(nodeId: string): (member: MemberStatus) => boolean {
  return (member) => member.nodeId === nodeId;
}

/** Resolves once all nodes have applied as much; then they must have the same state. */
export async function expectSameState(nodes: readonly Replica[]): Promise<void> {
  await until(async () => {
    const reports = await statusOf(nodes);
    const applied = reports.map(({ shards }) => shards.map((shard) => shard.appliedIndex).join());
    return new Set(applied).size === 1;
  });
  const [first, ...others] = await Promise.all(nodes.map((node) => node.digest()));
  for (const other of others) expect(other).toEqual(first);
}

/** Resolves once the stores of the nodes have all that was applied. */
export async function durable(nodes: readonly Replica[]): Promise<void> {
  await until(async () => {
    const reports = await statusOf(nodes);
    return reports.every(({ shards }) =>
      shards.every((shard) => shard.durableIndex === shard.appliedIndex),
    );
  });
}

/** Truncates every log as far as the store of this node allows, whoever may still need the rest. */
export async function truncateBehind(place: ClusterPlace, node: Replica): Promise<void> {
  await durable([node]);
  const { shards } = await node.status();
  const log = await openEtcdLog({
    access: { endpoints: place.etcd.endpoints },
    prefix: place.prefix,
    nodeId: 'operator',
    shardIds: shards.map(({ shardId }) => shardId),
    leaseTtlMs: 2_000,
  });
  try {
    for (const { shardId, durableIndex } of shards) {
      await log.engine(shardId).truncate(BigInt(durableIndex) - 1n);
    }
  } finally {
    await log.close();
  }
}
