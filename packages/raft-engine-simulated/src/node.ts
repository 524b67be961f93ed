/** The state of one simulated node that all its engines share. */
export interface NodeState {
  readonly nodeId: string;
  /** It does not notice what happens, but what it sends still arrives. */
  paused: boolean;
  /** Nothing it sends arrives, and nothing reaches it. */
  isolated: boolean;
  /** It is down until restarted. */
  crashed: boolean;
}

/** How entries reach the reads of one node at one shard. */
export interface DeliveryState {
  /** Entries above it are held back; undefined where nothing is. */
  heldAbove: bigint | undefined;
  /** Scheduler steps that each delivery is put off by, at most (the seed decides). */
  delaySteps: number;
}
