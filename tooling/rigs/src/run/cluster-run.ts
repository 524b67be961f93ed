/**
 * One run: a cluster starts in the clear, clients load it, encryption is enabled under the load with
 * faults around that moment, more faults follow, everything is healed, and what clients were told is
 * compared with what the logs and disks then show.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { LogRecorder } from '../checks/log-recorder.ts';
import { planFaults } from '../nemesis/fault.ts';
import { Nemesis } from '../nemesis/nemesis.ts';
import { Random } from '../random.ts';
import type { World } from '../world/world.ts';
import { checkStopped } from './final-checks.ts';
import { RESUMED_WITHIN_MS, shardsWithoutWrite } from './resumption.ts';
import { type LoadShape, messageOf, RunRecord } from './run-record.ts';
import type { RunResult } from './run-result.ts';
import { isSealedEverywhere, within } from './settling.ts';

export interface RunOptions {
  readonly seed: number;
  readonly hosts: 'loopback' | 'namespaces';
  /** Everything of the run is kept in it. */
  readonly directory: string;
  /** The built `main.js` of the node. */
  readonly program: string;
}

const SHARDS = 16;
const LOAD: LoadShape = { clients: 20, pauseMs: 15, directReadEveryMs: 40 };
const WARM_UP_MS = 1_000;
const MEASURED_MS = 1_500;
const FAULT_WINDOW_MS = 7_000;
const OPERATIONS_PER_SECOND_MIN = 100;
const SEALED_WITHIN_MS = 15_000;
const ENABLE_TIMEOUT_MS = 5_000;
const ENABLE_PAUSE_MS = 200;

export async function clusterRun(options: RunOptions): Promise<RunResult> {
  const run = new ClusterRun(options);
  return run.toResult();
}

class ClusterRun {
  readonly #options: RunOptions;
  readonly #record: RunRecord;
  #operationsPerSecondBefore = 0;
  #cutoverMs: number | null = null;
  readonly #enableRefusals: string[] = [];

  constructor(options: RunOptions) {
    this.#options = options;
    this.#record = new RunRecord({ ...options, shardCount: SHARDS });
  }

  async toResult(): Promise<RunResult> {
    const { hosts, program } = this.#options;
    const record = this.#record;
    await record.carryOut(() =>
      record.inCluster({ hosts, program, encryption: 'off' }, async (world, log) => {
        await record.underLoad(world, LOAD, () => this.#faultsUnder(world));
        await this.#atRest(world, log);
      }),
    );
    const result: RunResult = {
      ...record.frame(this.#operationsPerSecondBefore < OPERATIONS_PER_SECOND_MIN),
      operationsPerSecondBefore: this.#operationsPerSecondBefore,
      cutoverMs: this.#cutoverMs,
      enableRefusals: this.#enableRefusals,
      stallsMs: record.stalls.map(({ longestGapMs }) => longestGapMs),
    };
    await record.keep(result);
    return result;
  }

  async #faultsUnder(world: World): Promise<void> {
    await delay(WARM_UP_MS);
    const [startedMs, doneBefore] = [performance.now(), this.#record.recorder.totals.done];
    await delay(MEASURED_MS);
    const done = this.#record.recorder.totals.done - doneBefore;
    this.#operationsPerSecondBefore = (1000 * done) / (performance.now() - startedMs);
    this.#record.phase('warm-up');
    const random = new Random(this.#options.seed, 'faults');
    const nemesis = new Nemesis(world);
    const plan = planFaults({
      random,
      canCut: world.network !== undefined,
      windowMs: FAULT_WINDOW_MS,
    });
    await this.#record.write('plan.json', plan);
    const leadMs = Math.max(0, -(plan[0]?.atMs ?? 0));
    const enableAtMs = performance.now() + leadMs;
    nemesis.begin(plan, enableAtMs);
    await delay(leadMs);
    await this.#enable(world, random);
    await nemesis.end();
    this.#record.phase('faults');
    this.#record.noteFaults(nemesis.records);
    await this.#resumed(world, enableAtMs);
    this.#record.phase('resumption');
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
    const record = this.#record;
    const healedAtMs = Math.max(0, ...record.faults.map(({ endedAtMs }) => endedAtMs));
    const isSealed = await within(SEALED_WITHIN_MS, () => isSealedEverywhere(world));
    if (isSealed) this.#cutoverMs = performance.now() - enabledAtMs;
    else record.found(`not every shard is cut over ${SEALED_WITHIN_MS} ms after the faults`);
    const leftMs = healedAtMs + RESUMED_WITHIN_MS - performance.now();
    const late = (): readonly number[] =>
      shardsWithoutWrite(record.recorder.history, { sinceMs: healedAtMs, shardCount: SHARDS });
    const isResumed = await within(leftMs, () => late().length === 0);
    if (!isResumed) {
      record.found(
        `invariant 12: no write within ${RESUMED_WITHIN_MS} ms of the last fault on shards ${late().join()}`,
      );
    }
    record.checkResumption();
  }

  async #atRest(world: World, log: LogRecorder): Promise<void> {
    const record = this.#record;
    await record.checkAtRest(world, log);
    await world.stop();
    record.phase('stop');
    record.found(...(await checkStopped(world, SHARDS, record.ledger)));
    record.checkHistory();
    record.phase('checks of stores and history');
  }
}
