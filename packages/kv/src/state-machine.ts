import type { ByteString, CommandBatch, Reply, RowSeal, StateMachine } from '@raftseal/interface';
import type { KvOptions, KvStatistics, ScanOptions, ScanPage } from './options.ts';

/** One shard of the key space. */
export declare class KvStateMachine implements StateMachine<Reply> {
  static open(options: KvOptions): Promise<KvStateMachine>;
  readonly durableIndex: bigint;
  apply(batch: CommandBatch): Reply[];
  skip(index: bigint): void;
  flush(): Promise<bigint>;
  /** A read command; keys expired at `nowMs` are absent. `args` has the name first. */
  query(args: readonly ByteString[], nowMs: number): Reply;
  /** For WATCH: the index of the key's latest change; 0n where it is absent. */
  versionOf(key: ByteString, nowMs: number): bigint;
  scan(cursor: bigint, options: ScanOptions, nowMs: number): ScanPage;
  /** DBSIZE of this shard. */
  size(): number;
  randomKey(nowMs: number): ByteString | null;
  keys(pattern: ByteString, nowMs: number): ByteString[];
  /** A log command that deletes up to `limit` expired keys, for the leader to propose. */
  expired(nowMs: number, limit: number): Buffer | undefined;
  /** Storage was enabled: from the next checkpoint on rows are sealed. */
  sealRows(seal: RowSeal): void;
  /** 0 while intake may run free, up to 1 where it should stop for the disk. */
  get pressure(): number;
  statistics(): KvStatistics;
  /** Flushes and releases the store; idempotent. */
  close(): Promise<void>;
}
