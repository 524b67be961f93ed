/** What one run of the rig of keys says of itself, and what many add up to. */
import type { FaultRecord } from '../nemesis/nemesis.ts';
import { quantile } from '../run/summary.ts';
import type { Attempt } from './attempts.ts';
import type { StepRecord } from './operator.ts';
import type { BurstRecord } from './vault-nemesis.ts';

export interface KeyRunResult {
  readonly seed: number;
  readonly verdict: 'ok' | 'failed' | 'void';
  readonly problems: readonly string[];
  readonly seconds: number;
  readonly operations: number;
  readonly refused: number;
  readonly unknown: number;
  /** Why operations were refused or their outcome is unknown. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly steps: readonly StepRecord[];
  readonly attempts: readonly Attempt[];
  readonly rowsRewritten: number;
  readonly retired: readonly number[];
  /** How often a node refused to start because the key service was away. */
  readonly startsRefused: number;
  readonly faults: readonly FaultRecord[];
  readonly bursts: readonly BurstRecord[];
  /** From the end of each fault, for each shard, until a write was acknowledged. */
  readonly resumedAfterMs: readonly number[];
  readonly logEntries: number;
  readonly sealsChecked: number;
  readonly phasesMs: Readonly<Record<string, number>>;
}

const PROBLEMS_SHOWN = 15;

/** One line for people, and one for each problem. */
export function describeKeyRun(run: KeyRunResult): string {
  const { attempts, steps, faults, bursts } = run;
  const isNotDone = ({ outcome }: Attempt): boolean => outcome !== 'done';
  const words = [
    `seed ${run.seed}: ${run.verdict}`,
    `${run.operations} operations`,
    `${run.refused} refused, ${run.unknown} unknown`,
    `${steps.length} key operations in ${attempts.length} requests, ${attempts.filter(isNotDone).length} not done`,
    `${run.rowsRewritten} rows rewritten, ${run.retired.length} DEKs retired`,
    counted(faults.map(({ kind }) => kind)),
    ...(bursts.length > 0 ? [`Vault ${counted(bursts.map(({ kind }) => kind))}`] : []),
    ...(run.startsRefused > 0 ? [`${run.startsRefused} starts refused`] : []),
    `worst resumption ${(Math.max(0, ...run.resumedAfterMs) / 1000).toFixed(1)} s`,
    `${run.sealsChecked} seals`,
    `${run.seconds.toFixed(1)} s`,
  ];
  const shown = run.problems.slice(0, PROBLEMS_SHOWN).map((problem) => `  ${problem}`);
  const hidden = run.problems.length - shown.length;
  if (hidden > 0) shown.push(`  and ${hidden} more, in result.json`);
  return [words.join(' | '), ...shown].join('\n');
}

export function summariseKeyRuns(runs: readonly KeyRunResult[]): string {
  const count = (verdict: KeyRunResult['verdict']): number =>
    runs.filter((run) => run.verdict === verdict).length;
  const total = (of: (run: KeyRunResult) => number): number =>
    runs.reduce((sum, run) => sum + of(run), 0);
  const attempts = runs.flatMap((run) => run.attempts);
  const steps = runs.flatMap((run) => run.steps);
  const bursts = runs.flatMap((run) => run.bursts);
  const notDone = attempts.filter(({ outcome }) => outcome !== 'done');
  const byRequest = notDone.map(({ request, outcome }) => `${request}: ${outcome}`);
  const stepMs = steps.map(({ beganAtMs, endedAtMs }) => endedAtMs - beganAtMs);
  const rows: readonly (readonly [string, string])[] = [
    ['runs', `${runs.length}: ${count('ok')} ok, ${count('failed')} failed, ${count('void')} void`],
    ['operations of clients', `${total(({ operations }) => operations)}`],
    ['refused, unknown', `${total((run) => run.refused)}, ${total((run) => run.unknown)}`],
    ['key operations done', counted(steps.map(({ name }) => name))],
    ['requests, of them not done', `${attempts.length}, ${notDone.length}`],
    ['refusals', counted(byRequest)],
    ['time of a key operation, median, p99 and longest', spread(stepMs)],
    [
      'rows rewritten, DEKs retired',
      `${total((run) => run.rowsRewritten)}, ${total((run) => run.retired.length)}`,
    ],
    ['faults', counted(runs.flatMap(({ faults }) => faults.map(({ kind }) => kind)))],
    ['faults of the Vault', counted(bursts.map(({ kind }) => kind))],
    ['requests to the faulty Vault', `${bursts.reduce((sum, burst) => sum + burst.requests, 0)}`],
    ['starts refused without the Vault', `${total((run) => run.startsRefused)}`],
    [
      'writes resumed after a fault, median, p99 and longest',
      spread(runs.flatMap(({ resumedAfterMs }) => resumedAfterMs)),
    ],
    [
      'log entries, seals checked',
      `${total((run) => run.logEntries)}, ${total((run) => run.sealsChecked)}`,
    ],
    ['duration of a run, median, p99 and longest', spread(runs.map((run) => run.seconds * 1000))],
  ];
  return ['| what | found |', '| --- | --- |', ...rows.map(([a, b]) => `| ${a} | ${b} |`)].join(
    '\n',
  );
}

function spread(valuesMs: readonly number[]): string {
  const found = [0.5, 0.99, 1].map((share) => quantile(valuesMs, share));
  return found.map((ms) => `${(ms / 1000).toFixed(2)} s`).join(', ');
}

/** How often each is there, the most frequent one first. */
function counted(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([name, times]) => `${times} ${name}`)
    .join(', ');
}
