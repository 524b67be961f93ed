/**
 * Cuts a schedule that fails down to what it takes: actions, and clients, are left out as long as
 * the run still shows a finding of the same kind. Bounded, so the result may not be the least one.
 */

import type { PlantName } from './plants.ts';
import { kindOf, simulate } from './run.ts';
import type { Action, Schedule } from './schedule.ts';

export interface Shrunk {
  readonly schedule: Schedule;
  readonly finding: string;
  readonly runs: number;
}

const RUNS_MAX = 150;

export async function shrink(
  failing: Schedule,
  finding: string,
  plant?: PlantName,
): Promise<Shrunk> {
  let best: Shrunk = { schedule: failing, finding, runs: 0 };
  let runs = 0;
  const attempt = async (schedule: Schedule): Promise<boolean> => {
    runs++;
    const { findings } = await simulate(schedule, plant);
    const same = findings.find((found) => kindOf(found) === kindOf(finding));
    if (same !== undefined) best = { schedule, finding: same, runs };
    return same !== undefined;
  };
  const { length } = failing.actions;
  for (let size = Math.ceil(length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.schedule.actions.length && runs < RUNS_MAX; ) {
      const { actions } = best.schedule;
      if (!(await attempt({ ...best.schedule, actions: without(actions, at, size) }))) at += size;
    }
  }
  for (let clients = 1; clients < best.schedule.clients && runs < RUNS_MAX; clients++) {
    if (await attempt({ ...best.schedule, clients })) break;
  }
  return { ...best, runs };
}

/** The time that was to pass before what is left out passes before what follows it. */
function without(actions: readonly Action[], at: number, size: number): readonly Action[] {
  const gone = actions.slice(at, at + size);
  const [next, ...rest] = actions.slice(at + size);
  const lostMs = gone.reduce((sum, { afterMs }) => sum + afterMs, 0);
  const delayed = next ? [{ ...next, afterMs: next.afterMs + lostMs }] : [];
  return [...actions.slice(0, at), ...delayed, ...rest];
}
