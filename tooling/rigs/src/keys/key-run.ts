/**
 * One run: a cluster is born sealed, clients load it, and under that load an operator rotates keys,
 * goes over from a KEK in a file to one in a key service, takes backups and retires every key that
 * was replaced, while leaders are killed and paused, and, where that is asked for, the key service fails. Then
 * histories, logs and files are compared with what clients and operator were told, and the cluster
 * starts once more with the key service as its only KEK.
 */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startVault, type Vault } from '@raftseal/kek-services-for-tests';
import type { LogRecorder } from '../checks/log-recorder.ts';
import { type Fault, planLeaderFaults } from '../nemesis/fault.ts';
import { type FaultRecord, Nemesis } from '../nemesis/nemesis.ts';
import { Random } from '../random.ts';
import { RESUMED_WITHIN_MS } from '../run/resumption.ts';
import { ANSWER_TIMEOUT_MS, type LoadShape, RunRecord } from '../run/run-record.ts';
import type { World } from '../world/world.ts';
import { checkAttempts } from './attempts.ts';
import { Backups } from './backups.ts';
import { Ballast } from './ballast.ts';
import { Keeper } from './keeper.ts';
import { checkLogsInEtcd, checkStoppedKeys } from './key-checks.ts';
import type { KeyRunResult } from './key-result.ts';
import { type KeyStep, planKeySteps } from './key-steps.ts';
import { Operator } from './operator.ts';
import { Requests } from './requests.ts';
import { lostByRestore } from './restore-check.ts';
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
const LOAD: LoadShape = { clients: 12, pauseMs: 25, directReadEveryMs: 80 };
const WARM_UP_MS = 1_500;
/** Leaders leave the operator in peace after a while. */
const FAULT_WINDOW_MS = 40_000;
/** The key service does so only where the steps take much longer than they ever should. */
const BURST_WINDOW_MS = 480_000;
const BURSTS = 400;
const OPERATIONS_MIN = 3_000;
const KEY_PATH = 'transit/raftseal';
/** Longer than a change takes each of whose calls to the key service is just done in time. */
const FAULTY_CHANGE_TIMEOUT_MS = 120_000;

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

interface Plan {
  readonly faults: readonly Fault[];
  readonly bursts: readonly Burst[];
  readonly steps: readonly KeyStep[];
}

class KeyRun {
  readonly #options: KeyRunOptions;
  readonly #vault: Vault;
  readonly #vaultNemesis: VaultNemesis;
  readonly #record: RunRecord;
  readonly #environment: Readonly<Record<string, string>>;
  #requests: Requests | undefined;
  #operator: Operator | undefined;
  #backups: Backups | undefined;
  #faultsOverAtMs = Number.POSITIVE_INFINITY;
  #startsRefused = 0;

  constructor(options: KeyRunOptions, vault: Vault) {
    this.#options = options;
    this.#vault = vault;
    this.#vaultNemesis = new VaultNemesis(vault, new Random(options.seed, 'vault'));
    this.#record = new RunRecord({ ...options, shardCount: SHARDS });
    const tokenPath = join(options.directory, 'vault-token');
    this.#environment = { VAULT_TOKEN: '', VAULT_TOKEN_FILE: tokenPath };
  }

  async toResult(): Promise<KeyRunResult> {
    const record = this.#record;
    await record.carryOut(() => this.#carryOut());
    const result: KeyRunResult = {
      ...record.frame(record.recorder.totals.done < OPERATIONS_MIN),
      steps: this.#operator?.steps ?? [],
      attempts: this.#requests?.attempts ?? [],
      rowsRewritten: this.#operator?.rowsRewritten ?? 0,
      retired: [...(this.#operator?.retired ?? [])],
      startsRefused: this.#startsRefused,
      bursts: this.#vaultNemesis.records,
      vaultRequests: this.#vault.http.requests.length,
    };
    await record.keep(result);
    return result;
  }

  async #carryOut(): Promise<void> {
    const { program, isKmsFaulty } = this.#options;
    const { VAULT_TOKEN_FILE: tokenPath = '' } = this.#environment;
    await writeFile(tokenPath, this.#vault.token, { mode: 0o600 });
    const options = {
      hosts: 'loopback',
      program,
      encryption: 'on',
      environment: this.#environment,
      ...(isKmsFaulty ? { changeTimeoutMs: FAULTY_CHANGE_TIMEOUT_MS } : {}),
    } as const;
    await this.#record.inCluster(options, async (world, log) => {
      const ballast = ballastOf(world);
      await ballast.write();
      this.#record.phase('ballast');
      const wraps = new WrapMemory(world);
      await this.#underLoad(world, wraps);
      await this.#atRest(world, log, wraps);
      await this.#restored(world);
      await this.#restarted(world, ballast);
    });
  }

  async #underLoad(world: World, wraps: WrapMemory): Promise<void> {
    const keeper = new Keeper(world);
    await this.#record.underLoad(world, LOAD, async () => {
      await delay(WARM_UP_MS);
      this.#record.phase('warm-up');
      keeper.begin();
      try {
        await this.#faultsAndKeys(world, wraps);
      } finally {
        await keeper.end();
        this.#startsRefused = keeper.refusals;
      }
    });
    if (keeper.refusals > 0 && !this.#options.isKmsFaulty) {
      this.#record.found(`${keeper.refusals} starts were refused, with all KEKs there`);
    }
  }

  async #faultsAndKeys(world: World, wraps: WrapMemory): Promise<void> {
    const plan = await this.#plan();
    const nemesis = new Nemesis(world);
    const operator = this.#operatorOf(world, wraps);
    nemesis.begin(plan.faults, performance.now());
    this.#vaultNemesis.begin(plan.bursts);
    const enough = setTimeout(() => this.#vaultNemesis.calm(), BURST_WINDOW_MS);
    const over = Promise.all([nemesis.end(), this.#vaultNemesis.end()]).then(() => {
      this.#faultsOverAtMs = performance.now();
      this.#record.noteFaults(nemesis.records);
    });
    try {
      await operator.carryOut(plan.steps);
    } finally {
      clearTimeout(enough);
      nemesis.calm();
      this.#vaultNemesis.calm();
      await over;
      this.#checkOperator(operator, nemesis.records);
    }
    this.#record.phase('faults and keys');
    await delay(RESUMED_WITHIN_MS - Math.min(RESUMED_WITHIN_MS, this.#sinceFaultsMs()));
    this.#checkResumption();
    this.#record.phase('resumption');
  }

  async #plan(): Promise<Plan> {
    const { seed, isKmsFaulty } = this.#options;
    const random = new Random(seed, 'faults');
    const plan = {
      faults: planLeaderFaults({ random, windowMs: FAULT_WINDOW_MS }),
      bursts: isKmsFaulty ? planBursts(new Random(seed, 'bursts'), BURSTS) : [],
      steps: planKeySteps(new Random(seed, 'steps')),
    };
    await this.#record.write('plan.json', plan);
    return plan;
  }

  #operatorOf(world: World, wraps: WrapMemory): Operator {
    const random = new Random(this.#options.seed, 'operator');
    const calmSinceMs = (): number => this.#faultsOverAtMs;
    const requests = new Requests({ world, random, calmSinceMs });
    this.#requests = requests;
    const { program } = this.#options;
    const environment = this.#environment;
    const marks = marksOf(world);
    const backups = new Backups({ world, requests, marks, program, environment });
    this.#backups = backups;
    this.#operator = new Operator({
      world,
      random,
      requests,
      backups,
      wraps,
      kekUris: {
        file: `file:${world.kekPath}`,
        vault: `vault-transit:${this.#vault.http.origin}/transit/keys/raftseal`,
      },
      shardCount: SHARDS,
      onStep: ({ kind }) => this.#strike(kind, random),
      calmSinceMs,
    });
    return this.#operator;
  }

  /** While a node starts that has no other KEK; and between two steps of a rotation. */
  #strike(kind: KeyStep['kind'], random: Random): void {
    if (!this.#options.isKmsFaulty) return;
    if (kind === 'restart-nodes') this.#vaultNemesis.strike(0);
    if (kind === 'rotate' && random.chance(0.2)) this.#vaultNemesis.strike(random.below(4));
  }

  #checkOperator({ problems }: Operator, faults: readonly FaultRecord[]): void {
    const { isKmsFaulty } = this.#options;
    const attempts = this.#requests?.attempts ?? [];
    this.#record.found(...problems, ...checkAttempts(attempts, { faults, isKmsFaulty }));
  }

  #sinceFaultsMs(): number {
    return performance.now() - this.#faultsOverAtMs;
  }

  /** Not while nodes may wait for the key service to be able to start. */
  #checkResumption(): void {
    this.#record.checkResumption((fault) =>
      this.#vaultNemesis.records.some(
        (burst) =>
          burst.endedAtMs > fault.beganAtMs &&
          burst.beganAtMs < fault.endedAtMs + RESUMED_WITHIN_MS,
      ),
    );
  }

  async #atRest(world: World, log: LogRecorder, wraps: WrapMemory): Promise<void> {
    const record = this.#record;
    const { ledger } = record;
    const retired = this.#operator?.retired ?? new Set<number>();
    await record.checkAtRest(world, log);
    record.found(...(await checkLogsInEtcd(world, retired)));
    await Promise.all(world.nodes.map(({ process }) => process.stop()));
    record.phase('stop');
    const checks = { world, shardCount: SHARDS, ledger, retired, wraps };
    record.found(...(await checkStoppedKeys(checks)), ...ledger.problems);
    record.checkHistory();
    record.phase('checks of files and history');
  }

  /** The last backup, as a cluster of one node: all that was acknowledged before it is there. */
  async #restored(world: World): Promise<void> {
    const { program } = this.#options;
    const backup = this.#backups?.last;
    if (backup === undefined) throw new Error('no backup was taken');
    const { version } = backup;
    const entries = [...ballastOf(world).entries(), ...marksOf(world).entries(version)];
    const place = { world, backup, program, environment: this.#environment };
    const lost = await lostByRestore(place, entries);
    if (lost.length > 0) {
      this.#record.found(`${lost.length} keys are not in ${backup.path}: ${lost[0]}, ...`);
    }
    this.#record.phase('restore of the last backup');
  }

  /** With the key service alone: the first KEK is gone. */
  async #restarted(world: World, ballast: Ballast): Promise<void> {
    const record = this.#record;
    await rm(world.kekPath);
    world.startNodes();
    await world.ready();
    const lost = await ballast.lost();
    if (lost.length > 0) {
      record.found(`${lost.length} keys do not hold what was written: ${lost[0]}, ...`);
    }
    for (const { admin, process } of world.nodes) {
      const { problems } = await admin.verify();
      record.found(...problems.map((each) => `verify on ${process.name}: ${each}`));
    }
    record.checkProcesses(world);
    record.phase('restart without the first KEK');
  }
}

function ballastOf({ endpoints: nodes }: World): Ballast {
  return new Ballast({ nodes, timeoutMs: ANSWER_TIMEOUT_MS }, { name: 'ballast', keys: 1_000 });
}

function marksOf({ endpoints: nodes }: World): Ballast {
  return new Ballast({ nodes, timeoutMs: ANSWER_TIMEOUT_MS }, { name: 'mark', keys: 50 });
}
