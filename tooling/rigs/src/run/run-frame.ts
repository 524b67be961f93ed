/** What a run says of itself, whichever rig it is of, and how one and many are shown. */
import type { FaultRecord } from '../nemesis/nemesis.ts';

export interface RunFrame {
  readonly seed: number;
  /**
   * `void`: there was too little traffic for the run to prove anything. A failure has problems; a
   * run that could not be carried out is a failure.
   */
  readonly verdict: 'ok' | 'failed' | 'void';
  readonly problems: readonly string[];
  readonly seconds: number;
  readonly operations: number;
  readonly refused: number;
  readonly unknown: number;
  /** Why operations were refused or their outcome is unknown. */
  readonly reasons: Readonly<Record<string, number>>;
  /** How long each part of the run took. */
  readonly phasesMs: Readonly<Record<string, number>>;
  readonly faults: readonly FaultRecord[];
  /** From the end of each fault, for each shard, until a write was acknowledged. */
  readonly resumedAfterMs: readonly number[];
  readonly logEntries: number;
  readonly sealsChecked: number;
}

export type TableRow = readonly [what: string, found: string];

const PROBLEMS_SHOWN = 15;

/** One line for people, and one for each problem. */
export function describeFrame({ problems }: RunFrame, words: readonly string[]): string {
  const shown = problems.slice(0, PROBLEMS_SHOWN).map((problem) => `  ${problem}`);
  const hidden = problems.length - shown.length;
  if (hidden > 0) shown.push(`  and ${hidden} more, in result.json`);
  return [words.join(' | '), ...shown].join('\n');
}

/** The rows that the table of every rig begins with. */
export function trafficRows(runs: readonly RunFrame[]): readonly TableRow[] {
  const count = (verdict: RunFrame['verdict']): number =>
    runs.filter((run) => run.verdict === verdict).length;
  return [
    ['runs', `${runs.length}: ${count('ok')} ok, ${count('failed')} failed, ${count('void')} void`],
    ['operations of clients', `${total(runs, ({ operations }) => operations)}`],
    [
      'refused, unknown',
      `${total(runs, ({ refused }) => refused)}, ${total(runs, ({ unknown }) => unknown)}`,
    ],
    ['faults', counted(runs.flatMap(({ faults }) => faults.map(({ kind }) => kind)))],
    [
      'writes resumed after a fault, median, p99 and longest',
      spread(runs.flatMap(({ resumedAfterMs }) => resumedAfterMs)),
    ],
  ];
}

/** And those that it ends with. */
export function evidenceRows(runs: readonly RunFrame[]): readonly TableRow[] {
  return [
    [
      'log entries, seals checked',
      `${total(runs, ({ logEntries }) => logEntries)}, ${total(runs, (run) => run.sealsChecked)}`,
    ],
    ['duration of a run, median, p99 and longest', spread(runs.map((run) => run.seconds * 1000))],
  ];
}

export function table(rows: readonly TableRow[]): string {
  const lines = rows.map(([what, found]) => `| ${what} | ${found} |`);
  return ['| what | found |', '| --- | --- |', ...lines].join('\n');
}

export function total<Run>(runs: readonly Run[], of: (run: Run) => number): number {
  return runs.reduce((sum, run) => sum + of(run), 0);
}

/** Median, 99th percentile and longest. */
export function spread(valuesMs: readonly number[]): string {
  return [0.5, 0.99, 1].map((share) => seconds(quantile(valuesMs, share))).join(', ');
}

/** How often each is there, the most frequent one first. */
export function counted(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([name, times]) => `${times} ${name}`)
    .join(', ');
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

/** The value below which a share of the values lies; 0 for none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
