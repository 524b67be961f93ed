/**
 * A run: three nodes of real parts over a simulated log, disks, network and clock, clients that
 * write and read meanwhile, and everything that the schedule does to them. Then all faults are
 * taken away, and the cluster has to become whole again.
 */
import { codeOf, type KeyState, type LogEntry, type RaftEngine } from '@raftseal/interface';
import type { KvDigest } from '@raftseal/kv';
import { type SimulatedCluster, simulatedCluster } from '@raftseal/raft-engine-simulated';
import { Random } from '@raftseal/rigs/random';
import { Clients } from './clients.ts';
import { Nemesis } from './nemesis.ts';
import { Network } from './network.ts';
import type { NodeProcess } from './node-process.ts';
import { Operator } from './operator.ts';
import type { Plant } from './plants.ts';
import { takeOver } from './platform.ts';
import { type NodeId, nodeIds, type Schedule, type ShardId, shardIds } from './schedule.ts';
import { SealRecorder } from './seal-recorder.ts';
import { SimulatedNode, type SimulatedNodeParts } from './simulated-node.ts';
import { settled, VirtualClock } from './virtual-clock.ts';

/** Invariant 12. */
const RESUMED_WITHIN_MS = 10_000;
const LEVEL_WITHIN_MS = 60_000;
const POLL_MS = 20;
const EPOCH_MS = Date.UTC(2030, 0, 1);
/** The clocks of nodes differ by so much. */
const SKEW_MS = 40;
/** Clients that are no clients of the schedule. */
const PROBE_CLIENT = 1_000;
/** Of a hundred requests, how many go to who leads. */
const KNOWING_PERCENT = 90;
/** Of several appends under way, outcomes come in order. */
const PIPELINED_LATENCY_MS = 0.5;
const APPENDS_PIPELINED = 3;

export class World {
  readonly clock: VirtualClock;
  readonly clients: Clients;
  readonly seals: SealRecorder = new SealRecorder();
  readonly nemesis: Nemesis;
  snapshots = 0;
  /** What was found wrong; each begins with what it is against. */
  readonly findings: string[] = [];
  /** Of every node that was up at the end. */
  keyStates: readonly KeyState[] = [];
  /** By shard, what each replica held at the end. */
  readonly digests: string[] = [];
  readonly #schedule: Schedule;
  readonly #plant: Plant | undefined;
  readonly #random: Random;
  readonly #latencies: Random;
  readonly #cluster: SimulatedCluster;
  readonly #nodes: ReadonlyMap<NodeId, SimulatedNode>;
  readonly #operator: Operator;
  /** Of each log, as far as it was truncated. */
  readonly #firstIndexes = new Map<number, bigint>();
  #wallOffsetMs = EPOCH_MS;

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
    const { seed, isPipelined, thinkMs } = schedule;
    this.#schedule = schedule;
    this.#plant = plant;
    this.#random = new Random(seed, 'world');
    this.#latencies = new Random(seed, 'latencies');
    this.clock = new VirtualClock((error) => this.#unexpected('a task', error));
    const { clock } = this;
    const cluster = simulatedCluster({
      seed,
      nodes: nodeIds,
      shards: shardIds,
      appendsInFlightMax: isPipelined ? APPENDS_PIPELINED : 1,
      plantedFaults: plant?.engineFaults ?? [],
      schedule: (task) =>
        void clock.after(isPipelined ? PIPELINED_LATENCY_MS : this.#latencyMs(), task),
    });
    this.#cluster = cluster;
    const operator = new Operator({
      clock,
      processes: () => this.processes,
      areSealed: () => this.#areSealed,
      onUncoded: (error) => this.#unexpected('an operation', error),
    });
    this.#operator = operator;
    const nodes = this.#makeNodes();
    this.#nodes = nodes;
    const jumpClock = (byMs: number): void => {
      this.#wallOffsetMs += byMs;
    };
    this.nemesis = new Nemesis({ cluster, clock, nodes, operator, jumpClock });
    this.clients = new Clients({
      clock,
      random: new Random(seed, 'clients'),
      shardIds,
      thinkMs,
      processFor: (shardId) => this.#processFor(shardId),
    });
  }

  log(shardId: ShardId): readonly LogEntry[] {
    return this.#cluster.log(shardId);
  }

  get entries(): number {
    return shardIds.reduce<number>((sum, shardId) => sum + this.log(shardId).length, 0);
  }

  /** Starts that were refused as they have to be: on old keys, or without a log. */
  get refusedStarts(): number {
    const refused = [...this.#nodes.values()].flatMap(({ refusals }) => [...refusals.values()]);
    return refused.reduce((sum, count) => sum + count, 0);
  }

  get starts(): number {
    return [...this.#nodes.values()].reduce((sum, { starts }) => sum + starts, 0);
  }

  get processes(): readonly NodeProcess[] {
    return [...this.#nodes.values()].flatMap(({ process: running }) => (running ? [running] : []));
  }

  async #live(): Promise<void> {
    for (const node of this.#nodes.values()) node.start();
    this.clients.start(this.#schedule.clients);
    for (const action of this.#schedule.actions) {
      await this.clock.runFor(action.afterMs);
      this.nemesis.act(action);
      if (this.findings.length > 0) return;
    }
    await this.#heal();
  }

  /** The second phase: without faults everything is answered, level and sealed. */
  async #heal(): Promise<void> {
    this.nemesis.heal();
    void this.#operator.enableEncryption();
    const resumed = new Set<ShardId>();
    for (const shardId of shardIds) void this.#probe(shardId, resumed);
    const haveResumed = (): boolean => resumed.size === shardIds.length;
    if (!(await this.#until(haveResumed, RESUMED_WITHIN_MS))) {
      return this.#stuck(`no write was answered on a shard within ${RESUMED_WITHIN_MS} ms`);
    }
    this.clients.stop();
    if (!(await this.#until(() => this.#isLevel, LEVEL_WITHIN_MS))) {
      return this.#stuck(`the cluster is not whole within ${LEVEL_WITHIN_MS} ms`);
    }
    await this.#readAll();
    await this.#digestAll();
  }

  async #end(): Promise<void> {
    this.clients.stop();
    this.#operator.end();
    this.keyStates = this.processes.map(({ keys }) => keys.state);
    for (const node of this.#nodes.values()) node.crash(false);
    // What is left of the processes comes to rest on the clock of this run, which goes on no more.
    await settled();
  }

  async #probe(shardId: ShardId, resumed: Set<ShardId>): Promise<void> {
    const [counter = ''] = this.clients.keysOf(shardId);
    const client = PROBE_CLIENT + shardId;
    while (!(await this.clients.perform(client, shardId, [['INCR', counter]]))) {
      await this.clock.sleep(POLL_MS);
    }
    resumed.add(shardId);
  }

  /** What clients can read at the end ends their history. */
  async #readAll(): Promise<void> {
    for (const shardId of shardIds) {
      for (const command of this.clients.readersOf(shardId)) {
        const read = (): Promise<boolean> => this.clients.perform(PROBE_CLIENT, shardId, [command]);
        while (this.findings.length === 0 && !(await this.#answer(read()))) {
          await this.clock.runFor(POLL_MS);
        }
      }
    }
  }

  async #digestAll(): Promise<void> {
    for (const shardId of shardIds) {
      const untilMs = this.clock.nowMs + LEVEL_WITHIN_MS;
      let digests = await this.#digestsOf(shardId);
      // What a node has asked for on its own may be appended meanwhile.
      while (new Set(digests.map(({ index }) => index)).size > 1 && this.clock.nowMs < untilMs) {
        await this.#until(() => this.#isLevel, LEVEL_WITHIN_MS);
        digests = await this.#digestsOf(shardId);
      }
      for (const { index, digest } of digests)
        this.digests.push(`shard ${shardId}: ${index} ${digest}`);
    }
    for (const { nodeId, shards } of this.processes) {
      for (const { shardId, kv } of shards) {
        const { rowsCleartext } = kv.statistics();
        if (rowsCleartext === 0) continue;
        const where = `shard ${shardId} at ${nodeId}`;
        this.findings.push(`invariant 10: ${rowsCleartext} rows of ${where} are in the clear`);
      }
    }
  }

  async #digestsOf(shardId: ShardId): Promise<readonly KvDigest[]> {
    const digests: KvDigest[] = [];
    for (const { shards } of this.processes) {
      const kv = shards[shardId]?.kv;
      const found = kv && (await this.#answer(kv.digest()));
      if (found) digests.push(found);
    }
    return digests;
  }

  /** Every shard is led, every log applied everywhere, and everybody was answered. */
  get #isLevel(): boolean {
    const { processes } = this;
    const isWell = ({ isReady, isRegistered }: NodeProcess): boolean => isReady && isRegistered;
    const isWhole = processes.length === nodeIds.length && processes.every(isWell);
    if (!isWhole || this.clients.waiting > 0 || !this.#areSealed) return false;
    return shardIds.every((shardId) => {
      const headIndex = BigInt(this.log(shardId).length);
      const groups = processes.flatMap(({ shards }) => shards[shardId]?.group ?? []);
      const isLed = groups.some(({ isReadable }) => isReadable);
      return isLed && groups.every(({ appliedIndex }) => appliedIndex === headIndex);
    });
  }

  get #areSealed(): boolean {
    const groups = this.processes.flatMap(({ shards }) => shards.map(({ group }) => group));
    return groups.length > 0 && groups.every(({ wrap }) => wrap.kind === 'sealed');
  }

  async #until(condition: () => boolean, withinMs: number): Promise<boolean> {
    const untilMs = this.clock.nowMs + withinMs;
    while (!condition()) {
      if (this.findings.length > 0 || this.clock.nowMs >= untilMs) return condition();
      await this.clock.runFor(POLL_MS);
    }
    return true;
  }

  /** Runs until a promise settles; undefined where it does not, or rejects. */
  async #answer<Result>(promise: Promise<Result>): Promise<Result | undefined> {
    let result: Result | undefined;
    let isOver = false;
    promise
      .then((value) => {
        result = value;
      })
      .catch((error: unknown) => this.#unexpected('a call at the end', error))
      .finally(() => {
        isOver = true;
      });
    await settled();
    await this.#until(() => isOver, LEVEL_WITHIN_MS);
    return result;
  }

  #makeNodes(): ReadonlyMap<NodeId, SimulatedNode> {
    const { clock } = this;
    const { bornSealed, isPipelined } = this.#schedule;
    const inReach = (nodeId: string): NodeProcess | undefined => {
      const node = this.#nodes.get(nodeId as NodeId);
      return node?.isPaused || node?.isIsolated ? undefined : node?.process;
    };
    const latencyMs = (): number => this.#latencyMs();
    const network = new Network<NodeProcess>({ clock, latencyMs, inReach });
    const partsOf = (nodeId: NodeId): SimulatedNodeParts => ({
      nodeId,
      clock,
      random: this.#random,
      cluster: this.#cluster,
      diskLatencyMs: latencyMs,
      kekUris: () => this.#operator.kekUris,
      process: {
        nodeIds,
        shardIds,
        network,
        clock,
        bornSealed,
        plant: this.#plant,
        appendsInFlightMax: isPipelined ? APPENDS_PIPELINED : 1,
        onRestored: () => this.snapshots++,
        controlLeaderId: () => this.#cluster.leader(0)?.nodeId,
        engine: (shardId) => this.#engine(nodeId, shardId),
      },
      mayFallBackTo: (durableIndexes) => this.#mayFallBackTo(nodeId, durableIndexes),
      onEnded: (ended) => this.clients.processEnded(ended),
      onHalt: (where, error) => {
        this.findings.push(`invariant 6: ${where} halted: ${describe(error)}`);
      },
      onRefused: (where, error) => {
        this.findings.push(`invariant 6: ${where} does not start: ${describe(error)}`);
      },
    });
    return new Map(nodeIds.map((nodeId) => [nodeId, new SimulatedNode(partsOf(nodeId))]));
  }

  /** The engine of a node, watched. */
  #engine(nodeId: NodeId, shardId: number): RaftEngine {
    const engine = this.#cluster.engine(nodeId, shardId);
    const firstIndexes = this.#firstIndexes;
    const plant = this.#plant;
    return {
      limits: engine.limits,
      elect: (signal, candidacy) => engine.elect(signal, candidacy),
      append: async (request) => {
        const outcome = await engine.append(request);
        if (outcome.outcome !== 'done') plant?.onNotAppended?.(nodeId);
        return outcome;
      },
      read: (request) => engine.read(request),
      bounds: () => engine.bounds(),
      truncate: async (throughIndex) => {
        await engine.truncate(throughIndex);
        const known = firstIndexes.get(shardId) ?? 1n;
        if (throughIndex >= known) firstIndexes.set(shardId, throughIndex + 1n);
      },
      members: () => engine.members(),
      close: () => engine.close(),
    };
  }

  /** Whether the disks, with one that goes back so far, still have what the logs have not. */
  #mayFallBackTo(nodeId: NodeId, durableIndexes: readonly bigint[]): boolean {
    const others = [...this.#nodes.values()].filter((node) => node.nodeId !== nodeId);
    const disks = [durableIndexes, ...others.map((node) => node.durableIndexes)];
    return shardIds.every((shardId) => {
      const first = this.#firstIndexes.get(shardId) ?? 1n;
      return disks.some((indexes) => (indexes[shardId] ?? 0n) + 1n >= first);
    });
  }

  #processFor(shardId: number): NodeProcess | undefined {
    const leaderId = this.#cluster.leader(shardId)?.nodeId as NodeId | undefined;
    const isKnown = this.#random.below(100) < KNOWING_PERCENT;
    const nodeId = isKnown && leaderId ? leaderId : this.#random.pick(nodeIds);
    return this.#nodes.get(nodeId)?.process;
  }

  /** Mostly short; now and then something takes long. */
  #latencyMs(): number {
    const fraction = this.#latencies.fraction();
    return this.#latencies.chance(0.03) ? fraction * 60 : fraction * 1.5;
  }

  #wallClock(): number {
    return Math.floor(this.#wallOffsetMs + this.clock.nowMs + this.#latencies.fraction() * SKEW_MS);
  }

  #unexpected(where: string, error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.findings.push(`uncaught: ${where}: ${text}`);
  }

  #stuck(found: string): void {
    if (this.findings.length > 0) return;
    const states = this.processes.map(({ nodeId, shards, isReady }) => {
      const groups = shards.map(
        ({ group }) => `${group.state} ${group.appliedIndex} ${group.wrap.kind}`,
      );
      return `${nodeId}${isReady ? '' : ' (starting)'}: ${groups.join(', ')}`;
    });
    const heads = shardIds.map((shardId) => this.log(shardId).length).join(', ');
    this.findings.push(
      `invariant 12: ${found} of the last fault; ${states.join('; ')}; heads ${heads}; ` +
        `${this.clients.waiting} clients wait`,
    );
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? ` <- ${error.cause.message}` : '';
  return `${codeOf(error) ?? error.name}: ${error.message}${cause}`;
}
