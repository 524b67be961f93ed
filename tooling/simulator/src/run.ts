/** One run and what it showed, as data that travels between processes. */
import { createHash } from 'node:crypto';
import { check } from './checks.ts';
import { type PlantName, plantOf } from './plants.ts';
import { type Schedule, scheduleOf, shardIds } from './schedule.ts';
import { World } from './world.ts';

export interface RunReport {
  readonly seed: number;
  /** None where everything held. */
  readonly findings: readonly string[];
  readonly undecided: number;
  /** SHA-256 of every entry of every log: the same for the same run. */
  readonly fingerprint: string;
  readonly counts: Readonly<Record<string, number>>;
  /** By kind. */
  readonly faults: Readonly<Record<string, number>>;
}

/** That a cluster is made with. */
const FIRST_KEYS = 3;

export async function simulate(schedule: Schedule, plant?: PlantName): Promise<RunReport> {
  const world = await World.run(schedule, plantOf(plant));
  const { findings, undecided } = check(world);
  const faults = Object.fromEntries(world.nemesis.faults);
  return {
    seed: schedule.seed,
    findings,
    undecided,
    fingerprint: fingerprintOf(world),
    faults,
    counts: {
      operations: world.clients.operations.length,
      entries: world.entries,
      seals: world.seals.seals,
      rotations: Math.max(0, (world.keyStates[0]?.keys.size ?? 0) - FIRST_KEYS),
      'snapshots installed': world.snapshots,
      starts: world.starts,
      'starts refused': world.refusedStarts,
      steps: world.clock.steps,
      'virtual ms': Math.round(world.clock.nowMs),
    },
  };
}

function fingerprintOf(world: World): string {
  const hash = createHash('sha256');
  for (const { payload } of shardIds.flatMap((shardId) => world.log(shardId))) hash.update(payload);
  return hash.digest('hex');
}

export function simulateSeed(seed: number, plant?: PlantName): Promise<RunReport> {
  return simulate(scheduleOf(seed), plant);
}

/** What a finding is against, such as `invariant 1`. */
export function kindOf(finding: string): string {
  return finding.split(':', 1)[0] ?? finding;
}
