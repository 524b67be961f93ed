/**
 * `npm run rig:nonces -- [--seed N] [--seals N] [--restarts N] [--plant NAME] [--self-test]`: seals
 * by the million over thousands of restarts, failovers, restored disks and copies of nodes, and an
 * audit of every nonce.
 *
 * Exits with 1 where the audit finds anything; with `--plant`, where it finds nothing. `--self-test`
 * plants each fault once, in a short run.
 */
import { parseArgs } from 'node:util';
import { type NonceRunResult, nonceRun } from './nonce-run.ts';
import { type NoncePlant, plantNames } from './plants.ts';

const SELF_TEST = { seals: 20_000, restarts: 60 };

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seals: { type: 'string', default: '10000000' },
    restarts: { type: 'string', default: '10000' },
    plant: { type: 'string' },
    'self-test': { type: 'boolean', default: false },
  },
});

function wholeNumber(name: 'seed' | 'seals' | 'restarts'): number {
  const value = Number(values[name]);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new RangeError(`--${name}: expected a whole number from 1 on`);
}

function plantOf(name: string): NoncePlant {
  const plant = plantNames.find((known) => known === name);
  if (plant !== undefined) return plant;
  throw new RangeError(`--plant ${name}: expected one of ${plantNames.join(', ')}`);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function describe({ faults, appends, refusals, ...run }: NonceRunResult): string {
  const counts = (of: ReadonlyMap<string, number>): string =>
    [...of].map(([name, count]) => `${name} ${count}`).join(', ') || 'none';
  return [
    `${run.seals} seals, ${run.nonces} nonces, ${run.restarts} restarts, ${run.worlds} worlds`,
    `faults: ${counts(faults)}`,
    `control entries: ${counts(appends)}`,
    `refused: ${counts(refusals)}`,
    ...run.findings.map((finding) => `FINDING ${finding}`),
    `${run.findingCount} findings, ${run.seconds.toFixed(1)} s`,
  ].join('\n');
}

/** @returns whether the run went as it has to */
async function runOnce(
  size: { seals: number; restarts: number },
  plant?: NoncePlant,
): Promise<boolean> {
  const onProgress = plant === undefined ? print : undefined;
  const result = await nonceRun({
    seed: wholeNumber('seed'),
    ...size,
    plant,
    ...(onProgress && { onProgress }),
  });
  print(describe(result));
  const isFound = result.findingCount > 0;
  if (plant !== undefined) print(`${plant}: ${isFound ? 'caught' : 'NOT CAUGHT'}\n`);
  return isFound === (plant !== undefined);
}

async function main(): Promise<boolean> {
  if (!values['self-test']) {
    const size = { seals: wholeNumber('seals'), restarts: wholeNumber('restarts') };
    return runOnce(size, values.plant === undefined ? undefined : plantOf(values.plant));
  }
  let isRight = await runOnce(SELF_TEST);
  for (const plant of plantNames) isRight = (await runOnce(SELF_TEST, plant)) && isRight;
  return isRight;
}

process.exitCode = (await main()) ? 0 : 1;
