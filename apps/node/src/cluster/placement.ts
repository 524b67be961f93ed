/**
 * Which node should lead which shard. Shards are dealt to the live voters in turn, so that each
 * leads about as many; an operator's wish goes first. The order decides who stands for election
 * first, and a leader hands a shard over to whoever comes before it, once that node is settled.
 * None of it has a part in safety: the log alone decides who leads.
 */
import { codeOf } from '@raftseal/interface';
import type { Logger } from 'pino';
import type { NodeShard } from '../node-shard.ts';
import type { ClusterView } from './cluster-view.ts';

/** What one place in the order is worth, in ms; more than an election takes. */
const YIELD_MS = 300;
const PERIOD_MS = 1_000;
/** A node that has just come, or comes and goes, is not given shards. */
const SETTLED_MS = 3_000;
/** How many entries a node may be behind and still be given a shard. */
const LAG_MAX = 10_000n;

export interface PlacementParts {
  readonly nodeId: string;
  readonly view: ClusterView;
  readonly shards: readonly NodeShard[];
  readonly log: Logger;
}

export class Placement {
  readonly #parts: PlacementParts;
  #timer: NodeJS.Timeout | undefined;
  #handingOver = false;

  constructor(parts: PlacementParts) {
    this.#parts = parts;
  }

  /** Begins to hand shards over to the nodes that should lead them. */
  start(): void {
    this.#timer = setInterval(() => this.#consider(), PERIOD_MS);
    this.#parts.view.onChange(() => this.#consider());
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** How long this node lets others stand for election first. */
  yieldMs(shardId: number): number {
    const { nodeId, view } = this.#parts;
    const order = electionOrder(shardId, view);
    const place = order.indexOf(nodeId);
    return (place === -1 ? order.length : place) * YIELD_MS;
  }

  /** One shard at a time: each transfer makes its clients wait for a moment. */
  #consider(): void {
    if (this.#timer === undefined || this.#handingOver) return;
    const { nodeId, view, shards, log } = this.#parts;
    for (const { shardId, group } of shards) {
      if (group.state !== 'leading') continue;
      const [first] = electionOrder(shardId, view);
      if (first === undefined || first === nodeId) continue;
      if (!this.#isSettled(first, shardId, group.appliedIndex)) continue;
      this.#handingOver = true;
      log.info({ shardId, to: first }, `handing shard ${shardId} over to ${first}`);
      group
        .handOver()
        .catch((error: unknown) => log.warn({ shardId, code: codeOf(error) }, 'a transfer failed'))
        .finally(() => setTimeout(() => this.#nextTransfer(), YIELD_MS));
      return;
    }
  }

  #nextTransfer(): void {
    this.#handingOver = false;
  }

  #isSettled(nodeId: string, shardId: number, appliedIndex: bigint): boolean {
    const { view } = this.#parts;
    const neighbour = view.live.get(nodeId);
    if (neighbour?.presence.redis === undefined || !neighbour.presence.stands) return false;
    const wished = view.preferredOf(shardId) === nodeId;
    if (!wished && performance.now() - neighbour.sinceMs < SETTLED_MS) return false;
    const theirs = neighbour.presence.appliedIndexes[shardId] ?? 0n;
    return theirs + LAG_MAX >= appliedIndex;
  }
}

/** The live voters in the order in which they should lead a shard. */
export function electionOrder(
  shardId: number,
  view: Pick<ClusterView, 'liveVoters' | 'preferredOf'>,
): readonly string[] {
  const voters = view.liveVoters;
  const first = voters.length === 0 ? 0 : shardId % voters.length;
  const dealt = [...voters.slice(first), ...voters.slice(0, first)];
  const preferred = view.preferredOf(shardId);
  if (preferred === undefined || !voters.includes(preferred)) return dealt;
  return [preferred, ...dealt.filter((nodeId) => nodeId !== preferred)];
}
