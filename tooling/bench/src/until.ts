/** Waits that end. */
import { setTimeout as delay } from 'node:timers/promises';

export interface Wait {
  readonly what: string | (() => string);
  readonly withinMs: number;
  readonly everyMs?: number;
}

/** Resolves once the condition holds. @throws where it does not in time */
export async function until(
  condition: () => boolean | Promise<boolean>,
  { what, withinMs, everyMs = 25 }: Wait,
): Promise<void> {
  const deadlineMs = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) {
      const wanted = typeof what === 'string' ? what : what();
      throw new Error(`expected ${wanted} within ${withinMs / 1000} s, and waited in vain`);
    }
    await delay(everyMs);
  }
}
