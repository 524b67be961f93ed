/**
 * One run: a cluster is born sealed, clients load it, and under that load an operator rotates keys,
 * goes over from a KEK in a file to one in a key service and retires every key that was replaced,
 * while leaders are killed and paused, and, where that is asked for, the key service fails. Then
 * histories, logs and files are compared with what clients and operator were told, and the cluster
 * starts once more with the key service as its only KEK.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startVault, type Vault } from '@raftseal/kek-services-for-tests';
import { LogRecorder } from '../checks/log-recorder.ts';
import { SealLedger } from '../checks/seal-ledger.ts';
import { Load } from '../history/load.ts';
import { HistoryRecorder } from '../history/recorder.ts';
import { shardOfKey } from '../history/slot.ts';
import { Workload } from '../history/workload.ts';
import { type Fault, planLeaderFaults } from '../nemesis/fault.ts';
import { Nemesis } from '../nemesis/nemesis.ts';
import { Random } from '../random.ts';
import { checkAtRest } from '../run/final-checks.ts';
import { checkHistory } from '../run/history-check.ts';
import { lateResumptions, RESUMED_WITHIN_MS, stallsOf } from '../run/resumption.ts';
import { isLevel, within } from '../run/settling.ts';
import { World } from '../world/world.ts';
import { checkAttempts } from './attempts.ts';
import { Ballast } from './ballast.ts';
import { Keeper } from './keeper.ts';
import { checkLogsInEtcd, checkStoppedKeys } from './key-checks.ts';
import type { KeyRunResult } from './key-result.ts';
import { type KeyStep, planKeySteps } from './key-steps.ts';
import { Operator } from './operator.ts';
import { type Burst, planBursts, VaultNemesis } from './vault-nemesis.ts';
import { WrapMemory } from './wrap-memory.ts';

export interface KeyRunOptions {
  readonly seed: number;
  /** Everything of the run is kept in it. */
  readonly directory: string;
  /** The built `main.js` of the node. */
  readonly program: string;
  readonly isKmsFaulty: boolean;
}

const SHARDS = 8;
const LEASE_TTL_MS = 3_000;
const CLIENTS = 12;
const PAUSE_MS = 25;
const DIRECT_READ_EVERY_MS = 80;
const ANSWER_TIMEOUT_MS = 1_500;
const WARM_UP_MS = 1_500;
/** Leaders leave the operator in peace after a while; the key service does so for the last step. */
const FAULT_WINDOW_MS = 40_000;
const BURST_WINDOW_MS = 120_000;
const OPERATIONS_MIN = 3_000;
const LEVEL_WITHIN_MS = 20_000;
const KEY_PATH = 'transit/raftseal';

export async function keyRun(options: KeyRunOptions): Promise<KeyRunResult> {
  const vault = await startVault();
  vault.createKey(KEY_PATH);
  const run = new KeyRun(options, vault);
  try {
    return await run.toResult();
  } finally {
    await vault.http.close();
  }
}

class KeyRun {
  readonly #options: KeyRunOptions;
  readonly #vault: Vault;
  readonly #vaultNemesis: VaultNemesis;
  readonly #recorder = new HistoryRecorder();
  readonly #ledger = new SealLedger();
  readonly #problems: string[] = [];
  #operator: Operator | undefined;
  #faults: KeyRunResult['faults'] = [];
  #faultsOverAtMs = Number.POSITIVE_INFINITY;
  #startsRefused = 0;
  #logEntries = 0;
  readonly #phases: Record<string, number> = {};
  #phaseBeganMs = performance.now();

  constructor(options: KeyRunOptions, vault: Vault) {
    this.#options = options;
    this.#vault = vault;
    this.#vaultNemesis = new VaultNemesis(vault, new Random(options.seed, 'vault'));
  }

  async toResult(): Promise<KeyRunResult> {
    const startedMs = performance.now();
    try {
      await this.#carryOut();
    } catch (error) {
      this.#problems.push(`the run could not be carried out: ${messageOf(error)}`);
    }
    const { history, totals } = this.#recorder;
    const stalls = stallsOf({ history, faults: this.#faults, shardCount: SHARDS });
    const isVoid = totals.done < OPERATIONS_MIN;
    const result: KeyRunResult = {
      seed: this.#options.seed,
      verdict: this.#problems.length > 0 ? 'failed' : isVoid ? 'void' : 'ok',
      problems: this.#problems,
      seconds: (performance.now() - startedMs) / 1000,
      operations: totals.done,
      refused: totals.refused,
      unknown: totals.unknown,
      reasons: Object.fromEntries(totals.reasons),
      steps: this.#operator?.steps ?? [],
      attempts: this.#operator?.attempts ?? [],
      rowsRewritten: this.#operator?.rowsRewritten ?? 0,
      retired: [...(this.#operator?.retired ?? [])],
      startsRefused: this.#startsRefused,
      faults: this.#faults,
      bursts: this.#vaultNemesis.records,
      resumedAfterMs: stalls.map(({ resumedAfterMs }) => resumedAfterMs).filter(Number.isFinite),
      logEntries: this.#logEntries,
      sealsChecked: this.#ledger.seals,
      phasesMs: this.#phases,
    };
    await this.#keep(result);
    return result;
  }

  async #carryOut(): Promise<void> {
    const { directory, program } = this.#options;
    await mkdir(directory, { recursive: true });
    const vaultTokenPath = join(directory, 'vault-token');
    await writeFile(vaultTokenPath, this.#vault.token, { mode: 0o600 });
    const world = await World.make({
      directory: join(directory, 'world'),
      hosts: 'loopback',
      program,
      shardCount: SHARDS,
      encryption: 'on',
      leaseTtlMs: LEASE_TTL_MS,
      environment: { VAULT_TOKEN: '', VAULT_TOKEN_FILE: vaultTokenPath },
    });
    const log = new LogRecorder({ ...world.etcd, prefix: world.etcdPrefix });
    const ballast = new Ballast({ nodes: world.endpoints, timeoutMs: ANSWER_TIMEOUT_MS });
    try {
      world.startEtcd();
      log.start();
      world.startNodes();
      await world.ready();
      await ballast.write();
      this.#phase('start');
      const wraps = new WrapMemory(world);
      await this.#underLoad(world, wraps);
      await this.#atRest(world, log, wraps);
      await this.#restarted(world, ballast);
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

  async #underLoad(world: World, wraps: WrapMemory): Promise<void> {
    const load = this.#load(world);
    const keeper = new Keeper(world);
    try {
      await load.start();
      await delay(WARM_UP_MS);
      this.#phase('warm-up');
      keeper.begin();
      await this.#faultsAndKeys(world, wraps);
      await keeper.end();
      await load.stop();
      await load.readAll();
      this.#phase('last reads');
    } finally {
      await keeper.end();
      this.#startsRefused = keeper.refusals;
      load.close();
    }
    this.#checkProcesses(world);
  }

  async #faultsAndKeys(world: World, wraps: WrapMemory): Promise<void> {
    const plan = await this.#plan();
    const nemesis = new Nemesis(world);
    const operator = this.#operatorOf(world, wraps);
    this.#operator = operator;
    const originMs = performance.now();
    nemesis.begin(plan.faults, originMs);
    this.#vaultNemesis.begin(plan.bursts, originMs);
    const over = Promise.all([nemesis.end(), this.#vaultNemesis.end()]).then(() => {
      this.#faultsOverAtMs = performance.now();
      this.#faults = nemesis.records;
    });
    try {
      await operator.carryOut(plan.steps);
    } finally {
      nemesis.calm();
      this.#vaultNemesis.calm();
      await over;
      const { isKmsFaulty } = this.#options;
      const faults = [...nemesis.records, ...this.#vaultNemesis.records];
      const { attempts, problems } = operator;
      this.#problems.push(...problems, ...checkAttempts(attempts, { faults, isKmsFaulty }));
    }
    this.#phase('faults and keys');
    await delay(RESUMED_WITHIN_MS - Math.min(RESUMED_WITHIN_MS, this.#sinceFaultsMs()));
    this.#checkResumption();
    this.#phase('resumption');
  }

  async #plan(): Promise<{
    readonly faults: readonly Fault[];
    readonly bursts: readonly Burst[];
    readonly steps: readonly KeyStep[];
  }> {
    const { seed, isKmsFaulty, directory } = this.#options;
    const random = new Random(seed, 'faults');
    const plan = {
      faults: planLeaderFaults({ random, windowMs: FAULT_WINDOW_MS }),
      bursts: isKmsFaulty ? planBursts(new Random(seed, 'bursts'), BURST_WINDOW_MS) : [],
      steps: planKeySteps(new Random(seed, 'steps')),
    };
    await writeFile(join(directory, 'plan.json'), JSON.stringify(plan, null, 1));
    return plan;
  }

  #operatorOf(world: World, wraps: WrapMemory): Operator {
    return new Operator({
      world,
      wraps,
      random: new Random(this.#options.seed, 'operator'),
      kekUris: {
        file: `file:${world.kekPath}`,
        vault: `vault-transit:${this.#vault.http.origin}/transit/keys/raftseal`,
      },
      shardCount: SHARDS,
      onLastStep: () => this.#vaultNemesis.calm(),
      calmSinceMs: () => this.#faultsOverAtMs,
    });
  }

  #sinceFaultsMs(): number {
    return performance.now() - this.#faultsOverAtMs;
  }

  /** Invariant 12; not while nodes may wait for the key service to be able to start. */
  #checkResumption(): void {
    const input = { history: this.#recorder.history, faults: this.#faults, shardCount: SHARDS };
    for (const { shardId, fault } of lateResumptions(stallsOf(input))) {
      const isExcused = this.#vaultNemesis.records.some(
        (burst) =>
          burst.endedAtMs > fault.beganAtMs &&
          burst.beganAtMs < fault.endedAtMs + RESUMED_WITHIN_MS,
      );
      if (isExcused) continue;
      this.#problems.push(
        `invariant 12: no write on shard ${shardId} within ${RESUMED_WITHIN_MS} ms after ` +
          `${fault.kind} of ${fault.target}`,
      );
    }
  }

  #load(world: World): Load {
    const random = new Random(this.#options.seed, 'load');
    const shardOf = (tag: string): number => shardOfKey(`{${tag}}`, SHARDS);
    return new Load({
      nodes: world.endpoints,
      timeoutMs: ANSWER_TIMEOUT_MS,
      clients: CLIENTS,
      pauseMs: PAUSE_MS,
      directReadEveryMs: DIRECT_READ_EVERY_MS,
      recorder: this.#recorder,
      workload: new Workload({ shardCount: SHARDS, shardOf, random }),
      random,
    });
  }

  async #atRest(world: World, log: LogRecorder, wraps: WrapMemory): Promise<void> {
    if (!(await within(LEVEL_WITHIN_MS, () => isLevel(world)))) {
      this.#problems.push(`the replicas are not level ${LEVEL_WITHIN_MS} ms after the last write`);
    }
    const [ledger, retired] = [this.#ledger, this.#operator?.retired ?? new Set<number>()];
    this.#problems.push(...(await checkAtRest({ world, log, ledger })), ...log.problems);
    this.#problems.push(...(await checkLogsInEtcd(world, retired)));
    for (const entries of log.logs.values()) this.#logEntries += entries.length;
    await log.stop();
    this.#phase('checks at rest');
    this.#checkProcesses(world);
    await Promise.all(world.nodes.map(({ process }) => process.stop()));
    this.#phase('stop');
    const checks = { world, shardCount: SHARDS, ledger, retired, wraps };
    this.#problems.push(...(await checkStoppedKeys(checks)), ...ledger.problems);
    this.#problems.push(...checkHistory(this.#recorder.history).problems);
    this.#phase('checks of files and history');
  }

  /** With the key service alone: the first KEK is gone. */
  async #restarted(world: World, ballast: Ballast): Promise<void> {
    await rm(world.kekPath);
    world.startNodes();
    await world.ready();
    const lost = await ballast.lost();
    if (lost.length > 0) {
      this.#problems.push(`${lost.length} keys do not hold what was written: ${lost[0]}, ...`);
    }
    for (const { admin, process } of world.nodes) {
      const { problems } = await admin.verify();
      this.#problems.push(...problems.map((each) => `verify on ${process.name}: ${each}`));
    }
    this.#checkProcesses(world);
    this.#phase('restart without the first KEK');
  }

  /** Invariant 11: nothing but the nemesis ends a process. */
  #checkProcesses(world: World): void {
    for (const { unexpectedExit } of world.processes) {
      if (unexpectedExit !== undefined) this.#problems.push(unexpectedExit);
    }
  }

  /** What a failure is looked into with. */
  async #keep(result: KeyRunResult): Promise<void> {
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
