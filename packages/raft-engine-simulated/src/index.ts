/**
 * Raft groups of many replicas in one process, with seeded faults. Each shard has one agreed log
 * that survives everything; nodes can crash, pause, lose contact, lag behind and be deposed, one
 * by one, at the moment a test chooses. No timers, no I/O, no threads: a run with the same seed and
 * the same calls is the same run.
 * @packageDocumentation
 */
export { type ReplicaId, type SimulatedCluster, simulatedCluster } from './cluster.ts';
export type { AppendFault, PlantedFault, Schedule, SimulatedClusterOptions } from './options.ts';
