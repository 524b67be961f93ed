/**
 * `npm run rig:cluster -- [--runs N] [--seed N] [--hosts namespaces|loopback] [--plant NAME]`: real
 * clusters under faults, one after the other. Each run has a seed of its own, from `--seed` on.
 */
import { parseArgs } from 'node:util';
import { isolatedRun } from './run/isolated-run.ts';
import { clusterPlants } from './run/plants.ts';
import { describeRun, type RunResult, summarise } from './run/run-result.ts';
import { runSeries } from './run/series.ts';
import { requirePrograms } from './world/programs.ts';

/** Several times what a run takes: only a hang is ended. */
const TIMEOUT_MS = 180_000;

const { values } = parseArgs({
  options: {
    runs: { type: 'string' },
    seed: { type: 'string', default: '1' },
    hosts: { type: 'string', default: process.getuid?.() === 0 ? 'namespaces' : 'loopback' },
    plant: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});
const { hosts, runs, plant } = values;
if (hosts !== 'namespaces' && hosts !== 'loopback') {
  throw new RangeError('--hosts: expected namespaces or loopback');
}
requirePrograms(hosts);

await runSeries<RunResult>(
  {
    plants: clusterPlants,
    run: (place) =>
      isolatedRun<RunResult>({
        program: new URL('./run/run-process.js', import.meta.url),
        options: { ...place, hosts },
        isInSandbox: hosts === 'namespaces',
        timeoutMs: TIMEOUT_MS,
      }),
    describe: describeRun,
    summarise,
    again: (seed) => `npm run rig:cluster -- --seed ${seed} --hosts ${hosts}`,
  },
  { ...values, runs, plant },
);
