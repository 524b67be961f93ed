import type { RaftsealError } from './error.ts';

/**
 * A batch of commands as one data entry carries it: a cursor over one buffer, so that applying
 * allocates nothing per command.
 */
export interface CommandBatch {
  readonly index: bigint;
  /** The leader's clock when the entry was sealed, in ms; never lower than in an earlier entry. */
  readonly timestampMs: number;
  readonly count: number;
  /** The buffer the commands lie in; only valid during `apply`: copy what is kept. */
  readonly bytes: Buffer;
  /** Bounds of the current command in `bytes`, after `next()` returned true. */
  readonly start: number;
  readonly end: number;
  /** Moves to the next command; false after the last. */
  next(): boolean;
}

/**
 * What data entries are applied to. Deterministic: the state after an index depends only on the
 * entries up to it. Never reads a clock, randomness or anything outside its state in `apply`.
 */
export interface StateMachine<Result> {
  /** Highest index whose effects survive a crash; replay starts at the next one. */
  readonly durableIndex: bigint;

  /**
   * The `timestampMs` of the last data entry at or below `durableIndex`; 0 where there was none. It
   * never falls, and survives with that index: a leader that has nothing to replay still knows
   * below which time it must not stamp.
   */
  readonly durableTimestampMs: number;

  /**
   * Applies all commands of a batch, synchronously and completely.
   * @returns one result per command, in order. A command that is refused (wrong type, bad number)
   *   has its refusal as its result and changes nothing.
   * @throws a fatal error where the bytes are no command at all.
   */
  apply(batch: CommandBatch): Result[];

  /**
   * Asked on the leader before a command is proposed: why it could not be applied here, so that it is
   * refused instead of ending the shard. Undefined where nothing stands in its way; what comes up
   * afterwards is fatal in `apply`. Changes nothing that `apply` depends on.
   */
  refusal?(command: Uint8Array): RaftsealError | undefined;

  /** Notes an entry without commands (key lifecycle), so that `durableIndex` can pass it. */
  skip(index: bigint): void;

  /** Makes everything applied so far durable; resolves to the durable index. */
  flush(): Promise<bigint>;
}
