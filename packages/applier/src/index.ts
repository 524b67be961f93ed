/**
 * The key lifecycle of a cluster: what the entries of its control log do to the key state of a
 * node, and how that becomes durable before it becomes true.
 *
 * - {@link transition}: the pure state machine; {@link Effect}: what it asks for, in order.
 * - {@link KeyLifecycle}: runs both on a node, hands out nonce epochs.
 * - {@link precheck}: what a leader asks before it proposes.
 * - {@link openReplicatedKeyState}: a key state from another node, for {@link KeyLifecycle} to
 *   adopt; {@link resyncKeyState}: the same for a node that lost its sidecar.
 * - {@link clusterKeysOf}: what a state names rows with.
 * - {@link encodeEntry}, {@link decodeEntry}: the entries' bytes.
 * - {@link readKeyState} and the `check...` functions: the start of a node.
 * - {@link MemoryWriterRegistry}: a registry for those who need no durable one.
 * @packageDocumentation
 */
export type { AppliedEntry, NoteEntry } from './applied-entry.ts';
export { type UnwrapDek, unwrapWith } from './dek-unwrap.ts';
export { type ClusterKeysSource, clusterKeysOf } from './derived-keys.ts';
export type {
  Effect,
  Install,
  NoOpReason,
  Outcome,
  Transition,
  TransitionContext,
} from './effect.ts';
export {
  type BootstrapEntry,
  decodeEntry,
  ENTRY_BYTES_MAX,
  type EnableRaftEntry,
  type EnableSealedOnlyEntry,
  type EnableStorageEntry,
  encodeEntry,
  type ForgetBackupEntry,
  type KeyLifecycleEntry,
  type NewKey,
  type RegisterBackupEntry,
  type RegisterEntry,
  type RetireDekEntry,
  type RewrapDeksEntry,
  type RewrappedKey,
  type RotateDekEntry,
} from './entry.ts';
export { CLAIM_ID_BYTES } from './entry-rules.ts';
export type { OnKekAway } from './kek-wait.ts';
export {
  type Installer,
  KeyLifecycle,
  type KeyLifecycleParts,
  type KeyringPort,
  type PlacedEntry,
  type SidecarPort,
} from './key-lifecycle.ts';
export { type KeyStateSource, readKeyState } from './key-state-file.ts';
export type { NonceClaim } from './nonce-claims.ts';
export { type Precheck, type PrecheckParts, type ProposedEntry, precheck } from './precheck.ts';
export {
  decodeReplicatedKeyState,
  deriveReplicatedMacKey,
  encodeReplicatedKeyState,
  openReplicatedKeyState,
  REPLICATED_KEY_STATE_BYTES_MAX,
  type UnverifiedKeyState,
} from './replicated-codec.ts';
export {
  type ReplicatedKeyRecord,
  type ReplicatedKeyState,
  replicatedKeyState,
} from './replicated-key-state.ts';
export { type ResyncedKeyState, type ResyncRequest, resyncKeyState } from './resync.ts';
export { checkCutover, checkNode, checkNonceEpochs, checkRegistry } from './startup-checks.ts';
export type { StartTimer } from './state-waits.ts';
export { initialKeyState, transition } from './transition.ts';
export {
  MemoryWriterRegistry,
  nextWriterId,
  WRITER_ID_MAX,
  writerIdOf,
} from './writer-registry.ts';
