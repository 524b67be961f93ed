/**
 * What `verify` says. Counts are of what was read, not of what some index claims: every record of
 * every log segment, every row of every store, every file of the data directory.
 */

export interface LogReport {
  readonly shardId: number;
  readonly cutoverIndex: string | null;
  readonly firstIndex: string | null;
  readonly lastIndex: string | null;
  /** Entries in the clear that carry commands. */
  readonly cleartextData: number;
  /** Entries in the clear that carry wrapped keys, registrations and markers. */
  readonly cleartextKeyLifecycle: number;
  /** Entries by the DEK that sealed them; every one of them opened. */
  readonly sealed: Readonly<Record<number, number>>;
}

export interface StoreReport {
  readonly shardId: number;
  readonly cleartextRows: number;
  /** Free pages of the file may hold what was once in the clear, until the file is made anew. */
  readonly cleartextInFreePages: boolean;
  /** Rows by the DEK that sealed them; every one of them opened. */
  readonly sealed: Readonly<Record<number, number>>;
}

export interface FileReport {
  /** Relative to the data directory. */
  readonly path: string;
  readonly bytes: number;
  readonly content:
    | 'log segment'
    | 'store'
    | 'sidecar'
    | 'writer registry'
    | 'audit trail'
    | 'no user data'
    | 'unknown';
}

export interface VerifyReport {
  /** Nothing is damaged, forged, out of place or unknown. */
  readonly clean: boolean;
  /** And no command or row in the clear is left anywhere. */
  readonly sealedThroughout: boolean;
  readonly logs: readonly LogReport[];
  readonly stores: readonly StoreReport[];
  readonly files: readonly FileReport[];
  /** What is wrong, one line each. */
  readonly problems: readonly string[];
  /** What is in the clear although nothing is wrong with it, one line each. */
  readonly cleartext: readonly string[];
}
