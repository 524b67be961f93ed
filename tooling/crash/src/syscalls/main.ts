/**
 * `npm run rig:syscalls -- [--seed N] [--only NAME,...] [--points N] [--jobs N]`: kills programs,
 * and refuses them with an error, at every system call that they make on their directory.
 *
 * `--points` tries so many places for each program and kind of fault, drawn by the seed. Exits with
 * 1 for a violation, for a planted bug that was not caught, and where no fault happened.
 */
import { parseArgs } from 'node:util';
import { subjectNames, subjectOf } from '../subjects/all-subjects.ts';
import { oneOf, print, wholeNumber } from '../world/command-line.ts';
import { isRight, printTable, type ScenarioResult } from '../world/report.ts';
import { requirePrograms } from '../world/required-programs.ts';
import { enterSandbox } from '../world/sandbox.ts';
import { SyscallRun } from './syscall-run.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: subjectNames.join() },
    points: { type: 'string' },
    jobs: { type: 'string', default: '2' },
  },
});

async function main(): Promise<boolean> {
  const names = values.only.split(',').map((name) => oneOf('only', subjectNames, name));
  const settings = {
    seed: wholeNumber('seed', values.seed),
    pointsMax: values.points === undefined ? undefined : wholeNumber('points', values.points),
    jobs: wholeNumber('jobs', values.jobs),
    print,
  };
  requirePrograms(['strace', 'bash']);
  const scratch = await enterSandbox();
  const results: ScenarioResult[] = [];
  for (const name of names) {
    const subject = subjectOf(name, scratch);
    const run = new SyscallRun(subject, { ...settings, scratch });
    const add = (result: ScenarioResult): void => {
      results.push(result);
      print(`${result.scenario}: ${result.runs} runs in ${result.seconds.toFixed(1)} s`);
    };
    add(await run.faults('kill'));
    add(await run.faults('error'));
    add(await run.faults('file-size'));
    for (const [plant, kind] of Object.entries(subject.plants)) add(await run.faults(kind, plant));
  }
  printTable(results, print);
  return results.every(isRight);
}

process.exitCode = (await main()) ? 0 : 1;
