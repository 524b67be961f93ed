/** For how long writes stood still. */

export interface Window {
  readonly fromMs: number;
  readonly untilMs: number;
}

/**
 * The longest time without an acknowledged write in a window, its two ends counted as such.
 * @param acknowledgedMs in order
 */
export function longestPauseMs(
  acknowledgedMs: readonly number[],
  { fromMs, untilMs }: Window,
): number {
  let longestMs = 0;
  let lastMs = fromMs;
  for (const atMs of acknowledgedMs) {
    if (atMs <= fromMs) continue;
    if (atMs >= untilMs) break;
    longestMs = Math.max(longestMs, atMs - lastMs);
    lastMs = atMs;
  }
  return Math.max(longestMs, untilMs - lastMs);
}
