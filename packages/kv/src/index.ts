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
export { ContentDigest } from './content-digest.ts';
export { stoppedStoreEnvelopes } from './envelopes.ts';
export { matchesGlob } from './glob.ts';
export { lmdbFileProblem } from './lmdb-file-check.ts';
export { prepareLockFile } from './lmdb-lock-file.ts';
export { openedIn } from './opened-in.ts';
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
export type { KeyRecord } from './row-codec.ts';
export type { RowSource, TableRow } from './row-source.ts';
export { SLOT_COUNT, slotOf } from './slot.ts';
export {
  type OpenedSnapshotRow,
  openSnapshotRows,
  type SnapshotOpeningParts,
} from './snapshot-opening.ts';
export { KvStateMachine } from './state-machine.ts';
export type { StoreEnvironment, StoreReplacement, StoreView } from './store-environment.ts';
export {
  CHUNK_BYTES,
  type Chunk,
  operationsOf,
  type StoreOperation,
  WriteBatch,
} from './write-batch.ts';
