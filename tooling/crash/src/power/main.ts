/**
 * `npm run rig:power -- [--seed N] [--cuts N] [--node-cuts N] [--fs KIND,...] [--only NAME,...]
 * [--kill]`: cuts the power of the disk of programs and of a node as they acknowledge, on each kind
 * of file system; with `--kill` the processes are killed instead.
 *
 * `--cuts` is for each program and file system. Exits with 1 for a violation, for a planted bug that
 * was not caught, and where no cut happened.
 */
import { parseArgs } from 'node:util';
import { oneOf, print, wholeNumber } from '../world/command-line.ts';
import { isRight, printTable, type ScenarioResult } from '../world/report.ts';
import { type RequiredProgram, requirePrograms } from '../world/required-programs.ts';
import { enterSandbox } from '../world/sandbox.ts';
import { nodeCuts, nodePlants } from './node-cuts.ts';
import { logWriter, programCuts, sidecarWriter } from './program-cuts.ts';
import { programKills } from './program-kills.ts';
import { diskKinds, TestDisk } from './test-disk.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    cuts: { type: 'string', default: '1000' },
    'node-cuts': { type: 'string' },
    fs: { type: 'string', default: diskKinds.join() },
    only: { type: 'string', default: 'sidecar,log,node' },
    kill: { type: 'boolean', default: false },
  },
});

const names = ['sidecar', 'log', 'node'] as const;
const writers = [sidecarWriter, logWriter];
/** A canary that was not caught by then is not going to be. */
const CANARY_CUTS = 60;

async function main(): Promise<boolean> {
  const kinds = values.fs.split(',').map((kind) => oneOf('fs', diskKinds, kind));
  const wanted = new Set(values.only.split(',').map((name) => oneOf('only', names, name)));
  const seed = wholeNumber('seed', values.seed);
  const cuts = wholeNumber('cuts', values.cuts);
  const ofNode = wholeNumber('node-cuts', values['node-cuts'] ?? values.cuts);
  const makers: RequiredProgram[] = kinds.map((kind) =>
    kind === 'xfs' ? 'mkfs.xfs' : 'mkfs.ext4',
  );
  requirePrograms(values.kill ? [] : ['mount', 'umount', ...makers]);
  const scratch = await enterSandbox();
  const results: ScenarioResult[] = [];
  const add = (result: ScenarioResult): void => {
    results.push(result);
    print(`${result.scenario}: ${result.runs} runs in ${result.seconds.toFixed(1)} s`);
  };
  const common = { scratch, seed, print };
  if (values.kill) {
    if (wanted.has('log')) {
      for (const plant of [undefined, 'early']) {
        add(await programKills({ ...common, writer: logWriter, kills: cuts, plant }));
      }
    }
    if (wanted.has('node')) {
      for (const plant of [undefined, 'early']) {
        add(await nodeCuts({ ...common, disk: undefined, cuts: ofNode, plant }));
      }
    }
  } else {
    for (const kind of kinds) {
      const disk = await TestDisk.make(kind, scratch);
      for (const writer of writers.filter(({ name }) => wanted.has(name))) {
        add(await programCuts({ ...common, writer, disk, cuts }));
        for (const plant of writer.plants(kind)) {
          add(await programCuts({ ...common, writer, disk, cuts: CANARY_CUTS, plant }));
        }
      }
      for (const plant of wanted.has('node') ? [undefined, ...nodePlants] : []) {
        await disk.reformat();
        const count = plant === undefined ? ofNode : CANARY_CUTS;
        add(await nodeCuts({ ...common, disk, cuts: count, plant }));
      }
      await disk.remove();
    }
  }
  printTable(results, print);
  return results.every(isRight);
}

process.exitCode = (await main()) ? 0 : 1;
