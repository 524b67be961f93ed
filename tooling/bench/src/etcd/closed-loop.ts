/**
 * Callers that each have one call under way. An answer is followed by the caller's next call in the
 * next turn of the event loop, as it is where callers are at the other end of a connection: what
 * handles answers is through with all of them before it sees the next calls.
 */
import type { LoadResult } from '../redis-benchmark.ts';
import { quantile } from '../statistics.ts';

export interface ClosedLoop {
  readonly callers: number;
  readonly warmUpMs: number;
  /** Answers that come in this time, after the warm-up, are counted. */
  readonly durationMs: number;
}

/** Must not answer before it has returned. */
export type Call = (caller: number, done: (error: Error | null) => void) => void;

/** @throws what the first call fails with */
export async function closedLoop(call: Call, loop: ClosedLoop): Promise<LoadResult> {
  const fromMs = performance.now() + loop.warmUpMs;
  const untilMs = fromMs + loop.durationMs;
  const latenciesMs: number[] = [];
  const run = (caller: number): Promise<void> =>
    new Promise((resolve, reject) => {
      let sentMs = 0;
      const send = (): void => {
        sentMs = performance.now();
        call(caller, answered);
      };
      const answered = (error: Error | null): void => {
        const nowMs = performance.now();
        if (nowMs >= fromMs && nowMs < untilMs) latenciesMs.push(nowMs - sentMs);
        if (error !== null) reject(error);
        else if (nowMs >= untilMs) resolve();
        else setImmediate(send);
      };
      send();
    });
  await Promise.all(Array.from({ length: loop.callers }, (_, caller) => run(caller)));
  const answeredInMs = Float64Array.from(latenciesMs);
  return {
    perSecond: (latenciesMs.length * 1000) / loop.durationMs,
    p50Ms: quantile(answeredInMs, 0.5),
    p99Ms: quantile(answeredInMs, 0.99),
  };
}
