/** Why a shard does not do what it is asked to, as errors that name the shard. */
import { codeOf, type ErrorCode, fatalError, RaftsealError } from '@raftseal/interface';

export class ShardErrors {
  readonly #shardId: number;

  constructor(shardId: number) {
    this.#shardId = shardId;
  }

  notLeader(): RaftsealError {
    return this.#error('RAFTSEAL_SHARD_GROUP_NOT_LEADER', 'this node does not lead it');
  }

  logBehind(appliedIndex: bigint, headIndex: bigint): RaftsealError {
    return fatalError(
      'RAFTSEAL_SHARD_GROUP_LOG_BEHIND',
      `shard ${this.#shardId}: entry ${appliedIndex} is applied here and the log ends at ` +
        `${headIndex}: entries were taken out of the log; restore it, or rebuild this node`,
    );
  }

  stopped(): RaftsealError {
    return this.#error('RAFTSEAL_SHARD_GROUP_STOPPED', 'the node is stopping');
  }

  overloaded(queueBytesMax: number): RaftsealError {
    return this.#error(
      'RAFTSEAL_SHARD_GROUP_OVERLOADED',
      `more than ${queueBytesMax} bytes of commands wait; try again later`,
    );
  }

  tooLarge(what: string, bytes: { readonly max: number; readonly found: number }): RaftsealError {
    return this.#error(
      'RAFTSEAL_SHARD_GROUP_COMMAND_TOO_LARGE',
      `expected ${what} of at most ${bytes.max} bytes, found ${bytes.found}`,
    );
  }

  /** @param cause what halted it */
  halted(cause: unknown): RaftsealError {
    const code = codeOf(cause) ?? 'unknown cause';
    return this.#error(
      'RAFTSEAL_SHARD_GROUP_HALTED',
      `it has halted (${code}): see the node's log`,
      cause,
    );
  }

  /** What halts the shard: a coded cause itself, or an error that carries it. */
  failed(what: string, cause: unknown): RaftsealError {
    if (cause instanceof RaftsealError) return cause;
    return this.#error('RAFTSEAL_SHARD_GROUP_APPLY_FAILED', what, cause);
  }

  #error(code: ErrorCode, what: string, cause?: unknown): RaftsealError {
    return new RaftsealError(code, `shard ${this.#shardId}: ${what}`, { cause });
  }
}
