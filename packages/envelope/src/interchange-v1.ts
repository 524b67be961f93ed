/**
 * Envelopes of version 1, for data that is exchanged with systems that write them. Version 1 binds
 * no cluster, shard or index: a raft envelope of it opens at any place in any log that has its DEK.
 * The node writes version 2; what opens version 2 refuses version 1 and the reverse.
 */
import { type Bytes, openFrom } from '#crypto';
import { raftAadV1, storageAadV1 } from './aad.ts';
import { integrityError, type SealingKey, sealEnvelope } from './envelope-cipher.ts';
import { checkHeader } from './header.ts';
import type { Keyring } from './keyring.ts';

/** What a storage envelope of version 1 is bound to. */
export interface StoragePlaceV1 {
  /** 9 bytes. */
  readonly header: Uint8Array;
  /** Of any length. */
  readonly encodedKey: Uint8Array;
}

/** Seals a raft payload. @throws as `RaftSeal.seal` */
export function sealRaftV1(keyring: Keyring, under: SealingKey, plaintext: Uint8Array): Bytes {
  const key = keyring.sealingKey(under.dekId, 'raft', under.nonces);
  const aad = raftAadV1(under.dekId);
  return sealEnvelope({ version: 1, key, under, aad, headroomBytes: 0 }, plaintext);
}

/** Opens a raft payload. @throws as `RaftSeal.open` */
export function openRaftV1(keyring: Keyring, envelope: Uint8Array): Bytes {
  const dekId = checkHeader(envelope, 1);
  const key = keyring.openingKey(dekId, 'raft');
  const plaintext = openFrom(key, raftAadV1(dekId), envelope);
  if (plaintext === undefined) throw integrityError(`a version 1 raft payload (DEK ${dekId})`);
  return plaintext;
}

/** Seals a stored value. @throws as `StorageSeal.seal` */
export function sealStorageV1(
  keyring: Keyring,
  under: SealingKey & StoragePlaceV1,
  plaintext: Uint8Array,
): Bytes {
  const key = keyring.sealingKey(under.dekId, 'storage', under.nonces);
  const aad = storageAadV1(under.dekId, under.header, under.encodedKey);
  return sealEnvelope({ version: 1, key, under, aad, headroomBytes: 0 }, plaintext);
}

/** Opens a stored value. @throws as `StorageSeal.open` */
export function openStorageV1(
  keyring: Keyring,
  { header, encodedKey }: StoragePlaceV1,
  envelope: Uint8Array,
): Bytes {
  const dekId = checkHeader(envelope, 1);
  const key = keyring.openingKey(dekId, 'storage');
  const plaintext = openFrom(key, storageAadV1(dekId, header, encodedKey), envelope);
  if (plaintext === undefined) throw integrityError(`a version 1 value (DEK ${dekId})`);
  return plaintext;
}
