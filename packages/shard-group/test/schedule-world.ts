/**
 * Three replicas of a shard whose every event is put in order by a seed: tasks of the simulated
 * engine and timers of the groups run one at a time, and each is drawn. The same schedule is the
 * same run, to the byte.
 */
import { assert, type LogEntry, type RaftsealError } from '@raftseal/interface';
import {
  type PlantedFault,
  type SimulatedCluster,
  simulatedCluster,
} from '@raftseal/raft-engine-simulated';
import { vi } from 'vitest';
import type { ShardGroupOptions } from '../src/index.ts';
import type { Appended } from './list-machine.ts';
import { Replica, ReplicaDisk } from './replica.ts';
import { type Action, type NodeActionKind, nodeIds, type Schedule } from './schedule-actions.ts';

/** One write of a client, as the client saw it. Times count events. */
export interface Operation {
  readonly key: string;
  readonly value: string;
  readonly startedAt: number;
  /** Undefined where the client got no answer: the node was gone first. */
  endedAt?: number;
  /** The result, or the code of the refusal. */
  reply?: Appended | string;
}

export interface WorldOptions {
  readonly plantedFaults?: readonly PlantedFault[];
  readonly appendsInFlightMax?: number;
  /** A node whose installer does nothing. */
  readonly withoutInstaller?: string;
}

const STEPS_MAX = 6000;
/** Clients go on writing: a leader that an engine misinforms learns of it from its next append. */
const WRITE_STEPS = 300;
const realSetImmediate = setImmediate;

export class ScheduleWorld {
  readonly cluster: SimulatedCluster;
  /** Everything that clients asked for, in that order. */
  readonly operations: Operation[] = [];
  readonly nonces: string[] = [];
  /** Everything that halted although its engine was not taken away. */
  readonly halts: RaftsealError[] = [];
  /** As they are at the end. */
  replicas: readonly Replica[] = [];
  /** Some process may have started without entries to replay. */
  hasFlushed = false;
  readonly #options: WorldOptions;
  readonly #draw: (bound: number) => number;
  readonly #tasks: (() => void)[] = [];
  readonly #disks = new Map(nodeIds.map((nodeId) => [nodeId, new ReplicaDisk()]));
  readonly #live = new Map<string, Replica>();
  readonly #stopping = new Set<Replica>();
  readonly #cuttingOver = new Set<Replica>();
  readonly #pending = new Map<Operation, Replica>();
  #now = 0;
  #clockMs = 1_700_000_000_000;
  #cutoverAsked = false;
  #lastDekId = 7;

  constructor(seed: number, options: WorldOptions) {
    this.#options = options;
    this.#draw = drawer(seed);
    const { appendsInFlightMax = 1 } = options;
    this.cluster = simulatedCluster({
      seed,
      nodes: nodeIds,
      shards: [0],
      appendsInFlightMax,
      plantedFaults: options.plantedFaults ?? [],
      schedule: (task) => this.#tasks.push(task),
    });
    for (const nodeId of nodeIds) this.#start(nodeId);
  }

  /** Runs a schedule, takes all faults away, and waits until writes are answered again. */
  static async run(schedule: Schedule, options: WorldOptions = {}): Promise<ScheduleWorld> {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate'] });
    const world = new ScheduleWorld(schedule.seed, options);
    try {
      for (const action of schedule.actions) await world.#act(action);
      await world.#recover();
      return world;
    } finally {
      for (const nodeId of nodeIds) world.#crash(nodeId);
      vi.useRealTimers();
    }
  }

  get log(): readonly LogEntry[] {
    return this.cluster.log(0);
  }

  async #act(action: Action): Promise<void> {
    if ('node' in action) return await this.#actOn(action.kind, action.node);
    switch (action.kind) {
      case 'run':
        for (let step = 0; step < action.steps; step++) await this.#step();
        return;
      case 'propose':
        for (let at = 0; at < action.count; at++) this.#propose(action.to, action.key);
        return;
      case 'fault': {
        const leader = this.cluster.leader(0);
        if (leader) this.cluster.faultNextAppend({ ...leader, shardId: 0 }, action.fault);
        return;
      }
      case 'depose':
        return this.cluster.depose(0);
      case 'cutover':
        this.#cutoverAsked = true;
        return this.#leadCutover();
      case 'rotate':
        return this.#rotate();
      case 'landLate':
        return this.#landLate();
    }
  }

  async #actOn(kind: NodeActionKind, nodeId: string): Promise<void> {
    const replica = { nodeId, shardId: 0 };
    const live = this.#live.get(nodeId);
    if (kind === 'restart') return this.#restart(nodeId);
    if (!live) return;
    if (kind === 'elect') this.cluster.elect(replica);
    if (kind === 'pause') this.cluster.pause(nodeId);
    if (kind === 'resume') this.cluster.resume(nodeId);
    if (kind === 'partition') this.cluster.partition(nodeId);
    if (kind === 'heal') this.cluster.heal(nodeId);
    if (kind === 'crash') this.#crash(nodeId);
    if (kind === 'stop') this.#stop(nodeId, live);
    if (kind === 'hold') this.cluster.holdDelivery(replica);
    if (kind === 'release') this.cluster.releaseDelivery(replica);
    if (kind === 'delay') this.cluster.delayDelivery(replica, this.#draw(8));
    if (kind === 'flush') {
      this.hasFlushed = true;
      await live.machine.flush();
    }
  }

  #landLate(): void {
    for (const nodeId of this.#live.keys()) this.cluster.landLateAppends({ nodeId, shardId: 0 });
  }

  #start(nodeId: string): void {
    const disk = this.#disks.get(nodeId);
    assert(disk, 'every node has a disk');
    const { appendsInFlightMax = 1, withoutInstaller } = this.#options;
    const limits: Partial<ShardGroupOptions> = { appendsInFlightMax, batchCommandsMax: 3 };
    const replica = new Replica(this.cluster, {
      ...limits,
      nodeId,
      disk,
      writerId: nodeIds.indexOf(nodeId) + 1,
      clock: () => this.#clock(),
      onNonce: (nonce) => this.nonces.push(nonce),
    });
    replica.installs = nodeId !== withoutInstaller;
    this.#live.set(nodeId, replica);
    replica.start().catch(() => undefined);
  }

  #restart(nodeId: string): void {
    if (this.#live.has(nodeId)) return;
    this.cluster.restart(nodeId);
    this.#start(nodeId);
  }

  #crash(nodeId: string): void {
    const replica = this.#live.get(nodeId);
    if (!replica) return;
    this.#noteHalts(replica);
    replica.keys.ended = true;
    this.#live.delete(nodeId);
    this.#cuttingOver.delete(replica);
    this.#stopping.delete(replica);
    for (const [operation, owner] of this.#pending) {
      if (owner === replica) this.#pending.delete(operation);
    }
    this.cluster.crash(nodeId);
  }

  /** A process that stopped is gone, unless it crashed before. */
  #stop(nodeId: string, replica: Replica): void {
    if (this.#stopping.has(replica)) return;
    this.#stopping.add(replica);
    void replica.group.stop().then(() => {
      if (this.#stopping.has(replica)) this.#crash(nodeId);
    });
  }

  #noteHalts({ halts }: Replica): void {
    this.halts.push(...halts);
  }

  #propose(to: string, key: string): void {
    const nodeId = to === 'leader' ? this.cluster.leader(0)?.nodeId : to;
    const replica = this.#live.get(nodeId ?? '');
    if (!replica) return;
    const value = `${this.operations.length}`;
    const operation: Operation = { key, value, startedAt: this.#now };
    this.operations.push(operation);
    this.#pending.set(operation, replica);
    void replica.propose(`${key}=${value}`).then((reply) => {
      // A process that is gone answers nobody.
      if (!this.#pending.delete(operation)) return;
      operation.reply = reply;
      operation.endedAt = this.#now;
    });
  }

  #rotate(): void {
    const leading = this.#leading();
    if (!leading) return;
    this.#lastDekId += 1;
    leading.proposeKeys(`rotate ${this.#lastDekId}`).catch(() => undefined);
  }

  #leading(): Replica | undefined {
    return [...this.#live.values()].find(({ group }) => group.state === 'leading');
  }

  /** Whoever leads a shard that was asked to be cut over, and is not, proposes the marker. */
  #leadCutover(): void {
    if (!this.#cutoverAsked) return;
    for (const replica of this.#live.values()) {
      const { state, wrap } = replica.group;
      if (state !== 'leading' || wrap.kind === 'sealed') continue;
      if (!replica.installs && this.log.some(isMarker)) continue;
      if (this.#cuttingOver.has(replica)) continue;
      this.#cuttingOver.add(replica);
      const done = (): void => void this.#cuttingOver.delete(replica);
      replica.cutOver().then(done, done);
    }
  }

  /** Runs one task or timer, drawn from all that are ready, and what follows from it at once. */
  async #step(): Promise<void> {
    this.#now += 1;
    const timers = vi.getTimerCount();
    if (timers > 0 && (this.#tasks.length === 0 || this.#draw(3) === 0)) {
      vi.advanceTimersToNextTimer();
    } else {
      // With several appends in flight the port asks for outcomes in order.
      const inOrder = (this.#options.appendsInFlightMax ?? 1) > 1;
      const at = inOrder ? 0 : this.#draw(Math.max(1, this.#tasks.length));
      const [task] = this.#tasks.splice(at, 1);
      task?.();
    }
    await new Promise((resolve) => realSetImmediate(resolve));
    this.#leadCutover();
  }

  async #recover(): Promise<void> {
    this.#cutoverAsked = true;
    await this.#until(() => this.#healAll());
    await this.#until(() => this.#isSettled() && this.#cuttingOver.size === 0);
    for (let at = 0; at < 2; at++) {
      this.#propose('leader', 'z');
      await this.#until(() => this.#isSettled());
    }
    this.replicas = [...this.#live.values()];
    for (const replica of this.replicas) this.#noteHalts(replica);
  }

  /** @returns true once every node runs */
  #healAll(): boolean {
    for (const nodeId of nodeIds) {
      const replica = { nodeId, shardId: 0 };
      this.cluster.resume(nodeId);
      this.cluster.heal(nodeId);
      this.#restart(nodeId);
      this.cluster.delayDelivery(replica, 0);
      this.cluster.releaseDelivery(replica);
    }
    this.#landLate();
    return this.#stopping.size === 0;
  }

  /** Somebody leads, seals and has answered everything, and all replicas have applied the log. */
  #isSettled(): boolean {
    const headIndex = BigInt(this.log.length);
    const replicas = [...this.#live.values()];
    if (replicas.some(({ group }) => group.state === 'halted')) return true;
    return (
      this.#leading()?.group.wrap.kind === 'sealed' &&
      replicas.length === nodeIds.length &&
      replicas.every(({ group }) => group.appliedIndex === headIndex) &&
      this.#pending.size === 0
    );
  }

  async #until(condition: () => boolean): Promise<void> {
    for (let steps = 0; !condition(); steps++) {
      if (steps > STEPS_MAX)
        throw new Error(`not live, ${steps} steps after the last fault: ${this.#report()}`);
      if (steps % WRITE_STEPS === WRITE_STEPS - 1) this.#propose('leader', 'z');
      await this.#step();
    }
  }

  /** Where things stand, for the message of a failure. */
  #report(): string {
    const replicas = [...this.#live.values()].map(({ nodeId, group, halts }) => {
      return `${nodeId} ${group.state} ${group.appliedIndex} ${group.wrap.kind} ${halts.map(({ code }) => code).join()}`;
    });
    const leader = this.cluster.leader(0)?.nodeId ?? 'nobody';
    return `${replicas.join(', ')}; ${leader} leads, head ${this.log.length}, ${this.#pending.size} wait`;
  }

  /** Clocks of nodes differ and jump, also backwards. */
  #clock(): number {
    this.#clockMs += this.#draw(200) - 90;
    return this.#clockMs;
  }
}

export function isMarker({ payload }: LogEntry): boolean {
  return Buffer.from(payload).toString('latin1') === 'CKmarker';
}

/** mulberry32: whole numbers below a bound, the same for the same seed. */
function drawer(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}
