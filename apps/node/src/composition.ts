/**
 * What a program needs that puts nodes together from their parts, over a log, disks and a network
 * of its own. Within this repository only; it is not published.
 */

export { ControlChannel } from './cluster/control-channel.ts';
export { SnapshotExchange } from './cluster/snapshot-exchange.ts';
export { WriterRegistration } from './cluster/writer-registration.ts';
export { CutoverCoordinator } from './cutover-coordinator.ts';
export { KekSet } from './kek-set.ts';
export { KeyOperations } from './key-operations.ts';
export { KeyRotation } from './key-rotation.ts';
export { NodeKeys } from './node-keys.ts';
export { NodeShard, type ShardPeers } from './node-shard.ts';
export type { PeerSnapshot, RegistrationRequest } from './peer/operations.ts';
export { replayLogs } from './replay.ts';
export { Teardown } from './teardown.ts';
export type { WriterRegistryStore } from './writer-registry-store.ts';
