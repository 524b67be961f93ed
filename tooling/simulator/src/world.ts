/**
 * A run: three nodes of real parts over a simulated log, disks, network and clock, clients that
 * write and read meanwhile, and everything that the schedule does to them. Then all faults are
 * taken away, and the cluster has to become whole again.
 */
import { assert, codeOf, type KeyState, type LogEntry, type RaftEngine } from '@raftseal/interface';
import { kekInMemory } from '@raftseal/kek-memory';
import { type SimulatedCluster, simulatedCluster } from '@raftseal/raft-engine-simulated';
import { Random } from '@raftseal/rigs/random';
import { KekSet } from '@raftseal/server/composition';
import { Clients } from './clients.ts';
import { Network } from './network.ts';
import type { NodeProcess } from './node-process.ts';
import type { Plant } from './plants.ts';
import { takeOver } from './platform.ts';
import {
  type Action,
  type ActKind,
  faultKinds,
  type NodeId,
  nodeIds,
  type Schedule,
  type ShardId,
  shardIds,
} from './schedule.ts';
import { SealRecorder } from './seal-recorder.ts';
import { SimulatedNode } from './simulated-node.ts';
import { settled, VirtualClock } from './virtual-clock.ts';

/** Invariant 12. */
const RESUMED_WITHIN_MS = 10_000;
const LEVEL_WITHIN_MS = 60_000;
const POLL_MS = 20;
const EPOCH_MS = Date.UTC(2030, 0, 1);
/** The clocks of nodes differ by so much. */
const SKEW_MS = 40;
const PROBE_CLIENT = 1_000;
const OPERATOR_RETRY_MS = 100;

export class World {
  readonly cluster: SimulatedCluster;
  readonly clients: Clients;
  readonly clock: VirtualClock;
  readonly seals: SealRecorder = new SealRecorder();
  readonly nodes: ReadonlyMap<NodeId, SimulatedNode>;
  /** What was found wrong; each begins with what it is against. */
  readonly findings: string[] = [];
  readonly faults: Map<ActKind, number> = new Map();
  readonly appends: Map<string, number> = new Map();
  /** Of every node that was up at the end. */
  keyStates: readonly KeyState[] = [];
  /** By shard, what each replica held at the end. */
  readonly digests: string[] = [];
  readonly #schedule: Schedule;
  readonly #plant: Plant | undefined;
  readonly #random: Random;
  readonly #latencies: Random;
  readonly #network: Network<NodeProcess>;
  readonly #hasKeksTwice: { value: boolean } = { value: false };
  #wallOffsetMs = EPOCH_MS;
  #isHealing = false;

  /** Runs a schedule; the platform is the run's meanwhile. */
  static async run(schedule: Schedule, plant?: Plant): Promise<World> {
    const world = new World(schedule, plant);
    const restore = takeOver({
      clock: world.clock,
      wallClock: () => world.#wallClock(),
      random: new Random(schedule.seed, 'platform'),
      seals: world.seals,
    });
    const onRejection = (error: unknown): void => world.#unexpected('a promise', error);
    process.on('unhandledRejection', onRejection);
    try {
      await world.#live();
    } finally {
      await world.#end();
      restore();
      process.off('unhandledRejection', onRejection);
    }
    return world;
  }

  private constructor(schedule: Schedule, plant: Plant | undefined) {
    const { seed, isPipelined, bornSealed, thinkMs } = schedule;
    this.#schedule = schedule;
    this.#plant = plant;
    this.#random = new Random(seed, 'world');
    this.#latencies = new Random(seed, 'latencies');
    this.clock = new VirtualClock((error) => this.#unexpected('a task', error));
    this.cluster = simulatedCluster({
      seed,
      nodes: nodeIds,
      shards: shardIds,
      appendsInFlightMax: isPipelined ? 3 : 1,
      plantedFaults: plant?.engineFaults ?? [],
      // Outcomes of several appends come in order.
      schedule: (task) => void this.clock.after(isPipelined ? 0.5 : this.#latencyMs(), task),
    });
    this.#network = new Network({
      clock: this.clock,
      latencyMs: () => this.#latencyMs(),
      inReach: (nodeId) => {
        const node = this.nodes.get(nodeId as NodeId);
        return node?.isPaused || node?.isIsolated ? undefined : node?.process;
      },
    });
    const parts = {
      nodeIds,
      shardIds,
      network: this.#network,
      controlLeaderId: () => this.cluster.leader(0)?.nodeId,
      bornSealed,
      appendsInFlightMax: isPipelined ? 3 : 1,
      rotatedAfterDays: 90,
      plant,
      clock: this.clock,
    };
    const made = nodeIds.map((nodeId): [NodeId, SimulatedNode] => [
      nodeId,
      new SimulatedNode({
        nodeId,
        clock: this.clock,
        random: this.#random,
        cluster: this.cluster,
        diskLatencyMs: () => this.#latencyMs(),
        process: {
          ...parts,
          keks: this.#keks(),
          engine: (shardId) => this.#engine(nodeId, shardId),
        },
        mayFallBackTo: (indexes) => this.#mayFallBackTo(nodeId, indexes),
        onEnded: (ended) => this.clients.processEnded(ended),
        onHalt: (where, error) => this.#halted(where, error),
        onRefused: (where, error) => {
          this.findings.push(`invariant 6: ${where} does not start: ${describe(error)}`);
        },
      }),
    ]);
    this.nodes = new Map(made);
    this.clients = new Clients({
      clock: this.clock,
      random: new Random(seed, 'clients'),
      shardIds,
      thinkMs,
      processFor: (shardId) => this.#processFor(shardId),
    });
  }

  log(shardId: ShardId): readonly LogEntry[] {
    return this.cluster.log(shardId);
  }

  get entries(): number {
    return shardIds.map((shardId) => this.log(shardId).length).reduce((a, b) => a + b, 0);
  }

  /** Starts on old keys that were refused, as they have to be. */
  get refusedStarts(): number {
    const refused = [...this.nodes.values()].flatMap(({ refusals }) => [...refusals.values()]);
    return refused.reduce((sum, count) => sum + count, 0);
  }

  get processes(): readonly NodeProcess[] {
    return [...this.nodes.values()].flatMap(({ process: running }) => (running ? [running] : []));
  }

  async #live(): Promise<void> {
    for (const node of this.nodes.values()) node.start();
    this.clients.start(this.#schedule.clients);
    for (const action of this.#schedule.actions) {
      await this.clock.runFor(action.afterMs);
      this.#act(action);
      if (this.findings.length > 0) return;
    }
    await this.#heal();
  }

  /** The second phase: without faults everything is answered, level and sealed. */
  async #heal(): Promise<void> {
    this.#isHealing = true;
    for (const node of this.nodes.values()) this.#healNode(node);
    this.#landLate();
    void this.#operator(
      () => this.#areSealed,
      (process) => process.operations.enableEncryption(),
    );
    const resumed = new Set<ShardId>();
    for (const shardId of shardIds) void this.#probe(shardId, resumed);
    const isResumed = await this.#until(() => resumed.size === shardIds.length, RESUMED_WITHIN_MS);
    if (!isResumed) {
      this.#stuck(
        `invariant 12: no write was answered ${RESUMED_WITHIN_MS / 1000} s after the last fault`,
      );
      return;
    }
    this.clients.stop();
    if (!(await this.#until(() => this.#isLevel, LEVEL_WITHIN_MS))) {
      this.#stuck(
        `invariant 12: the cluster is not whole ${LEVEL_WITHIN_MS / 1000} s after the last fault`,
      );
      return;
    }
    await this.#readAll();
    await this.#digestAll();
  }

  #act(action: Action): void {
    if (faultKinds.has(action.kind)) this.#count(action.kind);
    const { cluster } = this;
    switch (action.kind) {
      case 'crash':
        return this.#crash(action);
      case 'pause':
        return this.#pause(action.node, action.forMs);
      case 'partition':
        return this.#partition(action.node, action.forMs);
      case 'hold delivery': {
        const replica = { nodeId: action.node, shardId: action.shard };
        cluster.holdDelivery(replica);
        this.clock.after(action.forMs, () => cluster.releaseDelivery(replica));
        return;
      }
      case 'delay delivery':
        return cluster.delayDelivery({ nodeId: action.node, shardId: action.shard }, action.steps);
      case 'append fault': {
        const leader = cluster.leader(action.shard);
        if (leader) cluster.faultNextAppend({ ...leader, shardId: action.shard }, action.fault);
        return;
      }
      case 'land late':
        return this.#landLate();
      case 'depose':
        return cluster.depose(action.shard);
      case 'elect':
        if (this.#node(action.node).isUp) {
          cluster.elect({ nodeId: action.node, shardId: action.shard });
        }
        return;
      case 'clock jump':
        this.#wallOffsetMs += action.byMs;
        return;
      default:
        return this.#operate(action);
    }
  }

  /** What an operator, or the node itself, does. */
  #operate(action: Action): void {
    switch (action.kind) {
      case 'copy disk':
        return this.#node(action.node).copyDisk();
      case 'flush store': {
        const shard = this.#node(action.node).process?.shards[action.shard];
        shard?.kv.flush().catch(() => undefined);
        return;
      }
      case 'truncate':
        return this.#truncate(action.shard);
      case 'enable encryption':
        void this.#operator(
          () => this.#isHealing || this.#areSealed,
          (process) => process.operations.enableEncryption(action.waves),
        );
        return;
      case 'rotate':
        return this.#once((process) => process.operations.rotate(action.purpose));
      case 'rewrap':
        this.#hasKeksTwice.value = true;
        return this.#once((process) => process.operations.rewrap());
      default:
        throw new Error(`${action.kind} is no operation`);
    }
  }

  #crash({ node: nodeId, isPowerCut, found, forMs }: Action & { readonly kind: 'crash' }): void {
    const node = this.#node(nodeId);
    if (!node.isUp) return;
    node.crash(isPowerCut);
    if (this.#isHealing) return;
    node.putDisk(found);
    this.clock.after(forMs, () => node.start());
  }

  #pause(nodeId: NodeId, forMs: number): void {
    const node = this.#node(nodeId);
    if (!node.isUp || node.isPaused) return;
    node.isPaused = true;
    this.cluster.pause(nodeId);
    const { process: paused } = node;
    this.clock.after(forMs, () => {
      if (node.process !== paused) return;
      node.isPaused = false;
      this.cluster.resume(nodeId);
    });
  }

  #partition(nodeId: NodeId, forMs: number): void {
    const node = this.#node(nodeId);
    if (!node.isUp || node.isIsolated) return;
    node.isIsolated = true;
    this.cluster.partition(nodeId);
    const { process: isolated } = node;
    this.clock.after(forMs, () => {
      if (node.process !== isolated) return;
      node.isIsolated = false;
      this.cluster.heal(nodeId);
    });
  }

  #healNode(node: SimulatedNode): void {
    const { nodeId } = node;
    node.isPaused = false;
    node.isIsolated = false;
    this.cluster.resume(nodeId);
    this.cluster.heal(nodeId);
    for (const shardId of shardIds) {
      this.cluster.delayDelivery({ nodeId, shardId }, 0);
      this.cluster.releaseDelivery({ nodeId, shardId });
    }
    node.start();
  }

  #landLate(): void {
    for (const [nodeId, node] of this.nodes) {
      if (!node.isUp) continue;
      for (const shardId of shardIds) this.cluster.landLateAppends({ nodeId, shardId });
    }
  }

  /** As far as two disks have it, so that nothing is lost with one of them. */
  #truncate(shardId: ShardId): void {
    const [, second = 0n] = [...this.nodes.values()]
      .map(({ durableIndexes }) => durableIndexes[shardId] ?? 0n)
      .sort((a, b) => (a < b ? 1 : -1));
    const leaderId = this.cluster.leader(shardId)?.nodeId;
    const shard = this.nodes.get(leaderId as NodeId)?.process?.shards[shardId];
    void shard?.truncate(second - 1n);
  }

  /** Some other disk has everything that the log has not any more. */
  #mayFallBackTo(nodeId: NodeId, durableIndexes: readonly bigint[]): boolean {
    return shardIds.every((shardId) => {
      const first = this.#firstIndexes.get(shardId) ?? 1n;
      const ownEnough = (durableIndexes[shardId] ?? 0n) + 1n >= first;
      const others = [...this.nodes.values()].filter((other) => other.nodeId !== nodeId);
      return (
        ownEnough || others.some((other) => (other.durableIndexes[shardId] ?? 0n) + 1n >= first)
      );
    });
  }

  readonly #firstIndexes = new Map<ShardId, bigint>();

  /** Asks whoever leads the control shard, until it is done. */
  async #operator(
    isDone: () => boolean,
    ask: (process: NodeProcess) => Promise<unknown>,
  ): Promise<void> {
    while (!isDone()) {
      const leading = this.#leading(0);
      if (leading) await this.#asked(leading, ask);
      await this.clock.sleep(OPERATOR_RETRY_MS);
    }
  }

  #once(ask: (process: NodeProcess) => Promise<unknown>): void {
    const leading = this.#leading(0);
    if (leading) void this.#asked(leading, ask);
  }

  /** Whatever is refused is refused with a code. Nobody waits for a process that is gone. */
  async #asked(asked: NodeProcess, ask: (process: NodeProcess) => Promise<unknown>): Promise<void> {
    const isGone = async (): Promise<void> => {
      while (this.processes.includes(asked)) await this.clock.sleep(OPERATOR_RETRY_MS);
    };
    const answered = ask(asked).catch((error: unknown) => {
      if (codeOf(error)?.startsWith('RAFTSEAL_') || !this.processes.includes(asked)) return;
      this.#unexpected('an operation', error);
    });
    await Promise.race([answered, isGone()]);
  }

  async #probe(shardId: ShardId, resumed: Set<ShardId>): Promise<void> {
    const [counter = ''] = this.clients.keysOf(shardId);
    while (!resumed.has(shardId)) {
      const isDone = await this.clients.perform(PROBE_CLIENT + shardId, shardId, [
        ['INCR', counter],
      ]);
      if (isDone) resumed.add(shardId);
      else await this.clock.sleep(POLL_MS);
    }
  }

  async #until(condition: () => boolean, withinMs: number): Promise<boolean> {
    const untilMs = this.clock.nowMs + withinMs;
    while (!condition()) {
      if (this.findings.length > 0 || this.clock.nowMs >= untilMs) return condition();
      await this.clock.runFor(POLL_MS);
    }
    return true;
  }

  /** Every shard is led, every log applied everywhere, and everybody was answered. */
  get #isLevel(): boolean {
    const { processes } = this;
    return (
      processes.length === nodeIds.length &&
      this.clients.waiting === 0 &&
      this.#areSealed &&
      shardIds.every((shardId) => {
        const headIndex = BigInt(this.log(shardId).length);
        const isApplied = ({ shards }: NodeProcess): boolean =>
          shards[shardId]?.group.appliedIndex === headIndex;
        return this.#leading(shardId) !== undefined && processes.every(isApplied);
      }) &&
      processes.every(({ isReady }) => isReady)
    );
  }

  get #areSealed(): boolean {
    const { processes } = this;
    return (
      processes.length > 0 &&
      processes.every(({ shards }) => shards.every(({ group }) => group.wrap.kind === 'sealed'))
    );
  }

  /** What clients can read at the end ends their history. */
  async #readAll(): Promise<void> {
    for (const shardId of shardIds) {
      for (const key of this.clients.keysOf(shardId)) {
        const command = this.clients.readerOf(key);
        const read = (): Promise<boolean> => this.clients.perform(PROBE_CLIENT, shardId, [command]);
        while (this.findings.length === 0 && !(await this.#settled(read()))) {
          await this.clock.runFor(POLL_MS);
        }
      }
    }
  }

  async #digestAll(): Promise<void> {
    for (const { nodeId, shards } of this.processes) {
      for (const { shardId, kv } of shards) {
        const found = await this.#settled(kv.digest());
        if (!found) return this.#stuck(`invariant 9: no digest of shard ${shardId} at ${nodeId}`);
        this.digests.push(`shard ${shardId}: ${found.index} ${found.digest}`);
        const { rowsCleartext } = kv.statistics();
        if (rowsCleartext > 0) {
          this.findings.push(
            `invariant 10: ${rowsCleartext} rows of shard ${shardId} at ${nodeId} are in the clear`,
          );
        }
      }
    }
  }

  /** Runs until a promise settles; undefined where it does not, or rejects. */
  async #settled<Result>(promise: Promise<Result>): Promise<Result | undefined> {
    let result: { readonly value: Result } | undefined;
    let isOver = false;
    promise.then(
      (value) => {
        result = { value };
        isOver = true;
      },
      (error: unknown) => {
        isOver = true;
        this.#unexpected('a call at the end', error);
      },
    );
    await Promise.resolve();
    await this.#until(() => isOver, LEVEL_WITHIN_MS);
    return result?.value;
  }

  async #end(): Promise<void> {
    this.clients.stop();
    this.keyStates = this.processes.map(({ keys }) => keys.state);
    for (const node of this.nodes.values()) node.crash(false);
    // What is left of the processes comes to rest on the clock of this run, which goes on no more.
    await settled();
  }

  #processFor(shardId: number): NodeProcess | undefined {
    const leaderId = this.cluster.leader(shardId)?.nodeId;
    const nodeId = leaderId !== undefined && this.#random.chance(0.9) ? leaderId : undefined;
    const node = this.nodes.get((nodeId ?? this.#random.pick(nodeIds)) as NodeId);
    return node?.process;
  }

  #leading(shardId: ShardId): NodeProcess | undefined {
    return this.processes.find(({ shards }) => shards[shardId]?.group.isReadable === true);
  }

  /** Outcomes of appends are counted. */
  #engine(nodeId: NodeId, shardId: number): RaftEngine {
    const engine = this.cluster.engine(nodeId, shardId);
    const { appends } = this;
    const plant = this.#plant;
    return {
      limits: engine.limits,
      elect: (signal, candidacy) => engine.elect(signal, candidacy),
      append: async (request) => {
        const outcome = await engine.append(request);
        appends.set(outcome.outcome, (appends.get(outcome.outcome) ?? 0) + 1);
        if (outcome.outcome !== 'done') plant?.onNotAppended?.(nodeId);
        return outcome;
      },
      read: (request) => engine.read(request),
      bounds: () => engine.bounds(),
      truncate: async (throughIndex) => {
        await engine.truncate(throughIndex);
        const first = throughIndex + 1n;
        const known = this.#firstIndexes.get(shardId as ShardId) ?? 1n;
        if (first > known) this.#firstIndexes.set(shardId as ShardId, first);
      },
      members: () => engine.members(),
      close: () => engine.close(),
    };
  }

  #keks(): KekSet {
    const provider = (name: string, byte: number) =>
      kekInMemory({ kek: Buffer.alloc(32, byte), kekUri: `memory:${name}` });
    void this.#hasKeksTwice;
    return KekSet.of(provider('one', 1), provider('two', 2));
  }

  /** Mostly short; now and then something takes long. */
  #latencyMs(): number {
    const random = this.#latencies;
    const fraction = random.fraction();
    return random.chance(0.03) ? fraction * 60 : fraction * 1.5;
  }

  #wallClock(): number {
    return Math.floor(this.#wallOffsetMs + this.clock.nowMs + this.#latencies.fraction() * SKEW_MS);
  }

  #node(nodeId: NodeId): SimulatedNode {
    const node = this.nodes.get(nodeId);
    assert(node, `there is a node ${nodeId}`);
    return node;
  }

  #halted(where: string, error: unknown): void {
    this.findings.push(`invariant 6: ${where} halted: ${describe(error)}`);
  }

  #unexpected(where: string, error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.findings.push(`uncaught: ${where}: ${text}`);
  }

  #stuck(finding: string): void {
    if (this.findings.length > 0) return;
    const states = this.processes.map(({ nodeId, shards, isReady }) => {
      const groups = shards.map(
        ({ group }) => `${group.state} ${group.appliedIndex} ${group.wrap.kind}`,
      );
      return `${nodeId}${isReady ? '' : ' (starting)'}: ${groups.join(', ')}`;
    });
    const heads = shardIds.map((id) => this.log(id).length).join(', ');
    this.findings.push(
      `${finding}: ${states.join('; ')}; heads ${heads}; ${this.clients.waiting} wait`,
    );
  }

  #count(kind: ActKind): void {
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? ` <- ${error.cause.message}` : '';
  return `${codeOf(error) ?? error.name}: ${error.message}${cause}`;
}
