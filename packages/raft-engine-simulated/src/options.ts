/** What a simulated cluster is made from, and the faults that a test may ask for. */

/**
 * Deliberate bugs of the engine itself. A checker that does not notice them proves nothing.
 * - `misreportHead`: an election reports what the new leader has read or appended itself as the
 *   head, so it believes it has caught up.
 * - `ignoreExpectedIndex`: an append lands at the head, whatever index it expected.
 * - `ignoreTerm`: an append of a leader of the past lands.
 */
export type PlantedFault = 'misreportHead' | 'ignoreExpectedIndex' | 'ignoreTerm';

/**
 * How the next append of one engine goes wrong.
 * - `ambiguousLanded`: it lands, and the answer is `ambiguous`.
 * - `ambiguousLost`: it never lands, and the answer is `ambiguous`.
 * - `ambiguousLate`: the answer is `ambiguous`; it reaches the log, where it is fenced like any
 *   other, when the test calls `landLateAppends`.
 * - `flushFailed`: it throws RAFTSEAL_ENGINE_FLUSH_FAILED, and so does every later append.
 */
export type AppendFault = 'ambiguousLanded' | 'ambiguousLost' | 'ambiguousLate' | 'flushFailed';

/** Puts a task off; tasks run one at a time, in any order that the scheduler likes. */
export type Schedule = (task: () => void) => void;

export interface SimulatedClusterOptions {
  /** Every node is a voter of every shard. */
  readonly nodes: readonly string[];
  readonly shards: readonly number[];
  /** Same seed, same calls: same elections, chunk sizes and fates of what was in transit. */
  readonly seed?: number;
  /** True (the default) where a waiting candidate is elected as soon as the shard has no leader. */
  readonly autoElect?: boolean;
  /** Default 1 MiB. */
  readonly payloadBytesMax?: number;
  /** Default 1, as the port demands of an engine that may answer `ambiguous`. */
  readonly appendsInFlightMax?: number;
  readonly plantedFaults?: readonly PlantedFault[];
  /** Default `setImmediate`; a simulator passes its own queue. No timers are used. */
  readonly schedule?: Schedule;
}
