/** What must hold of the logs of a run, entry by entry. */
import type { StoredEntry } from './log-entry.ts';
import type { SealLedger } from './seal-ledger.ts';

export interface LogCheckInput {
  readonly logs: ReadonlyMap<number, readonly StoredEntry[]>;
  /** By shard, as the nodes tell it; undefined where a shard is not cut over. */
  readonly cutoverIndexOf: (shardId: number) => bigint | undefined;
  readonly ledger: SealLedger;
}

/** @returns one line for each thing that is wrong */
export function checkLogs({ logs, cutoverIndexOf, ledger }: LogCheckInput): readonly string[] {
  const problems: string[] = [];
  for (const [shardId, entries] of logs) {
    const cutoverIndex = cutoverIndexOf(shardId);
    let [expected, term] = [1n, 0n];
    for (const entry of entries) {
      const place = `log of shard ${shardId}, entry ${entry.index}`;
      if (entry.index !== expected) problems.push(`${place}: expected entry ${expected}`);
      if (entry.term < term) problems.push(`${place}: term ${entry.term} after ${term}`);
      expected = entry.index + 1n;
      term = entry.term;
      const isAbove = cutoverIndex !== undefined && entry.index > cutoverIndex;
      if (entry.isSealed !== isAbove) {
        const found = entry.isSealed ? 'sealed' : 'in the clear';
        problems.push(`${place}: ${found}, with the cutover at ${cutoverIndex ?? 'no index'}`);
      }
      if (entry.isSealed) ledger.add(place, entry.body);
    }
  }
  return problems;
}
