/** How long writes stood still, shard by shard, around each fault. */
import type { RecordedOperation } from '../history/recorder.ts';
import { isReadOnly } from '../linearizability/redis-model.ts';
import type { FaultRecord } from '../nemesis/nemesis.ts';

/** How soon after a fault every shard takes writes again: invariant 12. */
export const RESUMED_WITHIN_MS = 10_000;

export interface Stall {
  readonly shardId: number;
  readonly fault: FaultRecord;
  /** The longest time without an acknowledged write from the beginning of the fault on. */
  readonly longestGapMs: number;
  /** From the end of the fault to the answer to the first write that was sent after it. */
  readonly resumedAfterMs: number;
}

export interface ResumptionInput {
  readonly history: readonly RecordedOperation[];
  readonly faults: readonly FaultRecord[];
  readonly shardCount: number;
}

export function stallsOf({ history, faults, shardCount }: ResumptionInput): readonly Stall[] {
  const writes = acknowledgedWrites(history, shardCount);
  return faults.flatMap((fault) =>
    writes.map((ofShard, shardId) => ({
      shardId,
      fault,
      longestGapMs: longestGap(ofShard, fault.beganAtMs, fault.endedAtMs + RESUMED_WITHIN_MS),
      resumedAfterMs: resumedAt(ofShard, fault.endedAtMs) - fault.endedAtMs,
    })),
  );
}

/**
 * The faults after which some shard took no write in time, and which no other fault can explain:
 * none overlaps the time that was given.
 */
export function lateResumptions(stalls: readonly Stall[]): readonly Stall[] {
  const faults = new Set(stalls.map(({ fault }) => fault));
  return stalls.filter(({ fault, resumedAfterMs }) => {
    if (resumedAfterMs <= RESUMED_WITHIN_MS) return false;
    const untilMs = fault.endedAtMs + RESUMED_WITHIN_MS;
    const isExcused = [...faults].some(
      (other) => other !== fault && other.beganAtMs < untilMs && other.endedAtMs > fault.endedAtMs,
    );
    return !isExcused;
  });
}

/** Shards on which no write that was sent at this moment or later has been acknowledged. */
export function shardsWithoutWrite(
  history: readonly RecordedOperation[],
  { sinceMs, shardCount }: { readonly sinceMs: number; readonly shardCount: number },
): readonly number[] {
  return acknowledgedWrites(history, shardCount).flatMap((writes, shardId) =>
    writes.some(({ invokedAt }) => invokedAt >= sinceMs) ? [] : [shardId],
  );
}

function acknowledgedWrites(
  history: readonly RecordedOperation[],
  shardCount: number,
): readonly (readonly RecordedOperation[])[] {
  const byShard = Array.from({ length: shardCount }, (): RecordedOperation[] => []);
  for (const operation of history) {
    if (operation.replies === undefined || isReadOnly(operation.commands)) continue;
    byShard[operation.shardId]?.push(operation);
  }
  return byShard;
}

function resumedAt(writes: readonly RecordedOperation[], fromMs: number): number {
  const later = writes.filter(({ invokedAt }) => invokedAt >= fromMs);
  return Math.min(...later.map(({ returnedAt }) => returnedAt));
}

function longestGap(writes: readonly RecordedOperation[], fromMs: number, untilMs: number): number {
  let longest = 0;
  let lastMs = fromMs;
  const answered = writes.map(({ returnedAt }) => returnedAt).sort((a, b) => a - b);
  for (const atMs of answered) {
    if (atMs < fromMs) continue;
    if (atMs > untilMs) break;
    longest = Math.max(longest, atMs - lastMs);
    lastMs = atMs;
  }
  return longest;
}
