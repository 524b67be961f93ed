/**
 * What the state of a shard is kept in: a few tables of binary rows, written in transactions. LMDB
 * is one; whoever has another (a simulator with a disk of its own) gives it to the state machine.
 *
 * Invariants: a transaction is on disk wholly or not at all, and once `commit` has resolved it is;
 * reads see the latest commit; after a failed commit nothing is committed any more.
 */
import type { RowSource } from './row-source.ts';
import type { Chunk, WriteBatch } from './write-batch.ts';

/** The tables as of one commit, however many commits follow. */
export interface StoreView extends RowSource {
  /** What the tables take on disk. */
  readonly storedBytes: number;
  /** Idempotent. */
  release(): void;
}

/** An environment that is filled to take the place of another; nothing in it counts before that. */
export interface StoreReplacement extends RowSource {
  /** Adds a chunk of a batch, for the next commit. */
  add(chunk: Chunk): void;
  /** @throws RAFTSEAL_KV_COMMIT_FAILED */
  commit(): Promise<void>;
}

export interface StoreEnvironment extends RowSource {
  /** Size of the file. */
  readonly fileBytes: number;

  /** To be called while no commit is under way. */
  openView(): StoreView;

  /** A batch for the next commit; one at a time. */
  startBatch(): WriteBatch;

  /**
   * Writes everything that was batched since the last commit in one transaction.
   * @throws RAFTSEAL_KV_COMMIT_FAILED: fatal, and so is every later call.
   */
  commit(): Promise<void>;

  /**
   * Rids the file of what was deleted. Nothing may be batched meanwhile; reads go on.
   * @returns undefined, or why it was not done: the file is the old one then.
   * @throws RAFTSEAL_KV_COMMIT_FAILED where it is not known which file a start would find.
   */
  rewrite(): Promise<string | undefined>;

  /** A new and empty environment beside this one, to be given to `replace` or `discard`. */
  startReplacement(): Promise<StoreReplacement>;

  /** Removes what is left of a replacement, as far as the disk lets it. Idempotent. */
  discard(replacement: StoreReplacement): Promise<void>;

  /**
   * Puts what was committed to the replacement in the place of what is here. Nothing may be batched
   * or committed meanwhile.
   * @returns what has to be called for reads to see it; until then they see the old state.
   * @throws RAFTSEAL_KV_COMMIT_FAILED, fatal, where it is not known which of the two a start would
   *   find. After any other error it is the old one.
   */
  replace(replacement: StoreReplacement): Promise<() => void>;

  /** Ends open views. Idempotent. */
  close(): Promise<void>;
}
