/** What one run of the rig of clusters says of itself, and what many add up to. */
import {
  describeFrame,
  evidenceRows,
  type RunFrame,
  seconds,
  spread,
  table,
  trafficRows,
} from './run-frame.ts';

export interface RunResult extends RunFrame {
  readonly operationsPerSecondBefore: number;
  /** From the first call for the cutover until every shard was cut over on every node. */
  readonly cutoverMs: number | null;
  /** Why the cutover was not begun at once, with the time since the first call for it. */
  readonly enableRefusals: readonly string[];
  /** The longest time without an acknowledged write, for each fault and shard. */
  readonly stallsMs: readonly number[];
}

export function describeRun(run: RunResult): string {
  const faults = run.faults.map(
    ({ kind, target, beganAtMs, endedAtMs }) =>
      `${kind} ${target} ${seconds(endedAtMs - beganAtMs)}`,
  );
  return describeFrame(run, [
    `seed ${run.seed}: ${run.verdict}`,
    `${run.operations} operations (${run.operationsPerSecondBefore.toFixed(0)}/s before the first fault)`,
    `${run.refused} refused, ${run.unknown} unknown`,
    `cutover ${run.cutoverMs === null ? 'not reached' : seconds(run.cutoverMs)}`,
    `worst resumption ${seconds(Math.max(0, ...run.resumedAfterMs))}`,
    `${run.logEntries} entries, ${run.sealsChecked} seals`,
    faults.join(', '),
    seconds(run.seconds * 1000),
  ]);
}

export function summarise(runs: readonly RunResult[]): string {
  const cutovers = runs.flatMap(({ cutoverMs }) => (cutoverMs === null ? [] : [cutoverMs]));
  return table([
    ...trafficRows(runs),
    ['cutover, median, p99 and longest', spread(cutovers)],
    [
      'longest time without a write per fault and shard, median, p99 and longest',
      spread(runs.flatMap(({ stallsMs }) => stallsMs)),
    ],
    ...evidenceRows(runs),
  ]);
}
