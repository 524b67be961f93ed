/** The cluster and its controls: who leads, who is down, what is held back, what goes wrong. */
import type { LogEntry, Member, RaftEngine } from '@raftseal/interface';
import { SimulatedEngine } from './engine.ts';
import type { DeliveryState, NodeState } from './node.ts';
import type { AppendFault, SimulatedClusterOptions } from './options.ts';
import { seededRandom } from './random.ts';
import { Shard } from './shard.ts';

/** One node at one shard. */
export interface ReplicaId {
  readonly nodeId: string;
  readonly shardId: number;
}

/**
 * Controls take effect at once: a signal that aborts has aborted when the call returns. Names that
 * the cluster was not made with are a RangeError.
 */
export interface SimulatedCluster {
  /**
   * This node's engine at a shard; the same one until it is closed or the node crashes, a fresh
   * one over the same log after that.
   */
  engine(nodeId: string, shardId: number): RaftEngine;

  /**
   * Makes a node lead a shard: at once if it waits in `elect`, else as soon as it does. Whoever
   * leads is deposed, and nobody else is elected meanwhile.
   */
  elect(replica: ReplicaId): void;
  /** Ends the reign of whoever leads; with `autoElect` a candidate follows by itself. */
  depose(shardId: number): void;
  /** The node that leads a shard, whether or not it knows that it does. */
  leader(shardId: number): { readonly nodeId: string; readonly term: bigint } | undefined;

  /** The process is gone: its engines are closed, what was in transit landed or did not. */
  crash(nodeId: string): void;
  /** Lets a crashed node take engines again. */
  restart(nodeId: string): void;
  /**
   * The node stands still: it reads nothing and does not notice that it was deposed. What it still
   * appends reaches the log, and is fenced there, as are the last words of a process that resumes.
   */
  pause(nodeId: string): void;
  /** The node runs again, and hears at once that it was deposed. */
  resume(nodeId: string): void;
  /**
   * Cuts a node off from the log: its reigns end (unless it is paused it knows), appends in transit
   * end as `ambiguous`, reads and elections wait, the rest throws RAFTSEAL_ENGINE_UNAVAILABLE.
   */
  partition(nodeId: string): void;
  heal(nodeId: string): void;

  /** Holds back entries above `above` (default: what has arrived) from a replica's reads. */
  holdDelivery(replica: ReplicaId, above?: bigint): void;
  /** Lets entries pass again: all, or those up to `through`. */
  releaseDelivery(replica: ReplicaId, through?: bigint): void;
  /** Puts each delivery to a replica off by up to `steps` scheduler steps. */
  delayDelivery(replica: ReplicaId, steps: number): void;
  /** Highest index that has arrived at a replica, and so may have been read. */
  arrivedIndex(replica: ReplicaId): bigint;

  /** Makes the next append of a replica go wrong. */
  faultNextAppend(replica: ReplicaId, fault: AppendFault): void;
  /** Lets `ambiguousLate` appends reach the log; resolves to how many landed. */
  landLateAppends(replica: ReplicaId): number;

  /** Every entry ever agreed, truncated ones included. */
  log(shardId: number): readonly LogEntry[];
  /** Closes every engine. */
  close(): Promise<void>;
}

/** @throws RangeError for a cluster without nodes or shards. */
export function simulatedCluster(options: SimulatedClusterOptions): SimulatedCluster {
  if (options.nodes.length === 0) throw new RangeError('a cluster has one node at least');
  if (options.shards.length === 0) throw new RangeError('a cluster has one shard at least');
  return new Cluster(options);
}

class Cluster implements SimulatedCluster {
  readonly #options: SimulatedClusterOptions;
  readonly #seed: number;
  readonly #schedule: (task: () => void) => void;
  readonly #members: readonly Member[];
  readonly #nodes: Map<string, NodeState> = new Map();
  readonly #shards: Map<number, Shard> = new Map();
  readonly #deliveries: Map<string, DeliveryState> = new Map();
  readonly #engines: Map<string, SimulatedEngine> = new Map();

  constructor(options: SimulatedClusterOptions) {
    this.#options = options;
    this.#seed = options.seed ?? 1;
    this.#schedule = options.schedule ?? setImmediate;
    this.#members = options.nodes.map((nodeId) => ({ nodeId, role: 'voter' }));
    for (const nodeId of options.nodes) {
      this.#nodes.set(nodeId, { nodeId, paused: false, isolated: false, crashed: false });
    }
    for (const shardId of options.shards) {
      const shard = new Shard({
        autoElect: options.autoElect ?? true,
        plantedFaults: new Set(options.plantedFaults),
        random: seededRandom(this.#seed, `shard ${shardId}`),
        schedule: this.#schedule,
      });
      this.#shards.set(shardId, shard);
      for (const nodeId of options.nodes) {
        const key = keyOf({ nodeId, shardId });
        this.#deliveries.set(key, { heldAbove: undefined, delaySteps: 0 });
      }
    }
  }

  engine(nodeId: string, shardId: number): SimulatedEngine {
    const node = named(this.#nodes, nodeId);
    if (node.crashed) throw new RangeError(`node ${nodeId} is down: restart it first`);
    const key = keyOf({ nodeId, shardId });
    const open = this.#engines.get(key);
    if (open !== undefined && !open.isClosed) return open;
    const engine = new SimulatedEngine({
      shardId,
      shard: named(this.#shards, shardId),
      node,
      delivery: named(this.#deliveries, key),
      members: this.#members,
      limits: {
        payloadBytesMax: this.#options.payloadBytesMax ?? 1024 * 1024,
        appendsInFlightMax: this.#options.appendsInFlightMax ?? 1,
      },
      random: seededRandom(this.#seed, key),
      schedule: this.#schedule,
    });
    this.#engines.set(key, engine);
    return engine;
  }

  elect({ nodeId, shardId }: ReplicaId): void {
    const shard = named(this.#shards, shardId);
    const engine = this.engine(nodeId, shardId);
    if (engine.isElectable()) {
      shard.crown(engine);
    } else if (shard.leader?.replica !== engine) {
      shard.preferred = nodeId;
      shard.depose(`${nodeId} is to lead`);
    }
  }

  depose(shardId: number): void {
    named(this.#shards, shardId).depose('the test deposed it');
  }

  leader(shardId: number): { readonly nodeId: string; readonly term: bigint } | undefined {
    const leader = named(this.#shards, shardId).leader;
    return leader && { nodeId: leader.replica.nodeId, term: leader.term };
  }

  crash(nodeId: string): void {
    const node = named(this.#nodes, nodeId);
    for (const engine of this.#enginesOf(nodeId)) engine.onCrash();
    for (const shard of this.#shards.values()) {
      if (shard.preferred !== nodeId) continue;
      shard.preferred = undefined;
      shard.arrange();
    }
    Object.assign(node, { crashed: true, paused: false, isolated: false });
  }

  restart(nodeId: string): void {
    named(this.#nodes, nodeId).crashed = false;
  }

  pause(nodeId: string): void {
    named(this.#nodes, nodeId).paused = true;
  }

  resume(nodeId: string): void {
    named(this.#nodes, nodeId).paused = false;
    for (const engine of this.#enginesOf(nodeId)) engine.onResume();
  }

  partition(nodeId: string): void {
    named(this.#nodes, nodeId).isolated = true;
    for (const engine of this.#enginesOf(nodeId)) engine.onIsolated();
  }

  heal(nodeId: string): void {
    const node = named(this.#nodes, nodeId);
    node.isolated = false;
    if (node.paused) return;
    for (const engine of this.#enginesOf(nodeId)) engine.onResume();
  }

  holdDelivery(replica: ReplicaId, above: bigint = this.arrivedIndex(replica)): void {
    named(this.#deliveries, keyOf(replica)).heldAbove = above;
  }

  releaseDelivery(replica: ReplicaId, through?: bigint): void {
    named(this.#deliveries, keyOf(replica)).heldAbove = through;
    this.#engines.get(keyOf(replica))?.onLogChange();
  }

  delayDelivery(replica: ReplicaId, steps: number): void {
    named(this.#deliveries, keyOf(replica)).delaySteps = steps;
  }

  arrivedIndex(replica: ReplicaId): bigint {
    named(this.#deliveries, keyOf(replica));
    return this.#engines.get(keyOf(replica))?.arrivedIndex ?? 0n;
  }

  faultNextAppend({ nodeId, shardId }: ReplicaId, fault: AppendFault): void {
    this.engine(nodeId, shardId).nextAppendFault = fault;
  }

  landLateAppends({ nodeId, shardId }: ReplicaId): number {
    return this.engine(nodeId, shardId).landLate();
  }

  log(shardId: number): readonly LogEntry[] {
    return named(this.#shards, shardId).entries;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#engines.values()].map((engine) => engine.close()));
  }

  *#enginesOf(nodeId: string): Iterable<SimulatedEngine> {
    for (const engine of this.#engines.values()) {
      if (engine.nodeId === nodeId && !engine.isClosed) yield engine;
    }
  }
}

function keyOf({ nodeId, shardId }: ReplicaId): string {
  return `${nodeId} at shard ${shardId}`;
}

function named<Key, Value>(map: ReadonlyMap<Key, Value>, key: Key): Value {
  const value = map.get(key);
  if (value === undefined) throw new RangeError(`the cluster was made without ${String(key)}`);
  return value;
}
