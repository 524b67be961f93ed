/**
 * Carries out the steps of a plan by the admin API, at whichever node, each repeated until it is done.
 * Every request is noted, and what an answer must not say is a problem.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../random.ts';
import type { KeyPurpose, KeyStatus, RetirementReceipt } from '../world/node-admin.ts';
import type { World } from '../world/world.ts';
import type { Backups } from './backups.ts';
import { type KekName, type KeyStep, nameOfStep } from './key-steps.ts';
import type { Requests } from './requests.ts';
import type { WrapMemory } from './wrap-memory.ts';

export interface OperatorParts {
  readonly world: World;
  readonly random: Random;
  readonly requests: Requests;
  readonly backups: Backups;
  readonly wraps: WrapMemory;
  readonly kekUris: Readonly<Record<KekName, string>>;
  readonly shardCount: number;
  /** Told when a step begins. */
  readonly onStep: (step: KeyStep) => void;
  /** When the last fault was over, by `performance.now()`; infinite before. */
  readonly calmSinceMs: () => number;
}

export interface StepRecord {
  readonly name: string;
  readonly beganAtMs: number;
  readonly endedAtMs: number;
}

const AWAY_WITHIN_MS = 8_000;
const POLL_MS = 50;
const STEP_PAUSE_MS = 1_500;

export class Operator {
  readonly #parts: OperatorParts;
  readonly #requests: Requests;
  readonly #steps: StepRecord[] = [];
  readonly #problems: string[] = [];
  readonly #retired: Set<number> = new Set();
  readonly #replaced: Set<number> = new Set();
  readonly #rowsUnder: Map<number, number> = new Map();
  /** Those that every key is wrapped under. */
  #keks: readonly KekName[] = ['file'];

  constructor(parts: OperatorParts) {
    this.#parts = parts;
    this.#requests = parts.requests;
  }

  get steps(): readonly StepRecord[] {
    return this.#steps;
  }

  get problems(): readonly string[] {
    return [...this.#problems, ...this.#parts.backups.problems];
  }

  /** DEKs for which there is a receipt. */
  get retired(): ReadonlySet<number> {
    return this.#retired;
  }

  /** How many rows of all nodes were seen under DEKs that are retired. */
  get rowsRewritten(): number {
    return [...this.#retired].reduce((sum, dekId) => sum + (this.#rowsUnder.get(dekId) ?? 0), 0);
  }

  /** @throws where a step is not done in time */
  async carryOut(steps: readonly KeyStep[]): Promise<void> {
    for (const step of steps) {
      const beganAtMs = performance.now();
      this.#parts.onStep(step);
      await this.#carryOutStep(step);
      await this.#parts.wraps.note();
      this.#steps.push({ name: nameOfStep(step), beganAtMs, endedAtMs: performance.now() });
      await delay(this.#parts.random.between(0, STEP_PAUSE_MS));
    }
  }

  async #carryOutStep(step: KeyStep): Promise<void> {
    switch (step.kind) {
      case 'rotate':
        return this.#rotate(step.purpose);
      case 'back-up':
        return this.#backUp(step.rotating);
      case 'retire-too-early':
        return this.#retireTooEarly();
      case 'retire-backed-up':
        return this.#retireBackedUp();
      case 'forget-backups':
        return this.#parts.backups.forgetAll();
      case 'restart-nodes':
        return this.#restartNodes();
      case 'use-keks':
        return this.#requests.until(nameOfStep(step), () => this.#useKeks(this.#urisOf(step.keks)));
      case 'rewrap':
        await this.#requests.until(nameOfStep(step), () => this.#rewrap(this.#urisOf(step.keks)));
        this.#keks = step.keks;
        return;
      case 'retire-replaced':
        return this.#retireReplaced();
    }
  }

  /** A rotation whose answer was lost may have been done: looked at first, as documented. */
  async #rotate(purpose: KeyPurpose): Promise<void> {
    let before: number | undefined;
    await this.#requests.until(`rotate ${purpose}`, async () => {
      const keys = (await this.#requests.status())?.keys ?? [];
      before ??= keys.find(isActive(purpose))?.dekId;
      const key = keys.find(({ dekId }) => dekId === before);
      // A node that is behind may not know the key yet, and says nothing about it.
      if (before === undefined || key === undefined) return false;
      if (key.active) {
        const node = this.#requests.anyNode();
        const dekId = await this.#requests.ask('rotate', node, () => node.admin.rotate(purpose));
        if (dekId === undefined) return false;
      }
      this.#replaced.add(before);
      await this.#parts.wraps.note();
      await this.#countRows(before);
      return true;
    });
  }

  async #backUp(rotating: KeyPurpose): Promise<void> {
    const { backups } = this.#parts;
    await Promise.all([backups.take(this.#urisOf(this.#keks)), this.#rotate(rotating)]);
  }

  async #retireTooEarly(): Promise<void> {
    await this.#retireActive();
    await this.#retireWhileAway();
  }

  async #retireActive(): Promise<void> {
    const purpose = this.#parts.random.pick<KeyPurpose>(['storage', 'raft', 'index']);
    await this.#requests.until(`retire the active ${purpose} DEK`, async () => {
      const dekId = (await this.#requests.status())?.keys.find(isActive(purpose))?.dekId;
      if (dekId === undefined) return false;
      const node = this.#requests.anyNode();
      const blockers = await this.#requests.ask('blockers', node, () => node.admin.blockers(dekId));
      if (blockers === undefined) return false;
      if (!blockers.some(({ kind }) => kind === 'active')) {
        this.#problems.push(`${node.process.name} does not say that DEK ${dekId} is active`);
      }
      await this.#retire(dekId);
      if (!this.#retired.has(dekId)) return true;
      this.#problems.push(`the active ${purpose} DEK ${dekId} was retired`);
      return true;
    });
  }

  async #retireBackedUp(): Promise<void> {
    const { backupId, dekIds } = this.#parts.backups.registered ?? {};
    const needed = dekIds?.filter((dekId) => this.#replaced.has(dekId)) ?? [];
    if (backupId === undefined || needed.length === 0) {
      throw new Error('no key was replaced that a registered backup needs');
    }
    const dekId = this.#parts.random.pick(needed);
    await this.#requests.until(`retire DEK ${dekId} of a backup`, async () => {
      const node = this.#requests.anyNode();
      const blockers = await this.#requests.ask('blockers', node, () => node.admin.blockers(dekId));
      if (blockers === undefined) return false;
      if (!blockers.some((blocker) => blocker.backupId === backupId)) {
        this.#problems.push(
          `${node.process.name} does not say that ${backupId} needs DEK ${dekId}`,
        );
      }
      await this.#retire(dekId);
      if (this.#retired.has(dekId)) {
        this.#problems.push(`DEK ${dekId} was retired, which ${backupId} needs`);
      }
      return true;
    });
  }

  /** As for an upgrade; each is back before the next one goes. */
  async #restartNodes(): Promise<void> {
    const { random, world } = this.#parts;
    for (const node of random.shuffled(world.nodes)) {
      const { process } = node;
      await process.stop();
      // Somebody else may have started it meanwhile.
      if (process.state === 'ended') process.start();
      await this.#requests.until(`start ${process.name}`, async () => {
        const status = await this.#requests.statusOf(node);
        return status?.ready === true;
      });
    }
  }

  /** A key that is replaced while somebody is away whose rows need it; again while that lasts. */
  async #retireWhileAway(): Promise<void> {
    await this.#somebodyAway();
    const before = (await this.#requests.status())?.keys.find(isActive('storage'))?.dekId;
    if (before === undefined) return;
    for (let isReplaced = false; this.#isSomebodyAway; await delay(POLL_MS)) {
      const node = this.#requests.anyNode();
      if (isReplaced) await this.#retire(before);
      else
        isReplaced =
          (await this.#requests.ask('rotate', node, () => node.admin.rotate('storage'))) !==
          undefined;
      await this.#parts.wraps.note();
      if (this.#retired.has(before)) return;
    }
  }

  get #isSomebodyAway(): boolean {
    return this.#parts.world.nodes.some(({ process }) => process.state !== 'running');
  }

  /** Waits for a node to be down or paused; not for long, for there may be no more faults. */
  async #somebodyAway(): Promise<void> {
    const untilMs = performance.now() + AWAY_WITHIN_MS;
    while (performance.now() < untilMs && performance.now() < this.#parts.calmSinceMs()) {
      if (this.#isSomebodyAway) return;
      await delay(POLL_MS);
    }
  }

  /** At every node that has others, until all have these. */
  async #useKeks(uris: readonly string[]): Promise<boolean> {
    for (const node of this.#parts.random.shuffled(this.#parts.world.nodes)) {
      const status = await this.#requests.statusOf(node);
      if (status === undefined) continue;
      if (isSame(status.kekUris, uris)) {
        node.startWithKeks(uris);
        continue;
      }
      const isDone = await this.#requests.ask('use-keks', node, () => node.admin.useKeks(uris));
      if (isDone !== undefined) node.startWithKeks(uris);
    }
    const statuses = await this.#requests.everyStatus();
    return statuses.every((status) => status !== undefined && isSame(status.kekUris, uris));
  }

  /** Done once every node has every key under these KEKs and no other. */
  async #rewrap(uris: readonly string[]): Promise<boolean> {
    const isWrapped = ({ kekUris }: KeyStatus): boolean => isSame(kekUris, uris);
    const isDone = async (): Promise<boolean> =>
      (await this.#requests.everyStatus()).every((status) => status?.keys.every(isWrapped));
    if (await isDone()) return true;
    const node = this.#requests.anyNode();
    const found = await this.#requests.ask('rewrap', node, () => node.admin.rewrap());
    if (found === undefined) return false;
    if (!isSame(found, uris)) {
      this.#problems.push(`keys were wrapped under ${found.join()}, not under ${uris.join()}`);
    }
    return isDone();
  }

  /**
   * Done once there is a receipt for each, one whose answer was lost being asked for again, and no
   * node has a key that is not active.
   */
  async #retireReplaced(): Promise<void> {
    await this.#requests.until('find the replaced DEKs', async () => {
      const statuses = await this.#requests.everyStatus();
      const old = statuses.flatMap((status) => status?.keys.filter(({ active }) => !active) ?? []);
      for (const { dekId } of old) this.#replaced.add(dekId);
      return statuses.every((status) => status !== undefined);
    });
    const left = [...this.#replaced].filter((dekId) => !this.#retired.has(dekId));
    for (const dekId of this.#parts.random.shuffled(left)) {
      await this.#requests.until(`retire DEK ${dekId}`, async () => {
        await this.#parts.wraps.note();
        if (!this.#rowsUnder.has(dekId)) await this.#countRows(dekId);
        await this.#retire(dekId);
        return this.#retired.has(dekId);
      });
    }
    await this.#requests.until('have the active DEKs alone', async () => {
      const statuses = await this.#requests.everyStatus();
      return statuses.every((status) => status?.keys.every(({ active }) => active));
    });
  }

  /** A receipt is evidence of every member and every log: it cannot be had while one is away. */
  async #retire(dekId: number): Promise<void> {
    const { world, shardCount } = this.#parts;
    const node = this.#requests.anyNode();
    const beganAtMs = performance.now();
    const receipt = await this.#requests.ask('retire', node, () => node.admin.retire(dekId));
    if (receipt === undefined) return;
    this.#retired.add(dekId);
    const away = world.nodes.find(
      ({ process }) => process.state !== 'running' && process.stateSinceMs <= beganAtMs,
    );
    if (away !== undefined) {
      const { name, state } = away.process;
      this.#problems.push(`there is a receipt for DEK ${dekId} while ${name} is ${state}`);
    }
    if (!isWhole(receipt, { dekId, nodes: world.nodes.length, shardCount })) {
      this.#problems.push(`the receipt for DEK ${dekId} is not whole: ${JSON.stringify(receipt)}`);
    }
  }

  async #countRows(dekId: number): Promise<void> {
    const node = this.#requests.anyNode();
    const blockers = await this.#requests.ask('blockers', node, () => node.admin.blockers(dekId));
    if (blockers === undefined) return;
    const rows = blockers.reduce((sum, blocker) => sum + (blocker.rows ?? 0), 0);
    this.#rowsUnder.set(dekId, Math.max(rows, this.#rowsUnder.get(dekId) ?? 0));
  }

  #urisOf(keks: readonly KekName[]): readonly string[] {
    return keks.map((name) => this.#parts.kekUris[name]);
  }
}

function isActive(purpose: KeyPurpose): (key: KeyStatus) => boolean {
  return (key) => key.active && key.purpose === purpose;
}

function isSame(uris: readonly string[], others: readonly string[]): boolean {
  return [...uris].sort().join(' ') === [...others].sort().join(' ');
}

function isWhole(
  { dekId, members, logs }: RetirementReceipt,
  expected: { readonly dekId: number; readonly nodes: number; readonly shardCount: number },
): boolean {
  const nodeIds = new Set(members.map(({ nodeId }) => nodeId));
  const shardIds = new Set(logs.map(({ shardId }) => shardId));
  return (
    dekId === expected.dekId &&
    nodeIds.size === expected.nodes &&
    members.every(({ rows }) => rows === 0) &&
    shardIds.size === expected.shardCount
  );
}
