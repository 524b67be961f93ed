/**
 * One program of the rigs, and a fault at each system call that it makes on its directory: the
 * first, second, third ... time that it makes it, until a run comes through without meeting it.
 */
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from '@raftseal/rigs/random';
import { readTold } from '../children/told.ts';
import type { Command, RunningProgram, Subject } from '../subjects/subject.ts';
import { type ScenarioResult, Tally } from '../world/report.ts';
import { keptDirectory } from '../world/sandbox.ts';
import { type CallSite, callSites } from './trace.ts';
import { type Fault, isFaultSeen, type TracedEnd, tracedRun } from './traced-run.ts';
import { conductProblems } from './verdict.ts';

export const ERRNOS = ['EIO', 'ENOSPC', 'EROFS', 'EMFILE', 'EDQUOT'] as const;

export interface SyscallRunOptions {
  /** Of the rig; the runs are in it. */
  readonly scratch: string;
  readonly seed: number;
  /** Places of faults that are tried at most, drawn by the seed; undefined: all. */
  readonly pointsMax: number | undefined;
  /** Runs under way at once. */
  readonly jobs: number;
  readonly print: (line: string) => void;
}

type FaultKind = 'kill' | 'error' | 'file-size';

/** A place of faults: the times that a call is made on a path, each with one kind of fault. */
interface Point {
  readonly site: CallSite;
  readonly errno: string | undefined;
}

export class SyscallRun {
  readonly #subject: Subject;
  readonly #options: SyscallRunOptions;
  readonly #folder: string;
  #template: string | undefined;
  readonly #sites = new Map<string | undefined, readonly CallSite[]>();
  #runs = 0;

  constructor(subject: Subject, options: SyscallRunOptions) {
    this.#subject = subject;
    this.#options = options;
    this.#folder = join(options.scratch, subject.name);
  }

  /** Faults of one kind, everywhere. With a plant: until it is caught. */
  async faults(kind: FaultKind, plant?: string): Promise<ScenarioResult> {
    const { name } = this.#subject;
    const label = plant === undefined ? `${name}, ${kind}` : `${name}, ${kind}: ${plant}`;
    const tally = new Tally(label, plant !== undefined);
    const isOver = (): boolean => plant !== undefined && tally.violationCount > 0;
    if (kind === 'file-size') await this.#shorter(tally, plant);
    else {
      const points = await this.#points(kind, plant);
      await this.#inParallel(points, async (point) => {
        if (!isOver()) await this.#untilClean(point, tally, { plant, isOver });
      });
    }
    return tally.result();
  }

  /** Files are held to a length that grows until nothing is refused any more. */
  async #shorter(tally: Tally, plant: string | undefined): Promise<void> {
    for (let kibibytes = 1; ; kibibytes += Math.ceil(kibibytes / 8)) {
      const fault: Fault = { kind: 'file-size', kibibytes };
      if (!(await this.#one(fault, tally, plant))) return;
    }
  }

  async #untilClean(
    { site, errno }: Point,
    tally: Tally,
    { plant, isOver }: { plant: string | undefined; isOver: () => boolean },
  ): Promise<void> {
    for (let time = 1; !isOver(); time++) {
      const at = { site, time };
      const fault: Fault =
        errno === undefined ? { kind: 'kill', ...at } : { kind: 'error', errno, ...at };
      const isMet = await this.#one(fault, tally, plant);
      if (isMet) continue;
      // A program of several threads may come by less often than it once did.
      if (time > site.times) return;
      tally.void();
    }
  }

  /** @returns whether the fault happened; what came of it is in the tally then */
  async #one(fault: Fault, tally: Tally, plant: string | undefined): Promise<boolean> {
    const folder = join(this.#folder, `run-${++this.#runs}`);
    const directory = join(folder, 'data');
    mkdirSync(folder, { recursive: true });
    const template = await this.#prepared();
    if (existsSync(template)) cpSync(template, directory, { recursive: true });
    const { end, told } = await this.#runIn(directory, folder, fault, plant);
    if (!isFaultSeen(fault, end)) {
      rmSync(folder, { recursive: true, force: true });
      return false;
    }
    const violations = conductProblems(this.#subject, fault, end, told);
    violations.push(...(await this.#subject.problems(directory, told)));
    const where = describe(fault);
    if (violations.length > 0 && plant === undefined) {
      const kept = keptDirectory();
      cpSync(folder, kept, { recursive: true });
      writeFileSync(join(kept, 'violations'), [where, ...violations, ''].join('\n'));
      violations.push(`kept in ${kept}`);
      this.#options.print(`VIOLATION ${this.#subject.name}: ${where}: ${violations.join('; ')}`);
    }
    const text = violations.length > 0 ? [`${where}: ${violations.join('; ')}`] : [];
    tally.run(fault.kind === 'error' ? fault.errno : fault.kind, text);
    rmSync(folder, { recursive: true, force: true });
    return true;
  }

  async #runIn(
    directory: string,
    folder: string,
    fault: Fault,
    plant?: string,
  ): Promise<{ readonly end: TracedEnd; readonly told: ReturnType<typeof readTold> }> {
    const command: Command = this.#subject.command(directory, plant);
    const driver = this.#subject.driver?.(plant);
    const drive = driver && { drive: (process: RunningProgram) => driver.drive(process) };
    const end = await tracedRun({ command, fault, directory, folder, ...drive });
    return { end, told: driver ? driver.told(end) : readTold(end.output) };
  }

  async #prepared(): Promise<string> {
    if (this.#template === undefined) {
      this.#template = join(this.#folder, 'template');
      mkdirSync(this.#folder, { recursive: true });
      await this.#subject.prepare(this.#template);
    }
    return this.#template;
  }

  async #points(kind: 'kill' | 'error', plant?: string): Promise<readonly Point[]> {
    const sites = this.#sites.get(plant) ?? (await this.#record(plant));
    this.#sites.set(plant, sites);
    const errnos = kind === 'kill' ? [undefined] : ERRNOS;
    const all = sites.flatMap((site) => errnos.map((errno): Point => ({ site, errno })));
    const { seed, pointsMax } = this.#options;
    const drawn = new Random(seed, `${this.#subject.name} ${kind}`).shuffled(all);
    return drawn.slice(0, pointsMax ?? drawn.length);
  }

  /** A run without a fault, for what it calls. */
  async #record(plant?: string): Promise<readonly CallSite[]> {
    const folder = join(this.#folder, `record-${plant ?? 'plain'}`);
    const directory = join(folder, 'data');
    mkdirSync(folder, { recursive: true });
    const template = await this.#prepared();
    if (existsSync(template)) cpSync(template, directory, { recursive: true });
    const { end, told } = await this.#runIn(directory, folder, { kind: 'none' }, plant);
    const problems = plant === undefined ? await this.#subject.problems(directory, told) : [];
    if (!told.isDone || problems.length > 0) {
      const what = [...problems, end.output, end.errors].join('\n');
      throw new Error(`${this.#subject.name} does not come through without a fault: ${what}`);
    }
    return callSites(end.trace, directory);
  }

  async #inParallel<Item>(
    items: readonly Item[],
    act: (item: Item) => Promise<void>,
  ): Promise<void> {
    const rest = items.values();
    const worker = async (): Promise<void> => {
      for (const item of rest) await act(item);
    };
    await Promise.all(Array.from({ length: this.#options.jobs }, worker));
  }
}

function describe(fault: Fault): string {
  switch (fault.kind) {
    case 'none':
      return 'nothing';
    case 'file-size':
      return `files of at most ${fault.kibibytes} KiB`;
    case 'kill':
    case 'error': {
      const { call, path } = fault.site;
      const what = fault.kind === 'kill' ? 'SIGKILL' : fault.errno;
      return `${what} at ${call} ${fault.time} of .${path}`;
    }
  }
}
