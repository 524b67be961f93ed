import { describe, expect, it } from 'vitest';
import { type Fault, planFaults, planLeaderFaults } from '../../src/nemesis/fault.ts';
import { Random } from '../../src/random.ts';

const windowMs = 7_000;

function planOf(seed: number, canCut = true): readonly Fault[] {
  return planFaults({ random: new Random(seed, 'faults'), canCut, windowMs });
}

const isOfMember = ({ kind }: Fault): boolean => /^(kill|pause|cut|lossy)-member/.test(kind);

describe('a plan of faults', () => {
  it('is the same for the same seed', () => {
    expect(planOf(7)).toEqual(planOf(7));
    expect(planOf(7)).not.toEqual(planOf(8));
  });

  it('leaves a majority of etcd and two nodes at any time', () => {
    for (let seed = 1; seed <= 300; seed++) {
      const plan = planOf(seed);
      for (const track of [plan.filter(isOfMember), plan.filter((each) => !isOfMember(each))]) {
        for (const [at, { atMs }] of track.entries()) {
          const before = track[at - 1];
          if (before) expect(atMs).toBeGreaterThan(before.atMs + before.durationMs);
        }
      }
    }
  });

  it('has a fault of a node near the cutover, in many plans just after it was asked for', () => {
    let justAfter = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const [first] = planOf(seed).filter((fault) => !isOfMember(fault));
      expect(first?.atMs).toBeGreaterThanOrEqual(-1_500);
      expect(first?.atMs).toBeLessThan(1_500);
      if (first && first.atMs >= 0 && first.atMs < 400) justAfter++;
    }
    expect(justAfter).toBeGreaterThan(100);
  });

  it('of leaders is of one node at a time, most often of the one that changes keys', () => {
    const plans = Array.from({ length: 300 }, (_, seed) =>
      planLeaderFaults({ random: new Random(seed, 'faults'), windowMs }),
    );
    for (const plan of plans) {
      for (const [at, { atMs }] of plan.entries()) {
        const before = plan[at - 1];
        if (before) expect(atMs).toBeGreaterThan(before.atMs + before.durationMs);
      }
    }
    const faults = plans.flat();
    expect(new Set(faults.map(({ kind }) => kind))).toEqual(new Set(['kill-node', 'pause-node']));
    const leaders = faults.filter(({ target }) => target === 'control');
    expect(leaders.length).toBeGreaterThan(faults.length / 4);
    expect(Math.max(...faults.map(({ durationMs }) => durationMs))).toBeGreaterThan(12_000);
  });

  it('has every kind of fault, and without a network none that cuts', () => {
    const kinds = (canCut: boolean): Set<string> =>
      new Set(
        Array.from({ length: 300 }, (_, seed) => planOf(seed, canCut)).flatMap((plan) =>
          plan.map(({ kind }) => kind),
        ),
      );
    expect(kinds(true).size).toBe(12);
    expect([...kinds(false)].sort()).toEqual([
      'kill-member',
      'kill-node',
      'pause-member',
      'pause-node',
    ]);
  });
});
