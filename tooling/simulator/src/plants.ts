/**
 * Faults of wiring, to show that the checks find what they lead to. The parts have no switches for
 * them: what a node or an engine is given is changed after it was put together.
 */
import type { PlantedFault } from '@raftseal/raft-engine-simulated';
import type { NodeKeys, NodeShard } from '@raftseal/server/composition';

export interface Plant {
  readonly says: string;
  readonly engineFaults?: readonly PlantedFault[];
  readonly inKeys?: (keys: NodeKeys, nodeId: string) => void;
  readonly inShard?: (shard: NodeShard, nodeId: string) => void;
}

export const plantNames = [] as const;
export type PlantName = string;

export const plants: Readonly<Record<string, Plant>> = {};
