/**
 * Redis-semantics state machine over an LMDB store with sealed values and lookup keys.
 * @packageDocumentation
 */
export {
  encodeCommand,
  encodeTransaction,
  type TransactionRequest,
  type WatchedKey,
} from './command-codec.ts';
export { arityMatches, type CommandSpec, commandKeys, commandTable } from './command-table.ts';
export { matchesGlob } from './glob.ts';
export type { KvOptions, KvStatistics, ScanOptions, ScanPage } from './options.ts';
export { SLOT_COUNT, slotOf } from './slot.ts';
export type { KvSnapshot } from './snapshot.ts';
export type { SnapshotExpectation } from './snapshot-install.ts';
export type { KvDigest } from './state-digest.ts';
export { KvStateMachine } from './state-machine.ts';
