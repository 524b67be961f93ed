/**
 * One call to a KEK service: bounded in time as a whole and per attempt, repeated after transient
 * failures with waits that double and are spread at random, so that many nodes that lost the same
 * service do not come back at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { RaftsealError } from '@raftseal/interface';
import { kekUnavailable } from './refusals.ts';
import { type KekTimeLimits, withinTime } from './time-limits.ts';
import { TransientKekFailure } from './transient-failure.ts';

const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 3_200;

/** What a service is given to make one call with. */
export interface KekCall {
  /** Aborts when the time of the whole call is over, or the provider is closed. */
  readonly signal: AbortSignal;
  readonly limits: KekTimeLimits;
  /**
   * Runs `attempt`, and again as long as it throws {@link TransientKekFailure} and time is left.
   * For clients that do not repeat by themselves.
   */
  attempts<Result>(attempt: (signal: AbortSignal) => Promise<Result>): Promise<Result>;
  /**
   * Notes what an attempt ended with, for the message where time runs out. For clients that repeat
   * by themselves.
   */
  attemptFailed(found: string): void;
}

/**
 * Runs `work` with a call of its own.
 * @throws RAFTSEAL_KEK_UNAVAILABLE when the time is over, with what the last attempt ended with;
 *   the reason of `closing` once it aborts; whatever else `work` throws.
 */
export function callService<Result>(
  { kekUri, limits, closing }: { kekUri: string; limits: KekTimeLimits; closing: AbortSignal },
  work: (call: KekCall) => Promise<Result>,
): Promise<Result> {
  const log = new AttemptLog(kekUri, limits);
  const whole = { ms: limits.callMs, late: () => log.unavailable(), parent: closing };
  return withinTime(whole, (signal) =>
    work({
      signal,
      limits,
      attempts: (attempt) => repeat(attempt, { signal, limits, log }),
      attemptFailed: (found) => void log.failed(found),
    }),
  );
}

async function repeat<Result>(
  attempt: (signal: AbortSignal) => Promise<Result>,
  { signal, limits, log }: { signal: AbortSignal; limits: KekTimeLimits; log: AttemptLog },
): Promise<Result> {
  const late = (): Error =>
    new TransientKekFailure(`no answer to an attempt within ${limits.attemptMs} ms`);
  for (;;) {
    try {
      return await withinTime({ ms: limits.attemptMs, late, parent: signal }, attempt);
    } catch (error) {
      if (!(error instanceof TransientKekFailure)) throw error;
      const waitMs = Math.max(log.failed(error.message), error.retryAfterMs);
      if (waitMs >= log.leftMs) throw log.unavailable();
      await sleep(waitMs, undefined, { signal });
    }
  }
}

/** How a call has gone so far. */
class AttemptLog {
  readonly #kekUri: string;
  readonly #limits: KekTimeLimits;
  readonly #startedMs = performance.now();
  #failures = 0;
  #lastFailure: string | undefined;

  constructor(kekUri: string, limits: KekTimeLimits) {
    this.#kekUri = kekUri;
    this.#limits = limits;
  }

  /** Notes a failure, and returns how long to wait: between half and the whole of a doubled time. */
  failed(message: string): number {
    this.#lastFailure = message;
    const wholeMs = Math.min(FIRST_WAIT_MS * 2 ** this.#failures, LONGEST_WAIT_MS);
    this.#failures += 1;
    return wholeMs * (0.5 + Math.random() / 2);
  }

  get leftMs(): number {
    return this.#startedMs + this.#limits.callMs - performance.now();
  }

  unavailable(): RaftsealError {
    const found =
      this.#lastFailure === undefined
        ? `no answer within ${this.#limits.callMs} ms`
        : `${this.#lastFailure} (failed attempts: ${this.#failures})`;
    return kekUnavailable(this.#kekUri, found);
  }
}
