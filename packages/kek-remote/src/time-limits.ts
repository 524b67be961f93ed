/** How long a KEK service may take. */
export interface KekTimeLimits {
  /** Of one attempt. */
  readonly attemptMs: number;
  /** Of a call with all its attempts and the waits between them. */
  readonly callMs: number;
}

const defaults: KekTimeLimits = { attemptMs: 5_000, callMs: 15_000 };

/**
 * The limits asked for; 5 s and 15 s where they are left out.
 * @throws RangeError for what is no positive number of milliseconds.
 */
export function kekTimeLimits(wanted: Partial<KekTimeLimits> = {}): KekTimeLimits {
  const limits = { ...defaults, ...wanted };
  for (const [name, ms] of Object.entries(limits)) {
    if (!(ms > 0 && ms < 2 ** 31)) throw new RangeError(`${name} is a time in ms, not ${ms}`);
  }
  return limits;
}

/**
 * Runs `work` and settles with it, unless `ms` pass or `parent` aborts before: then it rejects with
 * `late()` or with the parent's reason at once, even where `work` does not heed its signal.
 */
export async function withinTime<Result>(
  { ms, late, parent }: { ms: number; late: () => Error; parent: AbortSignal },
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  parent.throwIfAborted();
  const controller = new AbortController();
  const { signal } = controller;
  const abort = (): void => controller.abort(parent.reason);
  parent.addEventListener('abort', abort);
  const timer = setTimeout(() => controller.abort(late()), ms);
  try {
    return await new Promise<Result>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
      work(signal).then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
    parent.removeEventListener('abort', abort);
  }
}
