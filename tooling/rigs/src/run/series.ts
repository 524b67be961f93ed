/**
 * Runs one after the other, each with a seed of its own. What a failed run leaves is kept, and how to
 * repeat it is said. The exit code is 1 where a run failed or none was valid; with a planted fault,
 * where it was not caught.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { copyProgram, type Plants } from './plants.ts';
import type { RunFrame } from './run-frame.ts';

/** A planted fault shows only where a fault of the world meets it. */
const PLANTED_RUNS_MAX = 20;

/** As they are on the command line. */
export interface SeriesOptions {
  readonly runs: string | undefined;
  readonly seed: string;
  readonly plant: string | undefined;
  /** Whether to keep what every run leaves. */
  readonly keep: boolean;
}

/** Where a run takes place. */
export interface RunPlace {
  readonly seed: number;
  /** Everything of the run is kept in it. */
  readonly directory: string;
  /** The built `main.js` of the node. */
  readonly program: string;
}

export interface Rig<Result> {
  readonly plants: Plants;
  run(place: RunPlace): Promise<Result>;
  describe(result: Result): string;
  summarise(results: readonly Result[]): string;
  /** The command that repeats a run, without its fault. */
  again(seed: number): string;
}

export async function runSeries<Result extends RunFrame>(
  rig: Rig<Result>,
  options: SeriesOptions,
): Promise<void> {
  const { plant, keep } = options;
  const runs = Number(options.runs ?? (plant === undefined ? 1 : PLANTED_RUNS_MAX));
  const firstSeed = Number(options.seed);
  if (!Number.isSafeInteger(runs) || runs < 1 || !Number.isSafeInteger(firstSeed)) {
    throw new RangeError('--runs and --seed: expected whole numbers');
  }
  endOnSignals();
  const kept = mkdtempSync(join(tmpdir(), 'raftseal-rig-'));
  const program = copyProgram(join(kept, 'program'), rig.plants, plant);
  const results: Result[] = [];
  for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
    const directory = join(kept, `seed-${seed}`);
    const result = await rig.run({ seed, directory, program });
    results.push(result);
    print(rig.describe(result));
    if (result.verdict !== 'failed') {
      if (!keep) rmSync(directory, { recursive: true, force: true });
      continue;
    }
    const planted = plant === undefined ? '' : ` --plant ${plant}`;
    print(`  kept in ${directory}; again: ${rig.again(seed)}${planted}`);
    if (plant !== undefined) break;
  }
  print(`\n${rig.summarise(results)}`);
  const isFailed = results.some(({ verdict }) => verdict === 'failed');
  const isProven = results.some(({ verdict }) => verdict === 'ok');
  if (plant !== undefined) {
    print(`\n${plant}: ${isFailed ? 'caught' : 'NOT CAUGHT'}`);
    process.exitCode = isFailed ? 0 : 1;
  } else process.exitCode = isFailed || !isProven ? 1 : 0;
  if (!isFailed && !keep) rmSync(kept, { recursive: true, force: true });
}

function endOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      print(`ended by ${signal}`);
      process.exit(1);
    });
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
