/**
 * How far the leader of a shard may truncate its log: by what every member has made durable. A
 * member that is gone holds the log for a while, so that it can go on from it when it comes back,
 * and not for ever: after that, or when etcd runs out of room, it catches up from a snapshot.
 */

import type { NodeShard } from '../node-shard.ts';
import type { Role } from './cluster-record.ts';
import type { ClusterView } from './cluster-view.ts';

export interface TruncationInput {
  readonly shardId: number;
  readonly members: ReadonlyMap<string, Role>;
  /** Durable index of the members that are in reach. */
  readonly durable: ReadonlyMap<string, bigint>;
  /** Members that are out of reach, and not for long. */
  readonly awaited: ReadonlyMap<string, bigint>;
  /** True where etcd is short of room: nobody is waited for. */
  readonly isShort: boolean;
}

/** The lowest index that somebody may still need, minus one. */
export function truncationBound(input: TruncationInput): bigint {
  const { members, durable, awaited, isShort } = input;
  const indexes: bigint[] = [];
  let copies = 0;
  for (const nodeId of members.keys()) {
    const inReach = durable.get(nodeId);
    const index = inReach ?? (isShort ? undefined : awaited.get(nodeId));
    if (index !== undefined) indexes.push(index);
    if (inReach !== undefined) copies++;
  }
  // What leaves the log is in stores alone: in two of them, where there are two.
  if (copies < Math.min(2, members.size) && !isShort) return 0n;
  const [lowest] = indexes.toSorted((a, b) => (a < b ? -1 : 1));
  return lowest === undefined ? 0n : lowest - 1n;
}

const PERIOD_MS = 1_000;
/** Part of the room in etcd from which on nobody is waited for. */
const SHORT_PART = 0.5;

export interface LogTruncationParts {
  readonly view: ClusterView;
  readonly shards: readonly NodeShard[];
  /** For how long a member that is gone holds the log, in ms. */
  readonly holdMs: number;
  /** Part of the room in etcd that is taken, 0 to 1. */
  readonly spaceTaken: () => number;
}

export class LogTruncation {
  readonly #parts: LogTruncationParts;
  readonly #sinceMs = performance.now();
  /** When each member was last in reach, and what it had. */
  readonly #lastSeen = new Map<string, { atMs: number; durableIndexes: readonly bigint[] }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: LogTruncationParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#timer = setInterval(() => this.#truncate(), PERIOD_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #truncate(): void {
    const { view, shards } = this.#parts;
    const nowMs = performance.now();
    for (const [nodeId, { presence }] of view.live) {
      this.#lastSeen.set(nodeId, { atMs: nowMs, durableIndexes: presence.durableIndexes });
    }
    for (const shard of shards) {
      if (shard.group.isReadable) void shard.truncate(this.#bound(shard.shardId, nowMs));
    }
  }

  #bound(shardId: number, nowMs: number): bigint {
    const { view, holdMs, spaceTaken } = this.#parts;
    const durable = new Map<string, bigint>();
    const awaited = new Map<string, bigint>();
    for (const nodeId of view.members.keys()) {
      const seen = this.#lastSeen.get(nodeId);
      const index = seen?.durableIndexes[shardId] ?? 0n;
      if (view.live.has(nodeId)) durable.set(nodeId, index);
      else if (nowMs - (seen?.atMs ?? this.#sinceMs) < holdMs) awaited.set(nodeId, index);
    }
    const isShort = spaceTaken() >= SHORT_PART;
    return truncationBound({ shardId, members: view.members, durable, awaited, isShort });
  }
}
