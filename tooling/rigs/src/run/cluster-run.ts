/**
 * One run: a cluster starts in the clear, clients load it, encryption is enabled under the load with
 * faults around that moment, more faults follow, everything is healed, and what clients were told is
 * compared with what the logs and disks then show.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LogRecorder } from '../checks/log-recorder.ts';
import { SealLedger } from '../checks/seal-ledger.ts';
import { Load } from '../history/load.ts';
import { HistoryRecorder } from '../history/recorder.ts';
import { shardOfKey } from '../history/slot.ts';
import { Workload } from '../history/workload.ts';
import { planFaults } from '../nemesis/fault.ts';
import { Nemesis } from '../nemesis/nemesis.ts';
import { Random } from '../random.ts';
import { World } from '../world/world.ts';
import { checkAtRest, checkStopped } from './final-checks.ts';
import { checkHistory } from './history-check.ts';
import { lateResumptions, RESUMED_WITHIN_MS, shardsWithoutWrite, stallsOf } from './resumption.ts';
import type { RunResult } from './run-result.ts';
import { isLevel, isSealedEverywhere, within } from './settling.ts';

export interface RunOptions {
  readonly seed: number;
  readonly hosts: 'loopback' | 'namespaces';
  /** Everything of the run is kept in it. */
  readonly directory: string;
  /** The built `main.js` of the node. */
  readonly program: string;
}

const SHARDS = 16;
const LEASE_TTL_MS = 3_000;
const CLIENTS = 20;
const PAUSE_MS = 15;
const DIRECT_READ_EVERY_MS = 40;
const ANSWER_TIMEOUT_MS = 1_500;
const WARM_UP_MS = 1_000;
const MEASURED_MS = 1_500;
const FAULT_WINDOW_MS = 7_000;
const OPERATIONS_PER_SECOND_MIN = 100;
const SEALED_WITHIN_MS = 15_000;
const LEVEL_WITHIN_MS = 15_000;
const ENABLE_TIMEOUT_MS = 5_000;
const ENABLE_PAUSE_MS = 200;

export async function clusterRun(options: RunOptions): Promise<RunResult> {
  const run = new ClusterRun(options);
  return run.toResult();
}

class ClusterRun {
  readonly #options: RunOptions;
  readonly #recorder = new HistoryRecorder();
  readonly #ledger = new SealLedger();
  readonly #problems: string[] = [];
  #operationsPerSecondBefore = 0;
  #cutoverMs: number | null = null;
  #faults: RunResult['faults'] = [];
  #logEntries = 0;
  readonly #enableRefusals: string[] = [];
  #phases: Record<string, number> = {};
  #phaseBeganMs = performance.now();

  constructor(options: RunOptions) {
    this.#options = options;
  }

  async toResult(): Promise<RunResult> {
    const startedMs = performance.now();
    try {
      await this.#carryOut();
    } catch (error) {
      this.#problems.push(`the run could not be carried out: ${messageOf(error)}`);
    }
    const { history, totals } = this.#recorder;
    const stalls = stallsOf({ history, faults: this.#faults, shardCount: SHARDS });
    const isVoid = this.#operationsPerSecondBefore < OPERATIONS_PER_SECOND_MIN;
    const result: RunResult = {
      seed: this.#options.seed,
      verdict: this.#problems.length > 0 ? 'failed' : isVoid ? 'void' : 'ok',
      problems: this.#problems,
      seconds: (performance.now() - startedMs) / 1000,
      operations: totals.done,
      refused: totals.refused,
      unknown: totals.unknown,
      reasons: Object.fromEntries(totals.reasons),
      operationsPerSecondBefore: this.#operationsPerSecondBefore,
      cutoverMs: this.#cutoverMs,
      enableRefusals: this.#enableRefusals,
      phasesMs: this.#phases,
      faults: this.#faults,
      resumedAfterMs: stalls.map(({ resumedAfterMs }) => resumedAfterMs).filter(Number.isFinite),
      stallsMs: stalls.map(({ longestGapMs }) => longestGapMs),
      logEntries: this.#logEntries,
      sealsChecked: this.#ledger.seals,
    };
    await this.#keep(result);
    return result;
  }

  async #carryOut(): Promise<void> {
    const { directory, hosts, program, seed } = this.#options;
    await mkdir(directory, { recursive: true });
    const world = await World.make({
      directory: join(directory, 'world'),
      hosts,
      program,
      shardCount: SHARDS,
      encryption: 'off',
      leaseTtlMs: LEASE_TTL_MS,
    });
    const log = new LogRecorder({ ...world.etcd, prefix: world.etcdPrefix });
    try {
      this.#phase('preparation');
      world.startEtcd();
      log.start();
      world.startNodes();
      await world.ready();
      this.#phase('start');
      await this.#underLoad(world, new Random(seed, 'faults'));
      await this.#atRest(world, log);
    } finally {
      await log.stop();
      await world.kill();
    }
  }

  /** Notes how long a part of the run took. */
  #phase(name: string): void {
    const now = performance.now();
    this.#phases[name] = Math.round(now - this.#phaseBeganMs);
    this.#phaseBeganMs = now;
  }

  async #underLoad(world: World, random: Random): Promise<void> {
    const load = this.#load(world);
    try {
      await load.start();
      await this.#faultsUnder(world, random);
      await load.stop();
      await load.readAll();
      this.#phase('last reads');
    } finally {
      load.close();
    }
    this.#checkProcesses(world);
  }

  async #faultsUnder(world: World, random: Random): Promise<void> {
    await delay(WARM_UP_MS);
    const [startedMs, doneBefore] = [performance.now(), this.#recorder.totals.done];
    await delay(MEASURED_MS);
    const done = this.#recorder.totals.done - doneBefore;
    this.#operationsPerSecondBefore = (1000 * done) / (performance.now() - startedMs);
    this.#phase('warm-up');
    const nemesis = new Nemesis(world);
    const plan = planFaults({
      random,
      canCut: world.network !== undefined,
      windowMs: FAULT_WINDOW_MS,
    });
    await writeFile(join(this.#options.directory, 'plan.json'), JSON.stringify(plan, null, 1));
    const leadMs = Math.max(0, -(plan[0]?.atMs ?? 0));
    const enableAtMs = performance.now() + leadMs;
    nemesis.begin(plan, enableAtMs);
    await delay(leadMs);
    await this.#enable(world, random);
    await nemesis.end();
    this.#phase('faults');
    this.#faults = nemesis.records;
    await this.#resumed(world, enableAtMs);
    this.#phase('resumption');
  }

  #load(world: World): Load {
    const random = new Random(this.#options.seed, 'load');
    const shardOf = (tag: string): number => shardOfKey(`{${tag}}`, SHARDS);
    return new Load({
      nodes: world.endpoints,
      ...(world.password === undefined ? {} : { password: world.password }),
      timeoutMs: ANSWER_TIMEOUT_MS,
      clients: CLIENTS,
      pauseMs: PAUSE_MS,
      directReadEveryMs: DIRECT_READ_EVERY_MS,
      recorder: this.#recorder,
      workload: new Workload({ shardCount: SHARDS, shardOf, random }),
      random,
    });
  }

  /** Asks one node after the other until one says that the cutover is under way. */
  async #enable(world: World, random: Random): Promise<void> {
    const startedMs = performance.now();
    const since = (): number => Math.round(performance.now() - startedMs);
    const isAccepted = async (): Promise<boolean> => {
      const running = world.nodes.filter(({ process }) => process.state === 'running');
      if (running.length === 0) return false;
      const { admin } = random.pick(running);
      try {
        await admin.enableEncryption(ENABLE_TIMEOUT_MS);
        return true;
      } catch (error) {
        this.#enableRefusals.push(`${since()} ms: ${messageOf(error)}`);
        await delay(ENABLE_PAUSE_MS);
        return false;
      }
    };
    if (!(await within(SEALED_WITHIN_MS * 2, isAccepted))) {
      throw new Error(`encryption could not be enabled: ${this.#enableRefusals.at(-1)}`);
    }
  }

  /** With the faults over: writes everywhere in time, and the cutover complete. */
  async #resumed(world: World, enabledAtMs: number): Promise<void> {
    const healedAtMs = Math.max(0, ...this.#faults.map(({ endedAtMs }) => endedAtMs));
    const isSealed = await within(SEALED_WITHIN_MS, () => isSealedEverywhere(world));
    if (isSealed) this.#cutoverMs = performance.now() - enabledAtMs;
    else this.#problems.push(`not every shard is cut over ${SEALED_WITHIN_MS} ms after the faults`);
    const leftMs = healedAtMs + RESUMED_WITHIN_MS - performance.now();
    const late = (): readonly number[] =>
      shardsWithoutWrite(this.#recorder.history, { sinceMs: healedAtMs, shardCount: SHARDS });
    const isResumed = await within(leftMs, () => late().length === 0);
    if (!isResumed) {
      this.#problems.push(
        `invariant 12: no write within ${RESUMED_WITHIN_MS} ms of the last fault on shards ${late().join()}`,
      );
    }
    const input = { history: this.#recorder.history, faults: this.#faults, shardCount: SHARDS };
    for (const { shardId, fault } of lateResumptions(stallsOf(input))) {
      this.#problems.push(
        `invariant 12: no write on shard ${shardId} within ${RESUMED_WITHIN_MS} ms after ` +
          `${fault.kind} of ${fault.target}`,
      );
    }
  }

  async #atRest(world: World, log: LogRecorder): Promise<void> {
    if (!(await within(LEVEL_WITHIN_MS, () => isLevel(world)))) {
      this.#problems.push(`the replicas are not level ${LEVEL_WITHIN_MS} ms after the last write`);
    }
    const ledger = this.#ledger;
    this.#problems.push(...(await checkAtRest({ world, log, ledger })), ...log.problems);
    for (const entries of log.logs.values()) this.#logEntries += entries.length;
    await log.stop();
    this.#phase('checks at rest');
    this.#checkProcesses(world);
    await world.stop();
    this.#phase('stop');
    this.#problems.push(...(await checkStopped(world, SHARDS, ledger)));
    this.#problems.push(...checkHistory(this.#recorder.history).problems);
    this.#phase('checks of stores and history');
  }

  /** Invariant 11: nothing but the nemesis ends a process. */
  #checkProcesses(world: World): void {
    for (const { unexpectedExit } of world.processes) {
      if (unexpectedExit !== undefined) this.#problems.push(unexpectedExit);
    }
  }

  /** What a failure is looked into with. */
  async #keep(result: RunResult): Promise<void> {
    const { directory } = this.#options;
    const lines = this.#recorder.history.map((operation) => JSON.stringify(operation));
    await writeFile(join(directory, 'history.jsonl'), `${lines.join('\n')}\n`);
    await writeFile(join(directory, 'result.json'), JSON.stringify(result, null, 1));
  }
}

/** With its causes. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${messageOf(error.cause)}`;
}
