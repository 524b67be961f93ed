/**
 * What the Redis front end asks of the cluster that its node belongs to. Slots are dealt to shards
 * for good; what changes is which node leads a shard, and which nodes are there.
 */

export interface ClusterNode {
  /** 40 hexadecimal digits, the same for the life of the node. */
  readonly id: string;
  /** Where Redis clients reach the node. */
  readonly host: string;
  readonly port: number;
  /** Where other nodes reach it. */
  readonly peerPort: number;
  readonly role: 'voter' | 'learner';
  /** False where the node is a member but is not in reach now. */
  readonly isAlive: boolean;
  /** True of the node that this front end is part of. */
  readonly isSelf: boolean;
}

/** First and last slot, both included. */
export interface SlotRange {
  readonly start: number;
  readonly end: number;
}

/** Every call answers for this moment; nothing that it returned changes afterwards. */
export interface ClusterTopology {
  readonly self: ClusterNode;
  /** All members. */
  nodes(): readonly ClusterNode[];
  /**
   * Who leads a shard, as far as this node knows; undefined where it knows of none. Clients are sent
   * there: never a node that is known to be out of reach.
   */
  leaderOf(shardId: number): ClusterNode | undefined;
  slotsOf(shardId: number): SlotRange;
  /** Grows with every change of what the calls above return. */
  readonly epoch: number;
}
