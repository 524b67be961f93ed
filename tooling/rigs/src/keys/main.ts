/**
 * `npm run rig:keys -- [--runs N] [--seed N] [--kms] [--plant NAME]`: the life of the keys of real
 * clusters whose leaders are killed and paused, one run after the other. With `--kms` the key service
 * fails too. Each run has a seed of its own, from `--seed` on.
 */
import { parseArgs } from 'node:util';
import { isolatedRun } from '../run/isolated-run.ts';
import { runSeries } from '../run/series.ts';
import { requirePrograms } from '../world/programs.ts';
import { keyPlants } from './key-plants.ts';
import { describeKeyRun, type KeyRunResult, summariseKeyRuns } from './key-result.ts';

/** Several times what a run takes: only a hang is ended. */
const TIMEOUT_MS = 900_000;

const { values } = parseArgs({
  options: {
    runs: { type: 'string' },
    seed: { type: 'string', default: '1' },
    kms: { type: 'boolean', default: false },
    plant: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});
requirePrograms('loopback');
const { kms, runs, plant } = values;

await runSeries<KeyRunResult>(
  {
    plants: keyPlants,
    run: (place) =>
      isolatedRun<KeyRunResult>({
        program: new URL('./run-process.js', import.meta.url),
        options: { ...place, isKmsFaulty: kms },
        isInSandbox: false,
        timeoutMs: TIMEOUT_MS,
      }),
    describe: describeKeyRun,
    summarise: summariseKeyRuns,
    again: (seed) => `npm run rig:keys -- --seed ${seed}${kms ? ' --kms' : ''}`,
  },
  { ...values, runs, plant },
);
