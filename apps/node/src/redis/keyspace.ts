/**
 * What the Redis front end asks of the store behind it. Keys belong to one of 16384 slots and slots
 * to shards, as in Redis Cluster; the front end never looks behind this port.
 */
import type { ByteString, RaftsealError, Reply } from '@raftseal/interface';
import type { ScanOptions, ScanPage } from '@raftseal/kv';
import type { ClusterTopology } from './cluster-topology.ts';

export type ProposalDone = (error: RaftsealError | null, reply: Reply) => void;

/** Called once, perhaps at once: with null where this node led when it was asked. */
export type ReadConfirmed = (error: RaftsealError | null) => void;

export interface Shard {
  /** From 0; its place in `Keyspace.shards`. */
  readonly shardId: number;

  /** True where this node leads the shard and may serve it now. */
  readonly isServing: boolean;

  /** True where a failure has stopped the shard on this node for good. */
  readonly isHalted: boolean;

  /** Copies the command; calls `done` exactly once, asynchronously, in log order. */
  propose(command: Buffer, done: ProposalDone): void;

  /** A linearizable local read. Throws a coded error where this node may not serve. */
  query(args: readonly ByteString[], nowMs: number): Reply;

  /** Where there is one, a linearizable read waits for it: the log says that this node leads. */
  readonly confirmRead?: (done: ReadConfirmed) => void;

  /**
   * A read from what is applied here, which may be behind the leader. Throws a coded error where
   * the shard has halted or has no state yet.
   */
  queryStale(args: readonly ByteString[], nowMs: number): Reply;

  /** Changes whenever the value of the key does; 0n for a key that does not exist. */
  versionOf(key: ByteString, nowMs: number): bigint;

  /** Keys from a cursor on (0n at the start and the end; below 2^48), about `count` of them. */
  scan(cursor: bigint, options: ScanOptions, nowMs: number): ScanPage;

  /** All keys that match a glob. */
  keys(pattern: ByteString, nowMs: number): readonly ByteString[];

  /** Number of keys. */
  size(): number;

  /** Any key, or null where there is none. */
  randomKey(nowMs: number): ByteString | null;

  /** True: so much is under way that clients should be read from no further for a while. */
  readonly pressure: boolean;
}

export interface Keyspace {
  /** At least one. */
  readonly shards: readonly Shard[];
  /** The shard of a slot, 0..16383. */
  shardOf(slot: number): Shard;
  /** Undefined on a node that is of no cluster. */
  readonly topology?: ClusterTopology;
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
}
