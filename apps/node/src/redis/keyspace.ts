/**
 * What the Redis front end asks of the store behind it. Keys belong to one of 16384 slots and slots
 * to shards, as in Redis Cluster; the front end never looks behind this port.
 */
import type { ByteString, RaftsealError, Reply } from '@raftseal/interface';
import type { ScanOptions, ScanPage } from '@raftseal/kv';

export type ProposalDone = (error: RaftsealError | null, reply: Reply) => void;

export interface Shard {
  /** Copies the command; calls `done` exactly once, asynchronously, in log order. */
  propose(command: Buffer, done: ProposalDone): void;

  /** A linearizable local read. Throws a coded error where this node may not serve. */
  query(args: readonly ByteString[], nowMs: number): Reply;

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
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
}
