/** Waits that end with a signal. */

type MaybeSignal = AbortSignal | undefined;

/** Resolves after `ms`, or as soon as one of the signals aborts. */
export function sleep(ms: number, ...signals: readonly MaybeSignal[]): Promise<void> {
  return new Promise((resolve) => wait(resolve, ms, signals));
}

/** Something that many wait for, again and again. */
export class Bell {
  #waiters: Set<() => void> = new Set();

  ring(): void {
    const waiters = this.#waiters;
    this.#waiters = new Set();
    for (const wake of waiters) wake();
  }

  /** Resolves at the next ring, after `ms`, or as soon as one of the signals aborts. */
  next(ms: number, ...signals: readonly MaybeSignal[]): Promise<void> {
    return new Promise((resolve) => {
      const wake = wait(
        () => {
          this.#waiters.delete(wake);
          resolve();
        },
        ms,
        signals,
      );
      this.#waiters.add(wake);
    });
  }
}

/** Calls `onEnd` once, not before this returns; so does what it returns. */
function wait(onEnd: () => void, ms: number, signals: readonly MaybeSignal[]): () => void {
  const isOver = signals.some((signal) => signal?.aborted);
  const end = (): void => {
    clearTimeout(timer);
    for (const signal of signals) signal?.removeEventListener('abort', end);
    onEnd();
  };
  const delayMs = isOver ? 0 : ms;
  const timer = delayMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(end, delayMs);
  for (const signal of signals) signal?.addEventListener('abort', end);
  return end;
}
