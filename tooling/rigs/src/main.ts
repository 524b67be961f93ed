/**
 * `npm run rig:cluster -- [--runs N] [--seed N] [--hosts namespaces|loopback] [--plant NAME]`: real
 * clusters under faults, one after the other. Each run has a seed of its own, from `--seed` on.
 *
 * What a failed run leaves is kept, and how to repeat it is said. Exits with 1 where a run failed or
 * none was valid; with `--plant`, where the planted fault was not caught.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isolatedRun } from './run/isolated-run.ts';
import { copyProgram } from './run/plants.ts';
import { describeRun, type RunResult } from './run/run-result.ts';
import { summarise } from './run/summary.ts';
import { requirePrograms } from './world/programs.ts';

/** A planted fault shows only where a fault of the world meets it. */
const PLANTED_RUNS_MAX = 20;

const { values } = parseArgs({
  options: {
    runs: { type: 'string' },
    seed: { type: 'string', default: '1' },
    hosts: { type: 'string', default: process.getuid?.() === 0 ? 'namespaces' : 'loopback' },
    plant: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});
const runs = Number(values.runs ?? (values.plant === undefined ? 1 : PLANTED_RUNS_MAX));
const firstSeed = Number(values.seed);
const { hosts, plant } = values;
if (!Number.isSafeInteger(runs) || runs < 1 || !Number.isSafeInteger(firstSeed)) {
  throw new RangeError('--runs and --seed: expected whole numbers');
}
if (hosts !== 'namespaces' && hosts !== 'loopback') {
  throw new RangeError('--hosts: expected namespaces or loopback');
}
requirePrograms(hosts);

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    process.stdout.write(`ended by ${signal}\n`);
    process.exit(1);
  });
}

const kept = mkdtempSync(join(tmpdir(), 'raftseal-rig-'));
const program = copyProgram(join(kept, 'program'), plant);
const results: RunResult[] = [];
for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
  const directory = join(kept, `seed-${seed}`);
  const result = await isolatedRun({ seed, hosts, directory, program });
  results.push(result);
  process.stdout.write(`${describeRun(result)}\n`);
  if (result.verdict !== 'failed') {
    if (!values.keep) rmSync(directory, { recursive: true, force: true });
    continue;
  }
  const planted = plant === undefined ? '' : ` --plant ${plant}`;
  process.stdout.write(
    `  kept in ${directory}; again: npm run rig:cluster -- --seed ${seed} --hosts ${hosts}${planted}\n`,
  );
  if (plant !== undefined) break;
}
process.stdout.write(`\n${summarise(results)}\n`);

const isFailed = results.some(({ verdict }) => verdict === 'failed');
const isProven = results.some(({ verdict }) => verdict === 'ok');
if (plant !== undefined) {
  process.stdout.write(`\n${plant}: ${isFailed ? 'caught' : 'NOT CAUGHT'}\n`);
  process.exitCode = isFailed ? 0 : 1;
} else process.exitCode = isFailed || !isProven ? 1 : 0;
if (!isFailed && !values.keep) rmSync(kept, { recursive: true, force: true });
