/** Waits for a condition on a state that changes now and then, each with a bound in time. */

/** Calls back once after a time; the returned function cancels. */
export type StartTimer = (delayMs: number, callback: () => void) => () => void;

export const startTimer: StartTimer = (delayMs, callback) => {
  const timer = setTimeout(callback, delayMs);
  return () => clearTimeout(timer);
};

export interface BoundedWait {
  readonly until: () => boolean;
  readonly timeoutMs: number;
  /** The error of a wait that takes too long. */
  readonly late: () => Error;
  readonly signal?: AbortSignal | undefined;
}

interface Waiter {
  readonly until: () => boolean;
  readonly end: (error?: Error) => void;
}

export class StateWaits {
  readonly #waiters = new Set<Waiter>();
  readonly #startTimer: StartTimer;

  constructor(timer: StartTimer) {
    this.#startTimer = timer;
  }

  /**
   * Resolves once the condition holds; at once where it does.
   * @throws what `late` gives; the signal's reason when aborted
   */
  wait({ until, timeoutMs, late, signal }: BoundedWait): Promise<void> {
    if (until()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const waiter: Waiter = {
        until,
        end: (error) => {
          cancel();
          signal?.removeEventListener('abort', onAbort);
          this.#waiters.delete(waiter);
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      const onAbort = (): void => waiter.end(signal?.reason);
      signal?.addEventListener('abort', onAbort);
      const cancel = this.#startTimer(timeoutMs, () => waiter.end(late()));
      this.#waiters.add(waiter);
    });
  }

  /** Resolves after a time. @throws the signal's reason when aborted; what `abandon` is given */
  async pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    const over = new Error('the pause is over');
    try {
      await this.wait({ until: () => false, timeoutMs: ms, late: () => over, signal });
    } catch (error) {
      if (error !== over) throw error;
    }
  }

  /** Looks at every condition again. */
  check(): void {
    for (const waiter of this.#waiters) if (waiter.until()) waiter.end();
  }

  /** Ends every wait with `error`. */
  abandon(error: Error): void {
    for (const waiter of this.#waiters) waiter.end(error);
  }
}
