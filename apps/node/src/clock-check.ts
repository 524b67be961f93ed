/**
 * The clock of the machine, which keys are dated and expiry is decided by. One that was never set is
 * refused; one that may be wrong is for people to judge, so it is only reported.
 */
import { type KeyState, RaftsealError } from '@raftseal/interface';

/** Before there was a release, and long after the last one. */
const EARLIEST_MS = Date.parse('2026-01-01T00:00:00Z');
const LATEST_MS = Date.parse('2200-01-01T00:00:00Z');
/** Clocks of nodes and of their hosts differ a little. */
const AHEAD_MS_MAX = 60 * 60_000;

/** @throws RAFTSEAL_NODE_CLOCK */
export function checkClock(nowMs: number): void {
  if (nowMs >= EARLIEST_MS && nowMs < LATEST_MS) return;
  throw new RaftsealError(
    'RAFTSEAL_NODE_CLOCK',
    `expected the clock of this machine to show a time from 2026 on, found ` +
      `${new Date(nowMs).toISOString()}: set it, then start the node; nothing was changed`,
  );
}

/** How far the newest key is dated ahead of the clock, in ms; undefined where it is not. */
export function keyDatedAheadMs({ keys }: KeyState, nowMs: number): number | undefined {
  const newestMs = Math.max(...[...keys.values()].map(({ createdAtMs }) => createdAtMs));
  return newestMs - nowMs > AHEAD_MS_MAX ? newestMs - nowMs : undefined;
}
