/** Does to a cluster what the schedule says, one act at a time, and takes all of it back at the end. */
import type { SimulatedCluster } from '@raftseal/raft-engine-simulated';
import type { Operator } from './operator.ts';
import {
  type Act,
  type Fault,
  type FaultKind,
  isFault,
  type NodeId,
  type Operation,
  type ShardId,
  shardIds,
} from './schedule.ts';
import type { SimulatedNode } from './simulated-node.ts';
import type { VirtualClock } from './virtual-clock.ts';

export interface NemesisParts {
  readonly cluster: SimulatedCluster;
  readonly clock: VirtualClock;
  readonly nodes: ReadonlyMap<NodeId, SimulatedNode>;
  readonly operator: Operator;
  readonly jumpClock: (byMs: number) => void;
}

/** A flush of a store takes about so long. */
const FLUSHED_MS = 25;

type Crash = Fault & { readonly kind: 'crash' };

export class Nemesis {
  readonly faults: Map<FaultKind, number> = new Map();
  readonly #parts: NemesisParts;

  constructor(parts: NemesisParts) {
    this.#parts = parts;
  }

  act(act: Act): void {
    if (isFault(act)) this.#break(act);
    else this.#operate(act);
  }

  #break(act: Fault): void {
    this.faults.set(act.kind, (this.faults.get(act.kind) ?? 0) + 1);
    const { cluster, jumpClock } = this.#parts;
    switch (act.kind) {
      case 'crash':
        this.#crash(act);
        break;
      case 'pause':
      case 'partition':
        this.#silence(act.node, act.kind, act.forMs);
        break;
      case 'hold delivery':
        this.#hold({ nodeId: act.node, shardId: act.shard }, act.forMs);
        break;
      case 'delay delivery':
        cluster.delayDelivery({ nodeId: act.node, shardId: act.shard }, act.steps);
        break;
      case 'append fault': {
        const leader = cluster.leader(act.shard);
        if (leader) cluster.faultNextAppend({ ...leader, shardId: act.shard }, act.fault);
        break;
      }
      case 'land late':
        this.#landLate();
        break;
      case 'depose':
        cluster.depose(act.shard);
        break;
      case 'elect':
        // Nobody else is elected before: it has to be one that stands.
        if (this.#node(act.node).process?.isReady) {
          cluster.elect({ nodeId: act.node, shardId: act.shard });
        }
        break;
      case 'clock jump':
        jumpClock(act.byMs);
        break;
    }
  }

  /** Ends every fault. */
  heal(): void {
    const { cluster, nodes } = this.#parts;
    for (const [nodeId, node] of nodes) {
      node.isPaused = false;
      node.isIsolated = false;
      cluster.resume(nodeId);
      cluster.heal(nodeId);
      for (const shardId of shardIds) {
        cluster.delayDelivery({ nodeId, shardId }, 0);
        cluster.releaseDelivery({ nodeId, shardId });
      }
      node.start();
    }
    this.#landLate();
  }

  #operate(act: Operation): void {
    const { operator } = this.#parts;
    switch (act.kind) {
      case 'copy disk':
        this.#node(act.node).copyDisk();
        break;
      case 'flush store':
        this.#node(act.node)
          .process?.shards[act.shard]?.kv.flush()
          .catch(() => undefined);
        break;
      case 'truncate':
        this.#truncate(act.shard);
        break;
      case 'enable encryption':
        void operator.enableEncryption(act.waves);
        break;
      case 'rotate':
        operator.rotate(act.purpose);
        break;
      case 'rewrap':
        void operator.rewrap();
        break;
    }
  }

  #crash({ node: nodeId, isPowerCut, found, forMs }: Crash): void {
    const node = this.#node(nodeId);
    if (!node.isUp) return;
    node.crash(isPowerCut);
    node.putDisk(found);
    this.#parts.clock.after(forMs, () => node.start());
  }

  /** A process that was started meanwhile is not what was silenced. */
  #silence(nodeId: NodeId, kind: 'pause' | 'partition', forMs: number): void {
    const { cluster, clock } = this.#parts;
    const node = this.#node(nodeId);
    const isSilent = kind === 'pause' ? node.isPaused : node.isIsolated;
    if (!node.isUp || isSilent) return;
    if (kind === 'pause') node.isPaused = true;
    else node.isIsolated = true;
    cluster[kind](nodeId);
    const { starts } = node;
    clock.after(forMs, () => {
      if (node.starts !== starts || !node.isUp) return;
      if (kind === 'pause') node.isPaused = false;
      else node.isIsolated = false;
      cluster[kind === 'pause' ? 'resume' : 'heal'](nodeId);
    });
  }

  #hold(replica: { readonly nodeId: NodeId; readonly shardId: ShardId }, forMs: number): void {
    const { cluster, clock } = this.#parts;
    cluster.holdDelivery(replica);
    clock.after(forMs, () => cluster.releaseDelivery(replica));
  }

  #landLate(): void {
    const { cluster, nodes } = this.#parts;
    for (const [nodeId, { isUp }] of nodes) {
      for (const shardId of isUp ? shardIds : []) cluster.landLateAppends({ nodeId, shardId });
    }
  }

  /** Whoever lags behind has to catch up from a snapshot. */
  #truncate(shardId: ShardId): void {
    const { clock, nodes } = this.#parts;
    for (const { process } of nodes.values()) {
      process?.shards[shardId]?.kv.flush().catch(() => undefined);
    }
    clock.after(FLUSHED_MS, () => this.#truncateFlushed(shardId));
  }

  /** As far as two disks have it, so that nothing is lost with one of them. */
  #truncateFlushed(shardId: ShardId): void {
    const { cluster, nodes } = this.#parts;
    const [, second = 0n] = [...nodes.values()]
      .map(({ durableIndexes }) => durableIndexes[shardId] ?? 0n)
      .sort((a, b) => (a < b ? 1 : -1));
    const leaderId = cluster.leader(shardId)?.nodeId as NodeId | undefined;
    const leader = leaderId && nodes.get(leaderId)?.process;
    void leader?.shards[shardId]?.truncate(second - 1n);
  }

  #node(nodeId: NodeId): SimulatedNode {
    const node = this.#parts.nodes.get(nodeId);
    if (node) return node;
    throw new RangeError(`there is no node ${nodeId}`);
  }
}
