/**
 * The documents in which etcd holds who a cluster is and who belongs to it.
 *
 * | document | content |
 * | --- | --- |
 * | cluster | the cluster's name, the format its nodes agree on, its number of shards |
 * | nodes/<node> | presence of a live node; ends with its lease |
 * | leaders/<shard> | node that leads a shard; ends with its lease |
 * | members/<node> | role of a member |
 * | removed/<node> | a node that may not come back |
 * | preferred/<shard> | the node that an operator wants to lead a shard |
 *
 * Every change of membership rewrites `cluster` under the revision that it was decided on, so two
 * changes never overlap, whoever makes them.
 */
import { RaftsealError } from '@raftseal/interface';
import type { Document } from '@raftseal/raft-engine-etcd';
import { FORMAT_VERSION, isShardCount } from '../data-directory.ts';
import { parsed } from './presence.ts';

export const CLUSTER_DOCUMENT = 'cluster';
export const NODES = 'nodes/';
export const LEADERS = 'leaders/';
export const MEMBERS = 'members/';
export const REMOVED = 'removed/';
export const PREFERRED = 'preferred/';

export interface ClusterRecord {
  /** 32 hex digits, random. */
  readonly name: string;
  readonly formatVersion: number;
  readonly shardCount: number;
}

export type Role = 'voter' | 'learner';

export function encodeRecord(record: ClusterRecord): Buffer {
  return Buffer.from(JSON.stringify(record));
}

/** @throws RAFTSEAL_NODE_CLUSTER_FORMAT for a cluster that this release does not know */
export function decodeRecord({ value }: Pick<Document, 'value'>): ClusterRecord {
  const { name, formatVersion, shardCount } = parsed(value) ?? {};
  const known =
    typeof name === 'string' &&
    /^[0-9a-f]{32}$/.test(name) &&
    formatVersion === FORMAT_VERSION &&
    typeof shardCount === 'number' &&
    isShardCount(shardCount);
  if (known) return { name, formatVersion, shardCount };
  throw new RaftsealError(
    'RAFTSEAL_NODE_CLUSTER_FORMAT',
    `expected a cluster of format ${FORMAT_VERSION} under the etcd prefix; found ` +
      `${typeof formatVersion === 'number' ? `format ${formatVersion}` : 'something else'}: run ` +
      'the release that the cluster was made with, or use another prefix; nothing was changed',
  );
}

export function encodeMember(role: Role): Buffer {
  return Buffer.from(JSON.stringify({ role }));
}

/** Undefined for what is no role: such a member neither votes nor counts. */
export function decodeMember(bytes: Uint8Array): Role | undefined {
  const { role } = parsed(bytes) ?? {};
  return role === 'voter' || role === 'learner' ? role : undefined;
}
