/**
 * Three nodes that seal without end while everything happens to them that makes nonces repeat where
 * something is missing: restarts, failovers with a deposed leader that goes on, disks put back to an
 * earlier state, copies of a node that run beside it, pauses, appends that are fenced or lost. Every
 * nonce that any process draws goes to the audit, in the log or not.
 */
import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf, RaftsealError } from '@raftseal/interface';
import { kekInMemory } from '@raftseal/kek-memory';
import { KekSet, RecordWriter } from '@raftseal/server/nonces';
import { Random } from '../random.ts';
import type { NoncePlant } from './plants.ts';
import { SealingProcess } from './sealing-process.ts';
import { type AppendOutcome, SharedLog } from './shared-log.ts';

export interface NonceWorldOptions {
  readonly seed: number;
  /** For the disks of the nodes; empty. */
  readonly directory: string;
  /** At least so many of each. */
  readonly seals: number;
  readonly restarts: number;
  readonly plant: NoncePlant | undefined;
}

/** What the world does to its nodes. */
type Act =
  | 'restart'
  | 'failover'
  | 'old disk'
  | 'old sidecar'
  | 'clone'
  | 'end clone'
  | 'pause'
  | 'deposed leader'
  | 'rotation'
  | 'image';

/** What is counted: not that a disk was copied for later, nor that a copy ended. */
export type NonceFault = Exclude<Act, 'image' | 'end clone'> | 'snapshot';

/** How often each is chosen, of a hundred. */
const weights: readonly (readonly [weight: number, act: Act])[] = [
  [46, 'restart'],
  [9, 'old disk'],
  [2, 'old sidecar'],
  [8, 'clone'],
  [7, 'end clone'],
  [9, 'pause'],
  [8, 'failover'],
  [3, 'deposed leader'],
  [1, 'rotation'],
  [7, 'image'],
];

const nodeIds = ['node-a', 'node-b', 'node-c'] as const;
const IMAGES_MAX = 4;
const PROCESSES_MAX = 6;
/** Of a hundred processes, how many stop for a time between their claim and its registration. */
const UNREGISTERED_PERCENT = 12;
/** Of a hundred turns, in how many a process catches up with a snapshot, or with the log. */
const SNAPSHOT_PERCENT = 6;
const FOLLOW_PERCENT = 50;
const ENROL_PERCENT = 6;
const ATTEMPTS_MAX = 4;
/** Of a hundred steps, how many start a process. */
const STARTING_PERCENT = 60;

export class NonceWorld {
  readonly #options: NonceWorldOptions;
  readonly #random: Random;
  readonly #log: SharedLog;
  readonly #keks: KekSet;
  readonly #processes: SealingProcess[] = [];
  /** Earlier states of a node's disk. */
  readonly #images = new Map<string, string[]>();
  readonly #writers = new Map<string, RecordWriter>();
  /** What each node has sealed, as the audit reads it. */
  readonly records: Map<string, Buffer[]> = new Map();
  readonly faults: Map<NonceFault, number> = new Map();
  readonly appends: ReadonlyMap<AppendOutcome, number>;
  /** Coded refusals, by code. */
  readonly refusals: Map<string, number> = new Map();
  /** What must not happen, whatever the faults. */
  readonly problems: string[] = [];
  #leader: SealingProcess | undefined;
  #directories = 0;
  seals = 0;
  starts = 0;

  constructor(options: NonceWorldOptions) {
    this.#options = options;
    this.#random = new Random(options.seed, 'nonces');
    this.#log = new SharedLog(new Random(options.seed, 'appends'));
    this.appends = this.#log.outcomes;
    this.#keks = KekSet.of(kekInMemory({ kek: randomBytes(32), kekUri: 'memory:rig' }));
    for (const nodeId of nodeIds) {
      this.#images.set(nodeId, []);
      this.#writers.set(nodeId, new RecordWriter({ part: 0, of: 1 }));
      this.records.set(nodeId, []);
    }
  }

  /** The process of each node that is left at the end. */
  get processes(): readonly SealingProcess[] {
    return this.#processes;
  }

  async run(): Promise<void> {
    await this.#begin();
    const { seals, restarts } = this.#options;
    const burst = Math.ceil((seals * STARTING_PERCENT) / 100 / restarts);
    while (this.starts < restarts) {
      this.#sealSome(this.#random.below(2 * burst + 1));
      await this.#step();
    }
    await this.#heal();
    for (let idle = 0; this.seals < seals && idle < 1_000; ) {
      idle = this.#sealSome(burst) === 0 ? idle + 1 : 0;
    }
    for (const [nodeId, writer] of this.#writers) this.records.get(nodeId)?.push(writer.take());
  }

  async end(): Promise<void> {
    for (const process of this.#processes.splice(0)) await process.end();
    await this.#keks.close();
  }

  async #begin(): Promise<void> {
    for (const nodeId of nodeIds) await this.#start(nodeId, this.#newDirectory());
    const leader = await this.#elect();
    for (let attempt = 0; !leader.maySeal('raft'); attempt++) {
      if (attempt === 100)
        throw new Error(
          `the world was not sealed: ${JSON.stringify([...this.refusals, ...this.problems])}`,
        );
      if (leader.term === undefined) await this.#elect(leader);
      await this.#refusable(() => leader.operations.enableEncryption());
      await leader.follow();
    }
    for (const process of this.#processes) await this.#enrol(process);
  }

  async #step(): Promise<void> {
    let drawn = this.#random.below(100);
    const act = weights.find(([weight]) => {
      drawn -= weight;
      return drawn < 0;
    })?.[1];
    if (act === undefined) throw new RangeError('the weights add up to a hundred');
    await this.#act(act);
    for (const process of this.#processes) await this.#goOn(process);
  }

  /** Whoever hears the log learns of what the others have done, sooner or later. */
  async #goOn(process: SealingProcess): Promise<void> {
    const drawn = this.#random.below(100);
    if (drawn < SNAPSHOT_PERCENT) await this.#installSnapshot(process);
    else if (drawn < FOLLOW_PERCENT) await this.#refusable(() => process.follow());
    if (this.#random.below(100) < ENROL_PERCENT) await this.#enrol(process);
  }

  async #installSnapshot(
    process: SealingProcess,
    source: SealingProcess = this.#random.pick(this.#processes),
  ): Promise<void> {
    if (source === process || process.isDeaf) return;
    this.#note('snapshot');
    await this.#refusable(() => process.adoptFrom(source));
  }

  async #act(act: Act): Promise<void> {
    const process = this.#random.pick(this.#processes);
    switch (act) {
      case 'restart':
        return await this.#restart(process);
      case 'old disk':
        return await this.#restoreDisk(process);
      case 'old sidecar':
        return await this.#restoreSidecar(process);
      case 'clone':
        return await this.#clone(process);
      case 'end clone':
        return await this.#endClone();
      case 'pause':
        process.isDeaf = !process.isDeaf;
        if (process.isDeaf) this.#note('pause');
        return undefined;
      case 'failover':
        this.#note('failover');
        await this.#elect();
        return undefined;
      case 'deposed leader':
        return await this.#proposeInVain();
      case 'rotation':
        return await this.#rotate();
      case 'image':
        return this.#keepImage(process);
    }
  }

  async #restart(process: SealingProcess): Promise<void> {
    this.#note('restart');
    await this.#stop(process);
    await this.#startAndEnrol(process.nodeId, process.directory);
  }

  /** The whole disk of a node as it was some time ago. */
  async #restoreDisk(process: SealingProcess): Promise<void> {
    const images = this.#images.get(process.nodeId) ?? [];
    if (images.length === 0) return this.#keepImage(process);
    this.#note('old disk');
    await this.#stop(process);
    const directory = this.#newDirectory();
    cpSync(this.#random.pick(images), directory, { recursive: true });
    rmSync(process.directory, { recursive: true });
    await this.#startAndEnrol(process.nodeId, directory);
  }

  /** The sidecar alone, beside a registry that is newer: a start has to be refused or safe. */
  async #restoreSidecar(process: SealingProcess): Promise<void> {
    const [image] = this.#images.get(process.nodeId) ?? [];
    if (image === undefined) return this.#keepImage(process);
    this.#note('old sidecar');
    await this.#stop(process);
    const mixed = this.#newDirectory();
    cpSync(process.directory, mixed, { recursive: true });
    cpSync(join(image, SIDECAR_NAME), join(mixed, SIDECAR_NAME));
    const isStarted = await this.#startAndEnrol(process.nodeId, mixed);
    rmSync(isStarted ? process.directory : mixed, { recursive: true });
    if (!isStarted) await this.#startAndEnrol(process.nodeId, process.directory);
  }

  /** A second process with the identity of one that runs, on a copy of its disk. */
  async #clone(process: SealingProcess): Promise<void> {
    if (this.#processes.length === PROCESSES_MAX) return this.#endClone();
    this.#note('clone');
    const { nodeId, directory: original } = process;
    const copy = this.#newDirectory();
    if (this.#random.chance(0.5)) {
      cpSync(original, copy, { recursive: true });
      await this.#startAndEnrol(nodeId, copy);
      return;
    }
    // Both start at once, and each claims before it learns of the other.
    await this.#stop(process);
    cpSync(original, copy, { recursive: true });
    const twins: SealingProcess[] = [];
    for (const directory of [original, copy]) {
      const twin = await this.#start(nodeId, directory);
      if (twin === undefined) continue;
      await this.#refusable(() => twin.follow());
      await this.#refusable(() => twin.claim());
      twins.push(twin);
    }
    const [first, second] = this.#random.shuffled(twins);
    if (first === undefined || second === undefined) return;
    if (this.#random.chance(0.4)) await this.#electBoth(first, second);
    await this.#enrol(first);
    if (this.#random.chance(0.4)) await this.#installSnapshot(second, first);
    await this.#enrol(second);
  }

  /** One after the other, before either has sealed anything: the first is fenced, and has sealed. */
  async #electBoth(first: SealingProcess, second: SealingProcess): Promise<void> {
    for (const twin of [first, second]) twin.term = this.#log.elect();
    this.#leader = second;
    for (const twin of [first, second]) await this.#refusable(() => twin.register(twin));
  }

  /** Ends either of two processes of one node, whichever it is. */
  async #endClone(): Promise<void> {
    const twins = this.#processes.filter(({ nodeId }) => this.#processesOf(nodeId).length > 1);
    if (twins.length === 0) return;
    const process = this.#random.pick(twins);
    await this.#stop(process);
    rmSync(process.directory, { recursive: true });
  }

  /** A leader that was deposed, and has not heard of it, seals an entry and has it fenced. */
  async #proposeInVain(): Promise<void> {
    const deposed = this.#processes.find(({ term }) => (term ?? Infinity) < this.#log.term);
    if (deposed === undefined) return;
    this.#note('deposed leader');
    deposed.isDeaf = true;
    await this.#refusable(() => deposed.register(deposed));
    await this.#refusable(() => deposed.operations.rotate('storage'));
  }

  async #rotate(): Promise<void> {
    const leader = await this.#leading();
    this.#note('rotation');
    const purpose = this.#random.chance(0.5) ? 'raft' : 'storage';
    await this.#refusable(() => leader.operations.rotate(purpose));
    for (const process of this.#processes) await this.#enrol(process);
  }

  #keepImage(process: SealingProcess): void {
    const images = this.#images.get(process.nodeId) ?? [];
    const image = this.#newDirectory();
    cpSync(process.directory, image, { recursive: true });
    images.push(image);
    if (images.length <= IMAGES_MAX) return;
    const [gone] = images.splice(this.#random.below(images.length), 1);
    if (gone !== undefined) rmSync(gone, { recursive: true });
  }

  async #heal(): Promise<void> {
    for (const process of this.#processes) process.isDeaf = false;
    while (this.#processes.length > nodeIds.length) await this.#endClone();
    await this.#elect();
    for (const process of this.#processes) await this.#enrol(process);
    for (const process of this.#processes) await this.#refusable(() => process.follow());
  }

  /** @returns false where the start was refused */
  async #startAndEnrol(nodeId: string, directory: string): Promise<boolean> {
    const process = await this.#start(nodeId, directory);
    if (process === undefined) return false;
    await this.#goOn(process);
    if (this.#random.below(100) >= UNREGISTERED_PERCENT) await this.#enrol(process);
    else await this.#refusable(() => process.claim());
    return true;
  }

  async #start(nodeId: string, directory: string): Promise<SealingProcess | undefined> {
    this.starts++;
    const { plant } = this.#options;
    let process: SealingProcess | undefined;
    await this.#refusable(async () => {
      process = await SealingProcess.start({
        nodeId,
        directory,
        log: this.#log,
        keks: this.#keks,
        otherNodes: nodeIds.filter((other) => other !== nodeId),
        plant,
        onSealed: (kind, envelope) => this.#take(nodeId, kind, envelope),
      });
    });
    if (process !== undefined) this.#processes.push(process);
    return process;
  }

  async #stop(process: SealingProcess): Promise<void> {
    this.#processes.splice(this.#processes.indexOf(process), 1);
    if (this.#leader === process) this.#leader = undefined;
    await process.end();
  }

  /** Follows the log and registers, as often as it takes; a process that is cut off does not. */
  async #enrol(process: SealingProcess): Promise<void> {
    const isDone = (): boolean => process.maySeal('raft') && process.maySeal('storage');
    for (let attempt = 0; attempt < ATTEMPTS_MAX && !process.isDeaf; attempt++) {
      const leader = await this.#leading();
      await this.#refusable(() => process.follow());
      if (isDone()) return;
      await this.#refusable(() => process.register(leader));
    }
  }

  async #leading(): Promise<SealingProcess> {
    const known = this.#leader;
    const isLeading = known?.term === this.#log.term && !known.isDeaf;
    const leader = isLeading ? known : await this.#elect();
    // One that may not seal cannot have the others registered.
    if (!leader.maySeal('raft')) {
      await this.#refusable(() => leader.follow());
      await this.#refusable(() => leader.register(leader));
    }
    return leader;
  }

  /** Whoever is elected applies what is in the log before it leads. */
  async #elect(chosen?: SealingProcess): Promise<SealingProcess> {
    const hearing = this.#processes.filter(({ isDeaf }) => !isDeaf);
    const leader = chosen ?? this.#random.pick(hearing.length > 0 ? hearing : this.#processes);
    leader.isDeaf = false;
    leader.term = this.#log.elect();
    this.#leader = leader;
    await this.#refusable(() => leader.follow());
    await this.#refusable(() => leader.register(leader));
    return leader;
  }

  #sealSome(count: number): number {
    const process = this.#random.pick(this.#processes);
    const purpose = this.#random.chance(0.5) ? 'raft' : 'storage';
    if (!process.maySeal(purpose)) return 0;
    const before = this.seals;
    try {
      process.seal(purpose, count);
    } catch (error) {
      this.#refused(error);
    }
    return this.seals - before;
  }

  #take(nodeId: string, kind: 'log' | 'store', envelope: Buffer): void {
    const writer = this.#writers.get(nodeId);
    if (writer === undefined) throw new Error(`${nodeId} is a node`);
    writer.add({ kind, shardId: kind === 'log' ? 0 : 1 }, envelope);
    if (writer.isFull) this.records.get(nodeId)?.push(writer.take());
    this.seals++;
  }

  async #refusable(act: () => Promise<unknown>): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.#refused(error);
    }
  }

  /** What is refused with a code is safe; what halts a node is not expected of these faults. */
  #refused(error: unknown): void {
    const code = codeOf(error);
    if (!(error instanceof RaftsealError)) throw error;
    this.refusals.set(`${code}`, (this.refusals.get(`${code}`) ?? 0) + 1);
    if (error.fatal) this.problems.push(`${code}: ${error.message}`);
  }

  #processesOf(nodeId: string): readonly SealingProcess[] {
    return this.#processes.filter((process) => process.nodeId === nodeId);
  }

  #newDirectory(): string {
    this.#directories++;
    const path = join(this.#options.directory, `disk-${this.#directories}`);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return path;
  }

  #note(fault: NonceFault): void {
    this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1);
  }
}

const SIDECAR_NAME = 'keys.raftseal';
