/** The order of elections, and how far a log may be truncated. */
import { describe, expect, it } from 'vitest';
import { type TruncationInput, truncationBound } from '../../src/cluster/log-truncation.ts';
import { electionOrder } from '../../src/cluster/placement.ts';

describe('the order of elections', () => {
  const view = (voters: string[], wishes: Record<number, string> = {}) => ({
    liveVoters: voters,
    preferredOf: (shardId: number) => wishes[shardId],
  });

  it('deals the shards to the live voters in turn', () => {
    const voters = ['a', 'b', 'c'];
    const first = [0, 1, 2, 3, 4, 5].map((shardId) => electionOrder(shardId, view(voters))[0]);
    expect(first).toEqual(['a', 'b', 'c', 'a', 'b', 'c']);
    expect(electionOrder(1, view(voters))).toEqual(['b', 'c', 'a']);
    expect(electionOrder(1, view(['a', 'c']))).toEqual(['c', 'a']);
    expect(electionOrder(1, view([]))).toEqual([]);
  });

  it('puts an operator’s wish first, as long as that node lives', () => {
    expect(electionOrder(1, view(['a', 'b', 'c'], { 1: 'a' }))).toEqual(['a', 'b', 'c']);
    expect(electionOrder(1, view(['b', 'c'], { 1: 'a' }))).toEqual(['c', 'b']);
  });
});

describe('a log is truncated', () => {
  const members = new Map([
    ['a', 'voter'],
    ['b', 'voter'],
    ['c', 'learner'],
  ] as const);
  const bound = (input: Partial<TruncationInput>): bigint =>
    truncationBound({
      shardId: 0,
      members,
      durable: new Map(),
      awaited: new Map(),
      isShort: false,
      ...input,
    });
  const all = new Map([
    ['a', 30n],
    ['b', 20n],
    ['c', 25n],
  ]);

  it('below what every member has made durable, learners too', () => {
    expect(bound({ durable: all })).toBe(19n);
  });

  it('not past what a member that is gone for a while needs', () => {
    const durable = new Map([...all].filter(([nodeId]) => nodeId !== 'b'));
    expect(bound({ durable, awaited: new Map([['b', 4n]]) })).toBe(3n);
    expect(bound({ durable })).toBe(24n);
  });

  it('without regard to who is gone where etcd runs short of room', () => {
    const durable = new Map([['a', 30n]]);
    expect(bound({ durable, awaited: new Map([['b', 4n]]), isShort: true })).toBe(29n);
  });

  it('only while two stores have what leaves it, where there are two', () => {
    expect(bound({ durable: new Map([['a', 30n]]) })).toBe(0n);
    const alone = new Map([['a', 'voter']] as const);
    expect(bound({ members: alone, durable: new Map([['a', 30n]]) })).toBe(29n);
  });
});
