/**
 * Power cuts of a program of the rigs: it writes until the power of its disk is cut, as an
 * acknowledgement comes or in the middle of anything; the disk is mounted again, and what it holds
 * is compared with what was acknowledged. The same directory goes through many cuts.
 */
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from '@raftseal/rigs/random';
import type { CutPlan } from '../children/cut-plan.ts';
import type { LogProgramOptions } from '../children/log-process.ts';
import type { SidecarProgramOptions } from '../children/sidecar-process.ts';
import type { Told } from '../children/told.ts';
import { LOG_PAYLOAD_BYTES, logProblems } from '../subjects/log-subject.ts';
import { generationIn, sidecarProblems } from '../subjects/sidecar-subject.ts';
import { type Command, childCommand } from '../subjects/subject.ts';
import { type ScenarioResult, Tally } from '../world/report.ts';
import { keptDirectory } from '../world/sandbox.ts';
import type { DiskKind, TestDisk } from './test-disk.ts';
import { Writer } from './writer-pool.ts';

export interface CutWriter {
  readonly name: 'sidecar' | 'log';
  command(directory: string, cut: CutPlan | undefined, plant?: string): Command;
  /** What is there before a program begins, to be handed to `problems`. */
  before(directory: string): Promise<bigint>;
  problems(directory: string, told: Told, before: bigint): Promise<readonly string[]>;
  /** Bugs that show on a kind of disk. */
  plants(kind: DiskKind): readonly string[];
}

/** Of a program, at most: the n-th of them is drawn. */
const ACKNOWLEDGEMENTS = 12;
const MOMENT_MS_MAX = 25;
/** Of the cuts, those that wait for an acknowledgement. */
const AT_ACKNOWLEDGEMENT = 0.75;
/** The directory is begun anew after so many. */
const CUTS_PER_DIRECTORY = 100;

export const sidecarWriter: CutWriter = {
  name: 'sidecar',
  command: (directory, cut, plant) =>
    childCommand<SidecarProgramOptions>('sidecar', {
      directory,
      writes: 1_000_000,
      waits: true,
      plant,
      ...(cut && { cut }),
    }),
  before: generationIn,
  problems: sidecarProblems,
  plants: () => ['no-file-flush', 'no-directory-flush', 'early'],
};

export const logWriter: CutWriter = {
  name: 'log',
  command: (directory, cut, plant) =>
    childCommand<LogProgramOptions>('log', {
      directory,
      appends: 1_000_000,
      waits: true,
      plant,
      truncateEvery: 20,
      payloadBytes: LOG_PAYLOAD_BYTES,
      ...(cut && { cut }),
    }),
  before: async () => 0n,
  problems: (directory, told) => logProblems(directory, told),
  // XFS writes all of its journal with any flush of a file: the name of a segment too.
  plants: (kind) =>
    kind === 'xfs' ? ['unflushed', 'early'] : ['unflushed', 'no-directory-flush', 'early'],
};

export interface ProgramCutsOptions {
  readonly writer: CutWriter;
  readonly disk: TestDisk;
  readonly cuts: number;
  readonly seed: number;
  /** A planted bug: the cuts end when it is caught. */
  readonly plant?: string | undefined;
  readonly print: (line: string) => void;
}

export async function programCuts(options: ProgramCutsOptions): Promise<ScenarioResult> {
  const { writer, disk, cuts, plant, print } = options;
  const label = [`${writer.name} on ${disk.kind}`, plant].filter(Boolean).join(': ');
  const tally = new Tally(label, plant !== undefined);
  const random = new Random(options.seed, label);
  const directory = join(disk.mountPath, writer.name);
  const planOf = (): CutPlan => drawn(random, disk.mountPath);
  const next = (): { plan: CutPlan; writer: Writer } => {
    const plan = planOf();
    return { plan, writer: new Writer(writer.command(directory, plan, plant)) };
  };
  let ready = next();
  for (let cut = 0; cut < cuts && !(plant !== undefined && tally.violationCount > 0); cut++) {
    if (cut % CUTS_PER_DIRECTORY === 0) await renew(disk, directory);
    const { plan, writer: running } = ready;
    const before = await writer.before(directory);
    const ended = running.run();
    // The next one loads its modules while the disk is mounted and looked at.
    ready = next();
    const { told, signal, errors } = await ended;
    if (signal !== 'SIGKILL') {
      tally.void();
      print(`void: ${label}: ${told.failed.join(', ')} ${errors.slice(0, 500)}`);
      continue;
    }
    await disk.unmount();
    await disk.mount();
    const problems = await writer.problems(directory, told, before);
    const fault = plan.afterMs === undefined ? 'at an acknowledgement' : 'at any moment';
    tally.run(fault, await reported(problems, { label, cut, directory, plant, print }));
    if (problems.length > 0) await renew(disk, directory);
  }
  ready.writer.discard();
  rmSync(directory, { recursive: true, force: true });
  return tally.result();
}

async function reported(
  problems: readonly string[],
  at: Pick<ProgramCutsOptions, 'plant' | 'print'> & {
    readonly label: string;
    readonly cut: number;
    readonly directory: string;
  },
): Promise<readonly string[]> {
  if (problems.length === 0) return [];
  const text = `cut ${at.cut}: ${problems.join('; ')}`;
  if (at.plant !== undefined) return [text];
  const kept = keptDirectory();
  cpSync(at.directory, kept, { recursive: true });
  at.print(`VIOLATION ${at.label}: ${text}; kept in ${kept}`);
  return [text];
}

async function renew(disk: TestDisk, directory: string): Promise<void> {
  await disk.reformat();
  mkdirSync(directory, { mode: 0o700 });
}

function drawn(random: Random, mountPath: string): CutPlan {
  return random.chance(AT_ACKNOWLEDGEMENT)
    ? { mountPath, atAcknowledgement: 1 + random.below(ACKNOWLEDGEMENTS) }
    : { mountPath, afterMs: random.below(MOMENT_MS_MAX) };
}
