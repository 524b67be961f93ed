/**
 * What a run gathers from its beginning to its end, whichever rig it is of: history, seals, faults,
 * times and problems; with the steps and checks that the runs of all rigs have in common.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LogRecorder } from '../checks/log-recorder.ts';
import { SealLedger } from '../checks/seal-ledger.ts';
import { Load } from '../history/load.ts';
import { HistoryRecorder } from '../history/recorder.ts';
import { shardOfKey } from '../history/slot.ts';
import { Workload } from '../history/workload.ts';
import type { FaultRecord } from '../nemesis/nemesis.ts';
import { Random } from '../random.ts';
import { World, type WorldOptions } from '../world/world.ts';
import { checkAtRest } from './final-checks.ts';
import { checkHistory } from './history-check.ts';
import { lateResumptions, RESUMED_WITHIN_MS, type Stall, stallsOf } from './resumption.ts';
import type { RunFrame } from './run-frame.ts';
import { isLevel, within } from './settling.ts';

export interface RunRecordOptions {
  readonly seed: number;
  /** Everything of the run is kept in it. */
  readonly directory: string;
  readonly shardCount: number;
}

export interface LoadShape {
  readonly clients: number;
  readonly pauseMs: number;
  readonly directReadEveryMs: number;
}

/** How long clients wait for an answer. */
export const ANSWER_TIMEOUT_MS = 1_500;

const LEASE_TTL_MS = 3_000;
const LEVEL_WITHIN_MS = 20_000;

export class RunRecord {
  readonly recorder: HistoryRecorder = new HistoryRecorder();
  readonly ledger: SealLedger = new SealLedger();
  readonly #options: RunRecordOptions;
  readonly #problems: string[] = [];
  readonly #phases: Record<string, number> = {};
  readonly #beganMs = performance.now();
  #phaseBeganMs = this.#beganMs;
  #faults: readonly FaultRecord[] = [];
  #logEntries = 0;

  constructor(options: RunRecordOptions) {
    this.#options = options;
  }

  /** As they were carried out. */
  get faults(): readonly FaultRecord[] {
    return this.#faults;
  }

  /** Around each fault that is known so far. */
  get stalls(): readonly Stall[] {
    const { history } = this.recorder;
    return stallsOf({ history, faults: this.#faults, shardCount: this.#options.shardCount });
  }

  found(...problems: readonly string[]): void {
    this.#problems.push(...problems);
  }

  noteFaults(faults: readonly FaultRecord[]): void {
    this.#faults = faults;
  }

  /** Notes how long a part of the run took. */
  phase(name: string): void {
    const now = performance.now();
    this.#phases[name] = Math.round(now - this.#phaseBeganMs);
    this.#phaseBeganMs = now;
  }

  /** For what a failure is looked into with. */
  async write(name: string, content: unknown): Promise<void> {
    await writeFile(join(this.#options.directory, name), JSON.stringify(content, null, 1));
  }

  /** A run that ends with an error is one that has failed. */
  async carryOut(act: () => Promise<void>): Promise<void> {
    try {
      await mkdir(this.#options.directory, { recursive: true });
      await act();
    } catch (error) {
      this.found(`the run could not be carried out: ${messageOf(error)}`);
    }
  }

  /** A cluster that is up, and its logs as they are written, for as long as `act` takes. */
  async inCluster(
    options: Omit<WorldOptions, 'directory' | 'shardCount' | 'leaseTtlMs'>,
    act: (world: World, log: LogRecorder) => Promise<void>,
  ): Promise<void> {
    const { directory, shardCount } = this.#options;
    const world = await World.make({
      ...options,
      directory: join(directory, 'world'),
      shardCount,
      leaseTtlMs: LEASE_TTL_MS,
    });
    const log = new LogRecorder({ ...world.etcd, prefix: world.etcdPrefix });
    try {
      this.phase('preparation');
      world.startEtcd();
      log.start();
      world.startNodes();
      await world.ready();
      this.phase('start');
      await act(world, log);
    } finally {
      await log.stop();
      await world.kill();
    }
  }

  /** Clients work while `act` goes on; then everything they wrote is read once more. */
  async underLoad(world: World, shape: LoadShape, act: () => Promise<void>): Promise<void> {
    const load = this.#load(world, shape);
    try {
      await load.start();
      await act();
      await load.stop();
      await load.readAll();
      this.phase('last reads');
    } finally {
      load.close();
    }
    this.checkProcesses(world);
  }

  #load(world: World, shape: LoadShape): Load {
    const { seed, shardCount } = this.#options;
    const random = new Random(seed, 'load');
    const shardOf = (tag: string): number => shardOfKey(`{${tag}}`, shardCount);
    return new Load({
      ...shape,
      nodes: world.endpoints,
      ...(world.password === undefined ? {} : { password: world.password }),
      timeoutMs: ANSWER_TIMEOUT_MS,
      recorder: this.recorder,
      workload: new Workload({ shardCount, shardOf, random }),
      random,
    });
  }

  /** Invariant 11: nothing but the nemesis ends a process. */
  checkProcesses(world: World): void {
    for (const { unexpectedExit } of world.processes) {
      if (unexpectedExit !== undefined) this.found(unexpectedExit);
    }
  }

  /** Invariant 12, fault by fault. */
  checkResumption(isExcused: (fault: FaultRecord) => boolean = () => false): void {
    for (const { shardId, fault } of lateResumptions(this.stalls)) {
      if (isExcused(fault)) continue;
      this.found(
        `invariant 12: no write on shard ${shardId} within ${RESUMED_WITHIN_MS} ms after ` +
          `${fault.kind} of ${fault.target}`,
      );
    }
  }

  /** What must be true of nodes and logs after the last write; nothing is read of the logs after. */
  async checkAtRest(world: World, log: LogRecorder): Promise<void> {
    if (!(await within(LEVEL_WITHIN_MS, () => isLevel(world)))) {
      this.found(`the replicas are not level ${LEVEL_WITHIN_MS} ms after the last write`);
    }
    this.found(...(await checkAtRest({ world, log, ledger: this.ledger })), ...log.problems);
    for (const entries of log.logs.values()) this.#logEntries += entries.length;
    await log.stop();
    this.phase('checks at rest');
    this.checkProcesses(world);
  }

  /** Invariant 8. */
  checkHistory(): void {
    this.found(...checkHistory(this.recorder.history).problems);
  }

  /** @param isVoid whether there was too little traffic */
  frame(isVoid: boolean): RunFrame {
    const { totals } = this.recorder;
    return {
      seed: this.#options.seed,
      verdict: this.#problems.length > 0 ? 'failed' : isVoid ? 'void' : 'ok',
      problems: this.#problems,
      seconds: (performance.now() - this.#beganMs) / 1000,
      operations: totals.done,
      refused: totals.refused,
      unknown: totals.unknown,
      reasons: Object.fromEntries(totals.reasons),
      phasesMs: this.#phases,
      faults: this.#faults,
      resumedAfterMs: this.stalls
        .map(({ resumedAfterMs }) => resumedAfterMs)
        .filter(Number.isFinite),
      logEntries: this.#logEntries,
      sealsChecked: this.ledger.seals,
    };
  }

  async keep(result: RunFrame): Promise<void> {
    const lines = this.recorder.history.map((operation) => JSON.stringify(operation));
    await writeFile(join(this.#options.directory, 'history.jsonl'), `${lines.join('\n')}\n`);
    await this.write('result.json', result);
  }
}

/** With its causes. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${messageOf(error.cause)}`;
}
