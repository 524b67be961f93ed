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
export type {
  KvCensus,
  KvDigest,
  KvOptions,
  KvSnapshot,
  KvStatistics,
  OpenSnapshot,
  QuarantinedRow,
  RewriteProgress,
  ScanOptions,
  ScanPage,
  SnapshotExpectation,
} from './options.ts';
export { SLOT_COUNT, slotOf } from './slot.ts';
export { KvStateMachine } from './state-machine.ts';
