/** What this replica says of an entry that it applies, to whoever keeps a record of them. */
import type { Outcome } from './effect.ts';
import type { KeyLifecycleEntry } from './entry.ts';

export interface AppliedEntry {
  /** The shard whose log the entry is in. */
  readonly shardId: number;
  readonly index: bigint;
  readonly entry: KeyLifecycleEntry;
  /** Never `replayed`: such an entry was applied earlier. */
  readonly outcome: Outcome;
}

/**
 * Called after the keys and rows of an entry are in place and before the sidecar is durable, which
 * is when the entry counts as applied: a record that came later could be lost for good by a crash
 * in between, since an entry that the sidecar covers is not applied again. A crash after the record
 * repeats the call for the same shard and index. It does not reject: that a record cannot be kept
 * changes nothing about the entry.
 */
export type NoteEntry = (applied: AppliedEntry) => Promise<void>;
