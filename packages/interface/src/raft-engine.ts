/**
 * The port of a replicated log: one engine per shard and node.
 *
 * Fault model: a node may crash at any step, be paused for any time and resume, and lose contact
 * with the others. The log itself is not trusted with content (payloads are sealed and bound to
 * their place), only with order and durability. Indexes are dense and start at 1.
 */

import type { RaftsealError } from './error.ts';

/** One entry of a shard's log. */
export interface LogEntry {
  readonly index: bigint;
  /** Term of the leader that appended it. */
  readonly term: bigint;
  /** The receiver's to keep; the engine never writes into it again. */
  readonly payload: Uint8Array;
}

export interface LogBounds {
  /** Lowest index still readable; `headIndex + 1` where nothing is. */
  readonly firstIndex: bigint;
  /** Index of the last durable entry; 0 for a log that never had one. */
  readonly headIndex: bigint;
}

/** A claim to append, held until `signal` aborts. */
export interface Leadership {
  /** Greater than every term before it. */
  readonly term: bigint;
  /** Index of the last entry at the moment of election: a leader serves once it has applied it. */
  readonly headIndex: bigint;
  /** Aborted, synchronously, as soon as this node can no longer be sure to lead. */
  readonly signal: AbortSignal;
  /**
   * False as soon as the claim may have lapsed by this node's clock. Asked before each linearizable
   * read, because `signal` can come late: a process that was stopped and resumed handles what has
   * arrived on its sockets before its timers. Assumes that the clocks of node and log do not drift
   * apart faster than the engine allows for; {@link confirm} assumes nothing.
   */
  isCurrent(): boolean;
  /**
   * Asks the log itself, and no clock, whether this node led when the call was made.
   * @returns true if no other leader had been elected at some moment after the call was made.
   * @throws RAFTSEAL_ENGINE_UNAVAILABLE where the log does not answer in time; RAFTSEAL_ENGINE_CLOSED
   */
  confirm(): Promise<boolean>;
  /** Gives leadership up; idempotent. Resolves once another node may be elected. */
  resign(): Promise<void>;
}

export interface Candidacy {
  /**
   * How long this node lets others go first, in ms, asked anew each time the shard is found without
   * a leader. Spreads leadership; has no part in its safety. An engine without rivals ignores it.
   */
  readonly yieldMs?: () => number;
}

/** How an append ended. */
export type AppendOutcome =
  /** Durable at the expected index (flushed here, or agreed by a quorum). */
  | { readonly outcome: 'done' }
  /** Refused for certain: another leader, or the index is taken. Nothing was appended. */
  | { readonly outcome: 'fenced'; readonly reason: string }
  /** Unknown: it may be in the log or come to be. Nothing else may be put at that index before. */
  | { readonly outcome: 'ambiguous'; readonly reason: string }
  /**
   * Not appended, the index is free, and this node leads on: the log takes nothing for now (it is
   * full, say). Only from an engine with one append in flight.
   */
  | { readonly outcome: 'refused'; readonly error: RaftsealError };

export interface AppendRequest {
  readonly term: bigint;
  /** The index that the entry must get: the log's head must be just below it. */
  readonly index: bigint;
  /** Must stay unchanged until the append ends. */
  readonly payload: Uint8Array;
}

export interface ReadRequest {
  /** First index wanted. */
  readonly from: bigint;
  /** True to wait for entries at the tail for ever; false to end at the head. */
  readonly follow: boolean;
  /** Ends the iteration without an error. */
  readonly signal?: AbortSignal;
}

export interface EngineLimits {
  /** Largest payload of one entry, in bytes. */
  readonly payloadBytesMax: number;
  /**
   * How many appends may be under way at once, for consecutive indexes; their outcomes come in
   * order, and if one is not done, none after it is. An engine that can answer `ambiguous` says 1.
   */
  readonly appendsInFlightMax: number;
}

export interface Member {
  readonly nodeId: string;
  readonly role: 'voter' | 'learner';
}

export interface RaftEngine {
  readonly limits: EngineLimits;

  /**
   * Waits until this node leads the shard. At most one call at a time. An append of an earlier term
   * that was ambiguous is in the log up to `headIndex`, or never will be.
   * @throws the signal's reason when aborted; RAFTSEAL_ENGINE_CLOSED.
   */
  elect(signal?: AbortSignal, candidacy?: Candidacy): Promise<Leadership>;

  /**
   * Appends one entry, fenced on both the term and the index.
   * @throws RAFTSEAL_ENGINE_PAYLOAD_TOO_LARGE before anything is written;
   *   RAFTSEAL_ENGINE_FLUSH_FAILED where the disk failed: the engine takes no append after that;
   *   RAFTSEAL_ENGINE_CLOSED.
   */
  append(request: AppendRequest): Promise<AppendOutcome>;

  /**
   * Entries in order, without gap or repetition, in chunks of any size (never empty). Survives
   * what the engine can reconnect from.
   * @throws RAFTSEAL_ENGINE_TRUNCATED where `from` is below the first index;
   *   RAFTSEAL_ENGINE_CORRUPT (fatal) for an entry that is damaged or missing in the middle.
   */
  read(request: ReadRequest): AsyncIterable<readonly LogEntry[]>;

  /** The bounds of the log, linearizable with appends. */
  bounds(): Promise<LogBounds>;

  /**
   * Allows the engine to drop entries up to and including `throughIndex`; never above the head.
   * It may keep some of them. Idempotent.
   */
  truncate(throughIndex: bigint): Promise<void>;

  /** The members of the shard's group, this node included. */
  members(): Promise<readonly Member[]>;

  /** Resigns, ends reads and elections, releases files and connections. Idempotent. */
  close(): Promise<void>;
}
