import { describe, expect, it } from 'vitest';
import type { RecordedOperation } from '../../src/history/recorder.ts';
import type { FaultRecord } from '../../src/nemesis/nemesis.ts';
import { lateResumptions, stallsOf } from '../../src/run/resumption.ts';
import { quantile } from '../../src/run/run-frame.ts';

function write(shardId: number, invokedAt: number, returnedAt: number): RecordedOperation {
  const isKnown = Number.isFinite(returnedAt);
  const replies = isKnown ? ['OK'] : undefined;
  return { client: 0, shardId, commands: [['SET', 'k', 'v']], invokedAt, returnedAt, replies };
}

function read(shardId: number, invokedAt: number): RecordedOperation {
  const commands = [['GET', 'k']] as const;
  return { client: 0, shardId, commands, invokedAt, returnedAt: invokedAt + 1, replies: [null] };
}

function fault(beganAtMs: number, endedAtMs: number): FaultRecord {
  return { kind: 'kill-node', target: 'n1', direction: 'both', beganAtMs, endedAtMs };
}

describe('the resumption of writes', () => {
  const history = [
    write(0, 90, 100),
    write(0, 1_100, 2_900),
    read(0, 2_000),
    write(0, 2_100, Number.POSITIVE_INFINITY),
    write(0, 3_000, 3_500),
  ];

  it('is the answer to the first write that was sent after the fault', () => {
    const [stall] = stallsOf({ history, faults: [fault(1_000, 2_000)], shardCount: 1 });
    expect(stall).toMatchObject({ shardId: 0, resumedAfterMs: 1_500, longestGapMs: 1_900 });
  });

  it('invariant 12: is late after 10 s, or where it never comes', () => {
    const faults = [fault(1_000, 2_000)];
    expect(lateResumptions(stallsOf({ history, faults, shardCount: 1 }))).toEqual([]);
    expect(lateResumptions(stallsOf({ history, faults, shardCount: 2 }))).toMatchObject([
      { shardId: 1 },
    ]);
    const slow = [write(0, 2_100, 13_000)];
    expect(lateResumptions(stallsOf({ history: slow, faults, shardCount: 1 }))).toHaveLength(1);
  });

  it('is excused by another fault that goes on', () => {
    const faults = [fault(1_000, 2_000), fault(1_500, 9_000)];
    const late = lateResumptions(stallsOf({ history: [], faults, shardCount: 1 }));
    expect(late.map((stall) => stall.fault)).toEqual([faults[1]]);
  });
});

describe('a quantile', () => {
  it('is a value that was found', () => {
    expect([0.5, 0.99, 1].map((share) => quantile([5, 1, 3], share))).toEqual([3, 5, 5]);
    expect(quantile([], 0.5)).toBe(0);
  });
});
