/** What many runs add up to, as a table. */
import type { RunResult } from './run-result.ts';

/** The value below which a share of the values lies; 0 for none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}

export function summarise(runs: readonly RunResult[]): string {
  const count = (verdict: RunResult['verdict']): number =>
    runs.filter((run) => run.verdict === verdict).length;
  const total = (of: (run: RunResult) => number): number =>
    runs.reduce((sum, run) => sum + of(run), 0);
  const kinds = new Map<string, number>();
  for (const { kind } of runs.flatMap(({ faults }) => faults)) {
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  const resumptions = runs.flatMap(({ resumedAfterMs }) => resumedAfterMs);
  const stalls = runs.flatMap(({ stallsMs }) => stallsMs);
  const cutovers = runs.flatMap(({ cutoverMs }) => (cutoverMs === null ? [] : [cutoverMs]));
  const rows: readonly (readonly [string, string])[] = [
    ['runs', `${runs.length}: ${count('ok')} ok, ${count('failed')} failed, ${count('void')} void`],
    ['operations', `${total(({ operations }) => operations)}`],
    ['refused, unknown', `${total((run) => run.refused)}, ${total((run) => run.unknown)}`],
    [
      'log entries, seals checked',
      `${total((run) => run.logEntries)}, ${total((run) => run.sealsChecked)}`,
    ],
    ['faults', [...kinds].map(([kind, times]) => `${times} ${kind}`).join(', ')],
    ['cutover, median and longest', spread(cutovers)],
    ['writes resumed after a fault, median, p99 and longest', spread(resumptions, 0.99)],
    [
      'longest time without a write per fault and shard, median, p99 and longest',
      spread(stalls, 0.99),
    ],
    ['duration of a run, median and longest', spread(runs.map((run) => run.seconds * 1000))],
  ];
  return ['| what | found |', '| --- | --- |', ...rows.map(([a, b]) => `| ${a} | ${b} |`)].join(
    '\n',
  );
}

function spread(valuesMs: readonly number[], ...shares: readonly number[]): string {
  const found = [0.5, ...shares, 1].map((share) => quantile(valuesMs, share));
  return found.map((ms) => `${(ms / 1000).toFixed(2)} s`).join(', ');
}
