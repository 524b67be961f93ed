/**
 * AES-256-GCM envelopes for Raft payloads and stored values.
 *
 * - {@link Keyring}: the DEKs that this process can use, each for one purpose.
 * - {@link NonceSequence}: nonces that never repeat under one DEK.
 * - {@link RaftSeal}, {@link StorageSeal}: seal and open, bound to the place of an entry or a value.
 * - {@link ClusterKeys}: what rows are named with, over every rotation of the index DEK.
 * - {@link StoreRowSeal}: the `RowSeal` port of a store, row keys included.
 * - {@link decodeEnvelope}, {@link decodeNonce}: for tools that report on envelopes.
 * - {@link sealRaftV1} and its siblings: the interchange format.
 *
 * On Node the primitives are those of node:crypto, elsewhere of @noble/ciphers and @noble/hashes;
 * the bytes are the same. Everything is synchronous.
 * @packageDocumentation
 */
export type { Bytes } from '#crypto';
export {
  type RaftPlace,
  ROW_KEY_BYTES,
  raftAadV1,
  type StoragePlace,
  storageAadV1,
  VALUE_HEADER_BYTES,
} from './aad.ts';
export {
  CERTIFICATE_KEY_LABEL,
  ClusterKeys,
  type ClusterKeysBinding,
  ROW_KEY_LABEL,
} from './cluster-keys.ts';
export type { SealingKey } from './envelope-cipher.ts';
export {
  decodeEnvelope,
  ENVELOPE_OVERHEAD_BYTES,
  type Envelope,
  type EnvelopeVersion,
  encodeEnvelope,
  HEADER_BYTES,
  NONCE_BYTES,
  TAG_BYTES,
} from './header.ts';
export {
  openRaftV1,
  openStorageV1,
  type StoragePlaceV1,
  sealRaftV1,
  sealStorageV1,
} from './interchange-v1.ts';
export { Keyring } from './keyring.ts';
export {
  decodeNonce,
  type NonceParts,
  NonceSequence,
  type NonceSequenceOptions,
  SEALS_MAX,
} from './nonce-sequence.ts';
export { RaftSeal } from './raft-seal.ts';
export { RowKeyPrf } from './row-key-prf.ts';
export { StorageSeal } from './storage-seal.ts';
export { StoreRowSeal, type StoreRowSealOptions } from './store-row-seal.ts';
