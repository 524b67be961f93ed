/** What a shard's state machine is opened with, asked and reports. */
import type { ByteString, RowSeal } from '@raftseal/interface';
import type { StoreEnvironment } from './store-environment.ts';

export interface KvOptions {
  /** Of this shard alone; made if it does not exist. */
  readonly directory: string;
  readonly shardId: number;
  /** Seals rows; `'cleartext'` while storage is not enabled. */
  readonly seal: RowSeal | 'cleartext';
  /** The store is refused where anything in it is in the clear. Default: false. */
  readonly sealedOnly?: boolean;
  /** Memory for values that are also on disk, in bytes. Default: 256 MiB. */
  readonly cacheBytesMax?: number;
  /** Size of the changes in memory that starts a checkpoint, in bytes. Default: 64 MiB. */
  readonly dirtyBytesMax?: number;
  /** Age of the oldest change in memory that starts a checkpoint, in ms. Default: 15,000. */
  readonly checkpointAgeMs?: number;
  /** Quiet time after the latest change that starts a checkpoint, in ms. Default: 1,000. */
  readonly checkpointIdleMs?: number;
  /** No checkpoint before `startCheckpoints()`: rows cannot be sealed yet. Default: false. */
  readonly holdCheckpoints?: boolean;
  /**
   * Bytes of rows that are brought under a new DEK in a second, at most, after a rotation; each row
   * counts for 256 more than it has. Default: 4 MiB.
   */
  readonly rewriteBytesPerSecond?: number;
  /**
   * Address space that the store's file is mapped into, in bytes; no memory, no disk. LMDB takes
   * more when it must, which costs it a remapping. Default: 64 GiB.
   */
  readonly mapBytes?: number;
  /** What the state is kept in. Default: LMDB, in `directory`. */
  readonly openEnvironment?: () => Promise<StoreEnvironment>;
  /** Told of a failure behind the caller's back: no checkpoint is tried after it. */
  readonly onFatal?: (error: unknown) => void;
}

export interface ScanOptions {
  /** How many stored rows one call looks at, about. */
  readonly count: number;
  /** A glob pattern, as Redis matches it. */
  readonly match?: ByteString;
  /** `string` or `hash`. */
  readonly type?: string;
}

export interface ScanPage {
  /** Where to go on; 0n at the end. Below 2^48, so that a shard id fits above it. */
  readonly cursor: bigint;
  readonly keys: ByteString[];
}

/** A pass over the sealed rows, which brings them under the active DEK. */
export interface RewriteProgress {
  readonly dekId: number;
  /** Rows that are under it, as far as the pass has come. */
  readonly rowsDone: number;
  /** Sealed rows. */
  readonly rowsTotal: number;
  /** When this process began the pass, or took it up again. */
  readonly startedAtMs: number;
  /** Estimated; null before the first row, 0 once the pass has met every row. */
  readonly remainingMs: number | null;
  /** Rows that do not open. They stay as they are until their keys are set anew. */
  readonly quarantined: number;
  /** The first 100 of them. */
  readonly quarantinedRows: readonly QuarantinedRow[];
}

export interface QuarantinedRow {
  /** 64 hex digits: the name of the row in the store. */
  readonly rowKey: string;
  /** Of what is wrong with it. */
  readonly code: string;
}

export interface KvStatistics {
  /** Changes not yet on disk: their size in memory and their number of keys. */
  readonly dirtyBytes: number;
  readonly dirtyKeys: number;
  /** Values in memory that are also on disk. */
  readonly cacheBytes: number;
  readonly cacheKeys: number;
  readonly rowsSealed: number;
  readonly rowsCleartext: number;
  /** Whether the file may hold, in free pages, what was once written in the clear. */
  readonly cleartextLeft: boolean;
  /** Null where every sealed row is under the active DEK. */
  readonly rewrite: RewriteProgress | null;
  readonly appliedIndex: bigint;
  readonly durableIndex: bigint;
  readonly checkpoints: number;
  /** How long the latest checkpoint took, in ms; 0 before the first. */
  readonly lastFlushMs: number;
  readonly lastFlushKeys: number;
}

/** The state of a shard as of one index. */
export interface KvSnapshot {
  readonly index: bigint;
  /** Of the last data entry at or below `index`; 0 where there was none. */
  readonly timestampMs: number;
  readonly rowCount: number;
  /** Whether every row in it is sealed, and the snapshot authentic as a whole. */
  readonly isSealed: boolean;
  /** What its rows take on disk: more than they take in the snapshot, as a rule. */
  readonly storedBytes: number;

  /**
   * The bytes of the snapshot, in chunks that are the consumer's to keep; once. Nothing is read
   * ahead of the consumer. The end of the iteration, whatever ends it, releases the snapshot.
   * @throws RAFTSEAL_KV_CLOSED where the shard is closed meanwhile; RAFTSEAL_ENVELOPE_* where the
   *   end cannot be sealed.
   */
  chunks(): AsyncIterable<Buffer>;

  /**
   * Gives back what the snapshot holds: until then the file of the store uses none of the space
   * again that it frees, and grows. Idempotent.
   */
  release(): void;
}

/** What a snapshot must be of, as whoever offers it says. */
export interface SnapshotExpectation {
  readonly index: bigint;
  readonly timestampMs: number;
  /**
   * Whether a snapshot whose meta row is in the clear is refused: nothing authenticates it. One
   * with rows of both kinds is authentic. Default: false.
   */
  readonly mustBeSealed?: boolean;
}

/** What a snapshot that is being read out may need. */
export interface OpenSnapshot {
  readonly index: bigint;
  /** The DEK that all of its sealed rows are under; null: any may be among theirs. */
  readonly onlyDekId: number | null;
}

/** Which DEKs a shard needs: those of its rows on disk, and of what is under way. */
export interface KvCensus {
  /** That the rows are of. */
  readonly index: bigint;
  /** Number of rows by the DEK that their envelope names, the meta row included; 0: in the clear. */
  readonly rowsByDekId: ReadonlyMap<number, number>;
  /** Rows whose bytes name no DEK: they are damaged, and no key opens them as they are. */
  readonly rowsUnreadable: number;
  /** What was sealed after the rows were looked at is under this one; null: nothing can be. */
  readonly activeDekId: number | null;
  /** As of the end of the census. */
  readonly openSnapshots: readonly OpenSnapshot[];
  /** Whether a snapshot is being installed, or came meanwhile: its rows may be under any DEK. */
  readonly installing: boolean;
  /** How many snapshots this process had installed in the shard when the rows were looked at. */
  readonly installs: number;
}

/** The digest of the state of a shard at an index. */
export interface KvDigest {
  readonly index: bigint;
  /** 64 hex digits. */
  readonly digest: string;
}
