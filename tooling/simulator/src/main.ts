/**
 * `npm run simulate -- [--seeds N] [--seed S] [--plant NAME] [--minutes M] [--workers K]`: runs
 * seeds from S on, and prints what happened in them. With `--seed` alone that one seed is run, again
 * exactly as it was. `--plant all` plants each fault of wiring, one after the other.
 *
 * Exits with 1 where a run shows something; with `--plant`, where none does.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { runFleet } from './fleet.ts';
import { type PlantName, plantNames } from './plants.ts';
import { scheduleOf } from './schedule.ts';
import { shrink } from './shrink.ts';
import { faultCount, type Totals } from './totals.ts';

const PLANTED_SEEDS = 2_000;
const PROGRESS_MS = 30_000;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    seed: { type: 'string' },
    plant: { type: 'string' },
    minutes: { type: 'string' },
    workers: { type: 'string' },
  },
});

type NumberOption = 'seeds' | 'seed' | 'minutes' | 'workers';

function numberOf(name: NumberOption): number | undefined {
  if (values[name] === undefined) return undefined;
  const value = Number(values[name]);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new RangeError(`--${name}: expected a whole number from 1 on`);
}

function plantsOf(name: string | undefined): readonly (PlantName | undefined)[] {
  if (name === undefined) return [undefined];
  if (name === 'all') return plantNames;
  const plant = plantNames.find((known) => known === name);
  if (plant !== undefined) return [plant];
  throw new RangeError(`--plant ${name}: expected all, or one of ${plantNames.join(', ')}`);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function printTable(totals: Totals, seconds: number): void {
  const faults = faultCount(totals);
  const rows: (readonly [string, number | string])[] = [
    ['seeds', totals.seeds],
    ['violations', totals.violations.length],
    ['histories undecided', totals.undecided],
    ...Object.entries(totals.counts),
    ['faults', faults],
    ...Object.entries(totals.faults)
      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(([kind, count]): [string, number] => [`  ${kind}`, count]),
    ['seconds', seconds.toFixed(1)],
    ['seeds/s', (totals.seeds / seconds).toFixed(1)],
    ['faults/s', (faults / seconds).toFixed(0)],
  ];
  for (const [name, value] of rows) print(`${name.padEnd(24)}${String(value).padStart(12)}`);
}

async function printViolations(totals: Totals, plant: PlantName | undefined): Promise<void> {
  const [first] = totals.violations.toSorted((a, b) => a.seed - b.seed);
  if (first === undefined) return;
  const planted = plant === undefined ? '' : ` --plant ${plant}`;
  print(`\nseed ${first.seed} (npm run simulate -- --seed ${first.seed}${planted}):`);
  for (const finding of first.findings.slice(0, 5)) print(`  ${finding}`);
  if (plant !== undefined) return;
  const [finding = ''] = first.findings;
  const shrunk = await shrink(scheduleOf(first.seed), finding);
  const { actions, ...rest } = shrunk.schedule;
  print(`\nshortest schedule found in ${shrunk.runs} runs, ${JSON.stringify(rest)}:`);
  for (const action of actions) print(`  ${JSON.stringify(action)}`);
  print(`  ${shrunk.finding}`);
}

/** @returns whether it went as it has to */
async function series(plant: PlantName | undefined): Promise<boolean> {
  const seed = numberOf('seed');
  const minutes = numberOf('minutes');
  const isReplay = seed !== undefined && values.seeds === undefined && minutes === undefined;
  const unbounded = minutes === undefined ? 200 : Number.MAX_SAFE_INTEGER - (seed ?? 1);
  const seeds = numberOf('seeds') ?? (isReplay ? 1 : plant ? PLANTED_SEEDS : unbounded);
  const startedMs = performance.now();
  let reportedMs = startedMs;
  const totals = await runFleet({
    firstSeed: seed ?? 1,
    seeds,
    workers: Math.min(numberOf('workers') ?? availableParallelism(), seeds),
    ...(plant && { plant }),
    ...(minutes && { untilMs: startedMs + minutes * 60_000 }),
    onProgress: (soFar) => {
      if (performance.now() - reportedMs < PROGRESS_MS) return;
      reportedMs = performance.now();
      print(`${soFar.seeds} seeds, ${faultCount(soFar)} faults`);
    },
  });
  const seconds = (performance.now() - startedMs) / 1000;
  const isFound = totals.violations.length > 0;
  if (plant === undefined) printTable(totals, seconds);
  else {
    const verdict = isFound ? `caught after ${totals.seeds} seeds` : 'NOT CAUGHT';
    print(`${plant}: ${verdict}, ${seconds.toFixed(1)} s`);
  }
  await printViolations(totals, plant);
  return isFound === (plant !== undefined);
}

let isRight = true;
for (const plant of plantsOf(values.plant)) isRight = (await series(plant)) && isRight;
process.exitCode = isRight ? 0 : 1;
