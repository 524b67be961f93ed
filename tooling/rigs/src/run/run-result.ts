/** What one run says of itself. */
import type { FaultRecord } from '../nemesis/nemesis.ts';

export interface RunResult {
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
  readonly operationsPerSecondBefore: number;
  /** From the first call for the cutover until every shard was cut over on every node. */
  readonly cutoverMs: number | null;
  /** Why the cutover was not begun at once, with the time since the first call for it. */
  readonly enableRefusals: readonly string[];
  /** How long each part of the run took. */
  readonly phasesMs: Readonly<Record<string, number>>;
  readonly faults: readonly FaultRecord[];
  /** From the end of each fault, for each shard, until a write was acknowledged. */
  readonly resumedAfterMs: readonly number[];
  /** The longest time without an acknowledged write, for each fault and shard. */
  readonly stallsMs: readonly number[];
  readonly logEntries: number;
  readonly sealsChecked: number;
}

const PROBLEMS_SHOWN = 15;

/** One line for people, and one for each problem. */
export function describeRun(run: RunResult): string {
  const faults = run.faults
    .map(({ kind, target, beganAtMs, endedAtMs }) => {
      const seconds = ((endedAtMs - beganAtMs) / 1000).toFixed(1);
      return `${kind} ${target} ${seconds} s`;
    })
    .join(', ');
  const words = [
    `seed ${run.seed}: ${run.verdict}`,
    `${run.operations} operations (${run.operationsPerSecondBefore.toFixed(0)}/s before the first fault)`,
    `${run.refused} refused, ${run.unknown} unknown`,
    `cutover ${run.cutoverMs === null ? 'not reached' : seconds(run.cutoverMs)}`,
    `worst resumption ${seconds(Math.max(0, ...run.resumedAfterMs))}`,
    `${run.logEntries} entries, ${run.sealsChecked} seals`,
    faults,
    `${run.seconds.toFixed(1)} s`,
  ];
  const shown = run.problems.slice(0, PROBLEMS_SHOWN).map((problem) => `  ${problem}`);
  const hidden = run.problems.length - shown.length;
  if (hidden > 0) shown.push(`  and ${hidden} more, in result.json`);
  return [words.join(' | '), ...shown].join('\n');
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
