/**
 * `npm run rig:disks -- [--seed N] [--rounds N]`: a node that is alone and under load, on a disk that
 * fills up, and on one that becomes read-only.
 *
 * Exits with 1 for a violation, for a planted bug that was not caught, and where nothing was refused.
 */
import { parseArgs } from 'node:util';
import { print, wholeNumber } from '../world/command-line.ts';
import { isRight, printTable, type ScenarioResult } from '../world/report.ts';
import { requirePrograms } from '../world/required-programs.ts';
import { enterSandbox } from '../world/sandbox.ts';
import { diskFaults } from './disk-faults.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '10' },
  },
});

async function main(): Promise<boolean> {
  const seed = wholeNumber('seed', values.seed);
  const rounds = wholeNumber('rounds', values.rounds);
  requirePrograms(['mount', 'umount', 'mkfs.ext4']);
  const scratch = await enterSandbox();
  const results: ScenarioResult[] = [];
  for (const fault of ['full', 'read-only'] as const) {
    for (const isEarly of [false, true]) {
      const result = await diskFaults({ fault, scratch, rounds, seed, isEarly });
      print(`${result.scenario}: ${result.runs} runs in ${result.seconds.toFixed(1)} s`);
      results.push(result);
    }
  }
  printTable(results, print);
  return results.every(isRight);
}

process.exitCode = (await main()) ? 0 : 1;
