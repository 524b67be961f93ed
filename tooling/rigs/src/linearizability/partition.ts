/**
 * Splits a history into parts that do not touch one another: a history is linearizable exactly if
 * each of them is (Herlihy and Wing, "Linearizability", 1990, theorem 1), and small parts are what
 * makes the search feasible. Keys that one transaction may touch share a hash tag, and a part.
 */
import type { History, Operation } from './operation.ts';

/** The text that decides the slot of a key: its hash tag, or all of it. */
export function hashTagOf(key: string): string {
  const start = key.indexOf('{');
  const end = key.indexOf('}', start + 1);
  return start >= 0 && end > start + 1 ? key.slice(start + 1, end) : key;
}

/** The tag that all keys of an operation share. */
export function tagOfOperation({ commands }: Operation): string {
  const tags = new Set(commands.map(([, key = '']) => hashTagOf(key)));
  const [tag, other] = tags;
  if (tag === undefined || other !== undefined) {
    throw new RangeError(
      `the commands of an operation share one hash tag, found ${[...tags].join(', ')}`,
    );
  }
  return tag;
}

/** @returns the histories by hash tag, in the order of their first operation */
export function partitionByTag(history: History): ReadonlyMap<string, History> {
  const parts = new Map<string, Operation[]>();
  for (const operation of [...history].sort((a, b) => a.invokedAt - b.invokedAt)) {
    const tag = tagOfOperation(operation);
    const part = parts.get(tag);
    if (part === undefined) parts.set(tag, [operation]);
    else part.push(operation);
  }
  return parts;
}
