/** What many runs showed, added up. */
import type { RunReport } from './run.ts';

export interface Totals {
  readonly seeds: number;
  readonly undecided: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
  /** Runs that showed something, each with its findings. */
  readonly violations: readonly Pick<RunReport, 'seed' | 'findings'>[];
}

export const noRuns: Totals = { seeds: 0, undecided: 0, counts: {}, faults: {}, violations: [] };

export function withRun(totals: Totals, run: RunReport): Totals {
  const { seed, findings, undecided, counts, faults } = run;
  const violations = findings.length > 0 ? [{ seed, findings }] : [];
  return added(totals, { seeds: 1, undecided, counts, faults, violations });
}

export function added(a: Totals, b: Totals): Totals {
  return {
    seeds: a.seeds + b.seeds,
    undecided: a.undecided + b.undecided,
    counts: sums(a.counts, b.counts),
    faults: sums(a.faults, b.faults),
    violations: [...a.violations, ...b.violations],
  };
}

export function faultCount({ faults }: Totals): number {
  return Object.values(faults).reduce((sum, count) => sum + count, 0);
}

function sums(
  a: Readonly<Record<string, number>>,
  b: Readonly<Record<string, number>>,
): Record<string, number> {
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  return Object.fromEntries(names.map((name) => [name, (a[name] ?? 0) + (b[name] ?? 0)]));
}
