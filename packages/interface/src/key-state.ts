/**
 * The key state: what the key-lifecycle entries of the logs add up to, plus this node's own part
 * (`nodeId`, `nonceEpoch` of each key, `generation`). Values are immutable: a transition returns a
 * new one. The sidecar file holds it; snapshots carry it.
 */
import type { KeyPurpose, WrappedKey } from './kek-provider.ts';

/** The shard whose log carries key-lifecycle entries for the whole cluster. */
export const CONTROL_SHARD = 0;

/** Highest nonce epoch; a key that has reached it must be rotated. */
export const NONCE_EPOCH_MAX = 0xffff;

/** Bytes of the sealed cluster keys in a key state: 64 of ciphertext and a tag of 16. */
export const SEALED_CLUSTER_KEYS_BYTES = 80;

/** One data key as every replica records it. */
export interface KeyRecord {
  readonly purpose: KeyPurpose;
  /** One per KEK that can unwrap it; never empty. */
  readonly wraps: readonly WrappedKey[];
  /** Milliseconds since the Unix epoch, stamped by the leader that made the key. */
  readonly createdAtMs: number;
  /**
   * This node's: the nonce epoch under this key that the latest process to seal with it claimed;
   * 0 before the first. Never lowered.
   */
  readonly nonceEpoch: number;
}

/** The request to cut every shard over, recorded by the control shard's own marker. */
export interface CutoverIntent {
  /** Index of the entry on the control shard. */
  readonly controlIndex: bigint;
  /** Shard ids in the order in which they are cut over; the shards of one wave together. */
  readonly waves: readonly (readonly number[])[];
}

/** A key that nothing needs any more: its wraps are forgotten, and its id is not given again. */
export interface RetiredKey {
  readonly purpose: KeyPurpose;
  /** Index of the entry on the control shard. */
  readonly controlIndex: bigint;
}

/** A backup whose keys must be kept, until the backup is forgotten. */
export interface RegisteredBackup {
  /** Milliseconds since the Unix epoch, stamped by the leader. */
  readonly createdAtMs: number;
  /** Ascending; what its files are sealed under. */
  readonly dekIds: readonly number[];
}

export interface KeyState {
  /** 16 bytes; undefined before `Bootstrap` is applied. */
  readonly clusterId: Uint8Array | undefined;
  readonly nodeId: string;
  /** Counts writes of the sidecar file. */
  readonly generation: bigint;
  /** By shard: index of the latest key-lifecycle entry applied. */
  readonly appliedIndex: ReadonlyMap<number, bigint>;
  /** By shard: index of the marker; entries above it are sealed. Set once. */
  readonly cutoverIndex: ReadonlyMap<number, bigint>;
  readonly cutoverIntent: CutoverIntent | undefined;
  /** Control index of `EnableStorage`; undefined while values are stored in the clear. */
  readonly storageIndex: bigint | undefined;
  /** Control index of `EnableSealedOnly`; undefined while what is in the clear may be read. */
  readonly sealedOnlyIndex: bigint | undefined;
  /** The DEK that new seals of a purpose use; 0 before `Bootstrap`. */
  readonly activeDekId: Readonly<Record<KeyPurpose, number>>;
  readonly keys: ReadonlyMap<number, KeyRecord>;
  /**
   * What the cluster's first index DEK stands for, sealed under the active one; undefined before the
   * first rotation of that DEK, while it derives from the DEK itself.
   */
  readonly sealedClusterKeys: Uint8Array | undefined;
  /** By DEK id; none of them is in `keys`. */
  readonly retired: ReadonlyMap<number, RetiredKey>;
  /** Writer id (1..65535) to node id; ids are given in the order of registration, never again. */
  readonly writers: ReadonlyMap<number, string>;
  /** By backup id. */
  readonly backups: ReadonlyMap<string, RegisteredBackup>;
}

/** Who may seal under which DEK, from which nonce epoch. */
export interface WriterRow {
  readonly dekId: number;
  readonly writerId: number;
  readonly firstEpoch: number;
  readonly lastEpoch: number;
}

/** Where writer rows live: a durable store of its own, so that a restored sidecar shows. */
export interface WriterRegistry {
  /** All rows, in no order. */
  rows(): readonly WriterRow[];
  /** The row of one writer under one key. */
  row(dekId: number, writerId: number): WriterRow | undefined;
  /** Stores rows, replacing those of the same key and writer; resolves once they are durable. */
  put(rows: readonly WriterRow[]): Promise<void>;
  /** Forgets every row under these keys; resolves once that is durable. */
  forget(dekIds: readonly number[]): Promise<void>;
}
