/**
 * A cluster as Redis clients know one: each slot has a master, and a node is either master or
 * replica. Here a node leads some shards and follows all others, so:
 *
 * - A node that leads a shard is a master, of the slots of all shards that it leads.
 * - A learner is a replica; it has every slot. A voter never is one, and has no slots while it leads
 *   nothing: clients put every connection to a replica into READONLY mode by themselves, and some
 *   use any connection at hand while a master is away. They would be given old values unasked.
 * - New clients wait while a shard has no leader, which is soon over. They do not wait for a shard
 *   that has halted: the others are there for them.
 * - The slots of a shard without a leader are shown with another master: clients fail on a slot
 *   that has none, but ask again where they are told that the cluster is down.
 */
import type { ClusterNode, ClusterTopology, SlotRange } from './cluster-topology.ts';
import type { Shard } from './keyspace.ts';

export interface MasterRange extends SlotRange {
  readonly master: ClusterNode;
}

export interface SlotMap {
  readonly epoch: number;
  readonly self: ClusterNode;
  /** This node is among them, whether or not the cluster has admitted it. */
  readonly nodes: readonly ClusterNode[];
  /** All slots, in order; neighbours have different masters. */
  readonly ranges: readonly MasterRange[];
  /** By node id: the ranges of a master. */
  readonly rangesOf: ReadonlyMap<string, readonly SlotRange[]>;
  /** The learners. */
  readonly replicas: readonly ClusterNode[];
  /** Slots whose shard has no leader. */
  readonly slotsDown: number;
  /** A shard that has not halted here has no leader. */
  readonly isElecting: boolean;
}

export function slotMap(topology: ClusterTopology, shards: readonly Shard[]): SlotMap {
  const leaders = shards.map(({ shardId }) => topology.leaderOf(shardId));
  const substitute = leaders.find((leader) => leader !== undefined) ?? topology.self;
  const ranges: MasterRange[] = [];
  let slotsDown = 0;
  let isElecting = false;
  for (const [index, { shardId, isHalted }] of shards.entries()) {
    const { start, end } = topology.slotsOf(shardId);
    const leader = leaders[index];
    if (leader === undefined) {
      slotsDown += end - start + 1;
      isElecting ||= !isHalted;
    }
    const master = leader ?? substitute;
    const last = ranges.at(-1);
    if (last?.master.id === master.id) ranges[ranges.length - 1] = { ...last, end };
    else ranges.push({ start, end, master });
  }
  const rangesOf = new Map<string, SlotRange[]>();
  for (const { start, end, master } of ranges) {
    const own = rangesOf.get(master.id);
    if (own === undefined) rangesOf.set(master.id, [{ start, end }]);
    else own.push({ start, end });
  }
  const { self, epoch } = topology;
  const members = topology.nodes();
  const nodes = members.some(({ isSelf }) => isSelf) ? members : [...members, self];
  const replicas = nodes.filter((node) => isReplica(node, rangesOf));
  return { epoch, self, nodes, ranges, rangesOf, replicas, slotsDown, isElecting };
}

/** The master that a replica names as its own: it follows all, and may name one. */
export function masterOfReplicas({ ranges }: SlotMap): ClusterNode | undefined {
  return ranges[0]?.master;
}

/** The master of this node, where the node is a replica. */
export function ownMaster(
  topology: ClusterTopology | undefined,
  shards: readonly Shard[],
): ClusterNode | undefined {
  if (topology === undefined) return undefined;
  const map = slotMap(topology, shards);
  return isReplica(map.self, map.rangesOf) ? masterOfReplicas(map) : undefined;
}

function isReplica({ role, id }: ClusterNode, rangesOf: SlotMap['rangesOf']): boolean {
  return role === 'learner' && !rangesOf.has(id);
}
