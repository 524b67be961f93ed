/** Linearizable histories, each changed in a way that no order can explain. */
import { describe, expect, it } from 'vitest';
import { linearize } from '../../src/linearizability/linearization.ts';
import type { History, Operation, Reply } from '../../src/linearizability/operation.ts';
import { Random } from '../../src/random.ts';
import { type Execution, randomExecution } from './histories.ts';

const HISTORIES = 250;

/** Changes a history so that it cannot be explained; undefined where it offers no occasion. */
type Mutation = (execution: Execution, random: Random) => History | undefined;

const isSingle = (operation: Operation, name: string): boolean =>
  operation.commands.length === 1 && operation.commands[0]?.[0] === name;

const isKnownGet =
  (key: string) =>
  (operation: Operation): boolean =>
    isSingle(operation, 'GET') &&
    operation.commands[0]?.[1] === key &&
    operation.replies !== undefined;

function withReplies(history: History, of: Operation, ...replies: readonly Reply[]): History {
  return history.map((each) => (each === of ? { ...of, replies } : each));
}

/** The operations that end before another begins. */
const before = (history: History, { invokedAt }: Operation): History =>
  history.filter(({ returnedAt }) => returnedAt < invokedAt);

const after = (history: History, { returnedAt }: Operation): History =>
  history.filter(({ invokedAt }) => invokedAt > returnedAt);

const mutations: Readonly<Record<string, Mutation>> = {
  'a value that nobody wrote': ({ history }, random) => {
    const reads = history.filter(isKnownGet('{t}r'));
    return reads.length === 0 ? undefined : withReplies(history, random.pick(reads), 'nobody');
  },

  'a stale read: a value from before a write that had ended': ({ history }, random) => {
    const found = history.filter(isKnownGet('{t}r')).flatMap((read) => {
      const sets = before(history, read).filter((each) => isSingle(each, 'SET'));
      return sets
        .filter((old) => after(sets, old).length > 0)
        .map((old) => ({ read, value: old.commands[0]?.[2] ?? '' }));
    });
    if (found.length === 0) return undefined;
    const { read, value } = random.pick(found);
    return withReplies(history, read, value);
  },

  'a read from the future: a value whose write was not sent yet': ({ history }, random) => {
    const found = history.filter(isKnownGet('{t}r')).flatMap((read) =>
      after(history, read)
        .filter((each) => isSingle(each, 'SET'))
        .map((write) => ({ read, value: write.commands[0]?.[2] ?? '' })),
    );
    if (found.length === 0) return undefined;
    const { read, value } = random.pick(found);
    return withReplies(history, read, value);
  },

  'a lost write: the key is said not to exist though nobody removed it': ({ history }, random) => {
    const removals = history.filter((each) => isSingle(each, 'DEL'));
    const found = history.filter(isKnownGet('{t}r')).filter((read) => {
      const writes = before(history, read).filter(
        (each) => isSingle(each, 'SET') || isSingle(each, 'APPEND'),
      );
      // Every removal ended before a write began that itself ended before the read.
      return writes.some((write) =>
        removals.every(
          (removal) => removal.returnedAt < write.invokedAt || removal.invokedAt > read.returnedAt,
        ),
      );
    });
    return found.length === 0 ? undefined : withReplies(history, random.pick(found), null);
  },

  'a duplicated increment: a number is skipped': ({ history, effects }, random) => {
    const increments = effects
      .map(({ operation }) => operation)
      .filter((each) => isSingle(each, 'INCR'));
    if (increments.length < 2 || increments.some(({ replies }) => replies === undefined)) {
      return undefined;
    }
    const from = random.below(increments.length);
    const late = new Set(increments.slice(from));
    // Transactions count too: where one comes later, its own reply betrays the skipped number.
    return history.map((each) =>
      late.has(each) ? { ...each, replies: [Number(each.replies?.[0]) + 1] } : each,
    );
  },

  'a repeated number: an increment that was undone': ({ history, effects }, random) => {
    const counted = effects
      .map(({ operation }) => operation)
      .filter((each) => isSingle(each, 'INCR') && each.replies !== undefined);
    if (counted.length < 2) return undefined;
    const [a, b] = random.shuffled(counted);
    return a && b && withReplies(history, a, ...(b.replies ?? []));
  },
};

describe.each(Object.keys(mutations))('%s', (name) => {
  it('is rejected in every history that offers the occasion', () => {
    let changed = 0;
    for (let seed = 1; seed <= HISTORIES; seed++) {
      const random = new Random(seed, name);
      const shape = { operations: 50, clients: 5, unknownShare: seed % 2 === 0 ? 0.04 : 0 };
      const execution = randomExecution(random, shape);
      expect(linearize(execution.history).verdict).toBe('linearizable');
      const mutated = mutations[name]?.(execution, random);
      if (mutated === undefined) continue;
      changed++;
      expect(linearize(mutated).verdict, `seed ${seed}`).toBe('violation');
    }
    expect(changed).toBeGreaterThan(HISTORIES / 5);
  });
});
