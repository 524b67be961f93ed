/** What one run of the rig of keys says of itself, and what many add up to. */
import {
  counted,
  describeFrame,
  evidenceRows,
  type RunFrame,
  seconds,
  spread,
  table,
  total,
  trafficRows,
} from '../run/run-frame.ts';
import type { Attempt } from './attempts.ts';
import type { StepRecord } from './operator.ts';
import type { BurstRecord } from './vault-nemesis.ts';

export interface KeyRunResult extends RunFrame {
  readonly steps: readonly StepRecord[];
  readonly attempts: readonly Attempt[];
  readonly rowsRewritten: number;
  readonly retired: readonly number[];
  /** How often a node refused to start because the key service was away. */
  readonly startsRefused: number;
  readonly bursts: readonly BurstRecord[];
  readonly vaultRequests: number;
}

export function describeKeyRun(run: KeyRunResult): string {
  const { attempts, steps, faults, bursts } = run;
  const met = bursts.flatMap((burst) => burst.met);
  return describeFrame(run, [
    `seed ${run.seed}: ${run.verdict}`,
    `${run.operations} operations`,
    `${run.refused} refused, ${run.unknown} unknown`,
    `${steps.length} key operations in ${attempts.length} requests, ${attempts.filter(isNotDone).length} not done`,
    `${run.rowsRewritten} rows rewritten, ${run.retired.length} DEKs retired`,
    counted(faults.map(({ kind }) => kind)),
    `${run.vaultRequests} requests to the Vault, with a fault ${met.length}: ${counted(met) || '-'}`,
    ...(run.startsRefused > 0 ? [`${run.startsRefused} starts refused`] : []),
    `worst resumption ${seconds(Math.max(0, ...run.resumedAfterMs))}`,
    `${run.sealsChecked} seals`,
    seconds(run.seconds * 1000),
  ]);
}

export function summariseKeyRuns(runs: readonly KeyRunResult[]): string {
  const attempts = runs.flatMap((run) => run.attempts);
  const steps = runs.flatMap((run) => run.steps);
  const bursts = runs.flatMap((run) => run.bursts);
  const met = bursts.flatMap((burst) => burst.met);
  const notDone = attempts.filter(isNotDone);
  return table([
    ...trafficRows(runs),
    ['key operations done', counted(steps.map(({ name }) => name))],
    ['requests, of them not done', `${attempts.length}, ${notDone.length}`],
    ['refusals', counted(notDone.map(({ request, outcome }) => `${request}: ${outcome}`))],
    ['time of a key operation, median, p99 and longest', spread(steps.map(timeOf))],
    ['time of a request, median, p99 and longest', spread(attempts.map(timeOf))],
    [
      'rows rewritten, DEKs retired',
      `${total(runs, ({ rowsRewritten }) => rowsRewritten)}, ${total(runs, ({ retired }) => retired.length)}`,
    ],
    ['times at which the Vault failed', counted(bursts.map(({ kind }) => kind))],
    [
      'requests to the Vault, of them with a fault',
      `${total(runs, ({ vaultRequests }) => vaultRequests)}, ${met.length}: ${counted(met) || '-'}`,
    ],
    ['starts refused without the Vault', `${total(runs, ({ startsRefused }) => startsRefused)}`],
    ...evidenceRows(runs),
  ]);
}

function isNotDone({ outcome }: Attempt): boolean {
  return outcome !== 'done';
}

function timeOf({ beganAtMs, endedAtMs }: StepRecord | Attempt): number {
  return endedAtMs - beganAtMs;
}
