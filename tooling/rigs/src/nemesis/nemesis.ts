/** Carries out the faults of a plan on a world, one track beside the other, and takes them back. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Host } from '../world/host.ts';
import type { ManagedProcess } from '../world/managed-process.ts';
import type { Loss, NetworkHost } from '../world/network.ts';
import type { World } from '../world/world.ts';
import type { CutKind, Direction, Fault, FaultKind, Target } from './fault.ts';

/** A fault as it was carried out. */
export interface FaultRecord extends Omit<Fault, 'target' | 'atMs' | 'durationMs'> {
  /** Name of the node or member. */
  readonly target: string;
  /** By the clock of the history, in ms. */
  readonly beganAtMs: number;
  readonly endedAtMs: number;
}

export class Nemesis {
  readonly #world: World;
  readonly #records: FaultRecord[] = [];
  readonly #pending: Promise<void>[] = [];
  readonly #calming = new AbortController();

  constructor(world: World) {
    this.#world = world;
  }

  /** The faults that have ended, in that order. */
  get records(): readonly FaultRecord[] {
    return this.#records;
  }

  /**
   * Lets the faults of a plan begin at their times.
   * @param originMs the moment from which the plan counts, by `performance.now()`
   */
  begin(plan: readonly Fault[], originMs: number): void {
    for (const fault of plan) this.#pending.push(this.#carryOut(fault, originMs));
  }

  /** No fault begins any more. */
  calm(): void {
    this.#calming.abort();
  }

  /** Resolves once every fault has been taken back; fails where one could not be. */
  async end(): Promise<void> {
    await Promise.all(this.#pending);
  }

  async #carryOut(fault: Fault, originMs: number): Promise<void> {
    const { signal } = this.#calming;
    const inMs = Math.max(0, originMs + fault.atMs - performance.now());
    await delay(inMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    const place = await this.#placeOf(fault.target);
    const target = this.#processOf(fault.kind, place);
    const beganAtMs = performance.now();
    const takeBack = await this.#inflict(fault, place, target);
    await delay(fault.durationMs);
    await takeBack();
    const { kind, direction } = fault;
    const endedAtMs = performance.now();
    this.#records.push({ kind, direction, target: target.name, beganAtMs, endedAtMs });
  }

  #processOf(kind: FaultKind, place: number): ManagedProcess {
    const { members, nodes } = this.#world;
    const isOfMember = kind.includes('-member') && !kind.includes('-node');
    const found = (isOfMember ? members : nodes)[place];
    if (found === undefined) throw new RangeError(`the world has no place ${place}`);
    return found.process;
  }

  async #inflict(
    { kind, direction }: Fault,
    place: number,
    target: ManagedProcess,
  ): Promise<() => Promise<void>> {
    switch (kind) {
      case 'kill-node':
      case 'kill-member':
        await target.kill();
        return async () => {
          // Somebody who keeps processes running may have been faster.
          if (target.state === 'ended') target.start();
        };
      case 'pause-node':
      case 'pause-member':
        target.pause();
        return async () => target.resume();
      case 'cut-node-from-etcd':
      case 'cut-node-from-member':
      case 'cut-node-from-peers':
      case 'cut-node':
      case 'cut-member':
      case 'cut-member-from-all':
        return this.#cut('cut', target.host, this.#othersOf(kind, place), direction);
      case 'lossy-node':
      case 'lossy-member':
        return this.#cut('lossy', target.host, this.#othersOf(kind, place), direction);
    }
  }

  /** The hosts that a cut of this kind takes away. */
  #othersOf(kind: CutKind, place: number): readonly Host[] {
    const { members, nodes } = this.#world;
    const hosts = (each: World['members'] | World['nodes']): readonly Host[] =>
      each.map(({ process }) => process.host);
    const otherMembers = hosts(members.filter((_, at) => at !== place));
    const otherNodes = hosts(nodes.filter((_, at) => at !== place));
    switch (kind) {
      case 'cut-node-from-etcd':
        return hosts(members);
      case 'cut-node-from-member':
        return hosts(members).slice(place, place + 1);
      case 'cut-node-from-peers':
        return otherNodes;
      case 'cut-node':
      case 'lossy-node':
        return [...hosts(members), ...otherNodes];
      case 'cut-member':
        return otherMembers;
      case 'cut-member-from-all':
      case 'lossy-member':
        return [...otherMembers, ...hosts(nodes)];
    }
  }

  async #cut(
    loss: Loss,
    target: Host,
    others: readonly Host[],
    direction: Direction,
  ): Promise<() => Promise<void>> {
    const own = this.#networkHost(target);
    const cuts = others.flatMap((other) => {
      const far = this.#networkHost(other);
      const both: (readonly [at: NetworkHost, from: NetworkHost])[] = [];
      if (direction !== 'out') both.push([own, far]);
      if (direction !== 'in') both.push([far, own]);
      return both;
    });
    await Promise.all(cuts.map(([at, from]) => at.lose(loss, from)));
    return async () => {
      await Promise.all(cuts.map(([at, from]) => at.heal(loss, from)));
    };
  }

  #networkHost({ name }: Host): NetworkHost {
    const found = this.#world.network?.find((host) => host.name === name);
    if (found === undefined) throw new RangeError('cuts need hosts in namespaces');
    return found;
  }

  async #placeOf(target: Target): Promise<number> {
    if (typeof target === 'number') return target;
    const { nodes } = this.#world;
    const led = await Promise.all(
      nodes.map(async ({ admin, process }) => {
        if (process.state !== 'running') return [];
        const status = await admin.status().catch(() => undefined);
        return status?.shards.filter(({ state }) => state === 'leading') ?? [];
      }),
    );
    const control = led.findIndex((shards) => shards.some(({ shardId }) => shardId === 0));
    if (target === 'control' && control >= 0) return control;
    const counts = led.map(({ length }) => length);
    return counts.indexOf(Math.max(...counts));
  }
}
