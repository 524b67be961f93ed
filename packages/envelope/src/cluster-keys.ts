/**
 * The keys of a cluster that outlive every DEK, 64 bytes:
 *
 * | offset | bytes | field |
 * | --- | --- | --- |
 * | 0 | 32 | MAC key of the row names: no row is renamed by a rotation |
 * | 32 | 32 | certificate seed |
 *
 * Both derive (HKDF-SHA-256, RFC 5869, no salt, the labels below as info) from the cluster's first
 * index DEK. Each later index DEK brings them along, sealed: AES-256-GCM under a key that derives
 * from that DEK and seals nothing else, so that a nonce of zeros is used once; the associated data
 * is `label | dekId(4, big-endian) | clusterId(16)`. What is kept is `ciphertext(64) | tag(16)`.
 */
import {
  CLUSTER_ID_BYTES,
  DEK_BYTES,
  RaftsealError,
  SEALED_CLUSTER_KEYS_BYTES,
} from '@raftseal/interface';
import {
  allocate,
  type Bytes,
  deriveBytes,
  equalKeys,
  importKey,
  openFrom,
  type SecretKey,
  sealInto,
} from '#crypto';
import { writeU32 } from './big-endian.ts';
import { checkDekId, HEADER_BYTES } from './header.ts';
import type { Keyring } from './keyring.ts';

export const ROW_KEY_LABEL = 'raftseal row key v1';
export const CERTIFICATE_KEY_LABEL = 'raftseal certificate key v1';

const SEAL_KEY_LABEL = 'raftseal cluster keys seal v1';
const AAD_LABEL = 'raftseal cluster keys v1';
const PART_BYTES = 32;

/** What sealed cluster keys belong to. */
export interface ClusterKeysBinding {
  /** 16 bytes. */
  readonly clusterId: Uint8Array;
  /** Of the index DEK, non-zero u32. */
  readonly dekId: number;
  /** The index DEK, 32 bytes; not kept. */
  readonly dek: Uint8Array;
}

export class ClusterKeys {
  readonly #key: SecretKey;
  readonly #bytes: Uint8Array;

  /** Those of a cluster whose index DEK was never rotated. @param dek 32 bytes, not kept */
  static derived(dek: Uint8Array): ClusterKeys {
    checkDek(dek);
    return ClusterKeys.#of(importKey(dek));
  }

  /**
   * The same, of a DEK that is loaded; the keyring may drop it afterwards.
   * @throws RAFTSEAL_ENVELOPE_UNKNOWN_DEK, RAFTSEAL_ENVELOPE_WRONG_PURPOSE
   */
  static derivedFrom(keyring: Keyring, indexDekId: number): ClusterKeys {
    return ClusterKeys.#of(keyring.openingKey(indexDekId, 'index'));
  }

  /**
   * Those that a rotation of the index DEK brought along.
   * @param sealed 80 bytes, from {@link seal} with the same binding
   * @throws RAFTSEAL_ENVELOPE_INTEGRITY; RangeError
   */
  static open(sealed: Uint8Array, binding: ClusterKeysBinding): ClusterKeys {
    if (sealed.length !== SEALED_CLUSTER_KEYS_BYTES) {
      throw new RangeError(`sealed cluster keys have ${SEALED_CLUSTER_KEYS_BYTES} bytes`);
    }
    const envelope = new Uint8Array(HEADER_BYTES + sealed.length);
    envelope.set(sealed, HEADER_BYTES);
    const bytes = openFrom(sealKey(binding.dek), aadOf(binding), envelope);
    if (bytes === undefined) throw doNotOpen(binding.dekId);
    return new ClusterKeys(bytes);
  }

  static #of(indexDek: SecretKey): ClusterKeys {
    const bytes = new Uint8Array(2 * PART_BYTES);
    [ROW_KEY_LABEL, CERTIFICATE_KEY_LABEL].forEach((label, at) => {
      const part = deriveBytes(indexDek, label, PART_BYTES);
      bytes.set(part, at * PART_BYTES);
      part.fill(0);
    });
    return new ClusterKeys(bytes);
  }

  /** Takes the bytes over. */
  private constructor(bytes: Uint8Array) {
    // A plain array: parts of a Buffer would be views, and wiping one would wipe this.
    this.#bytes = new Uint8Array(bytes);
    this.#key = importKey(bytes);
    bytes.fill(0);
  }

  /** Seals them for a rotation to another index DEK. @returns 80 bytes, the caller's to keep */
  seal(binding: ClusterKeysBinding): Bytes {
    const envelope = allocate(HEADER_BYTES + SEALED_CLUSTER_KEYS_BYTES);
    envelope.fill(0);
    sealInto(sealKey(binding.dek), aadOf(binding), this.#bytes, envelope, 0);
    return envelope.subarray(HEADER_BYTES);
  }

  /** In constant time. */
  equals(other: ClusterKeys): boolean {
    return equalKeys(this.#key, other.#key);
  }

  /** 32 bytes that the caller owns and wipes: what the names of rows are made with. */
  rowNameKey(): Uint8Array {
    return this.#bytes.slice(0, PART_BYTES);
  }

  /** 32 bytes that the caller owns and wipes: what the key that signs certificates comes from. */
  certificateSeed(): Uint8Array {
    return this.#bytes.slice(PART_BYTES);
  }

  /** Overwrites them, as far as they are in this object. It must not be used any more. */
  wipe(): void {
    this.#bytes.fill(0);
  }
}

/** Used for one seal only, so that the nonce may be all zeros. */
function sealKey(dek: Uint8Array): SecretKey {
  checkDek(dek);
  const bytes = deriveBytes(importKey(dek), SEAL_KEY_LABEL, DEK_BYTES);
  const key = importKey(bytes);
  bytes.fill(0);
  return key;
}

function aadOf({ clusterId, dekId }: ClusterKeysBinding): Uint8Array {
  if (clusterId.length !== CLUSTER_ID_BYTES) {
    throw new RangeError(`clusterId must have ${CLUSTER_ID_BYTES} bytes`);
  }
  checkDekId(dekId);
  const label = new TextEncoder().encode(AAD_LABEL);
  const aad = new Uint8Array(label.length + 4 + CLUSTER_ID_BYTES);
  aad.set(label);
  writeU32(aad, label.length, dekId);
  aad.set(clusterId, label.length + 4);
  return aad;
}

function checkDek(dek: Uint8Array): void {
  if (dek.length !== DEK_BYTES) throw new RangeError(`a DEK has ${DEK_BYTES} bytes`);
}

function doNotOpen(dekId: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENVELOPE_INTEGRITY',
    `the cluster keys were expected to be sealed under index DEK ${dekId}, but their tag does not ` +
      'match: the key state was damaged or edited, or the DEK is another; take the key state of ' +
      'another replica',
  );
}
