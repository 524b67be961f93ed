/**
 * What a wrap by AES-256-GCM (NIST SP 800-38D) looks like, wherever the KEK itself is held.
 *
 * Wrapped DEK, 60 bytes: nonce (12, random) | ciphertext (32) | tag (16).
 * AAD: `raftseal kek wrap v1` | purpose (1) | dekId (4, big-endian) | clusterId (16).
 *
 * Random nonces allow 2^32 wraps under one KEK (SP 800-38D section 8.3): a cluster wraps a few
 * DEKs in a year.
 */
import {
  CLUSTER_ID_BYTES,
  DEK_BYTES,
  purposeByte,
  RaftsealError,
  type WrapBinding,
} from '@raftseal/interface';

/** Length of a KEK, in bytes (AES-256). */
export const KEK_BYTES = 32;

/** Length of what `wrapKey` returns, in bytes. */
export const WRAPPED_DEK_BYTES = 60;

/** Length of the nonce that a wrap begins with, in bytes. */
export const WRAP_NONCE_BYTES = 12;

/** Length of the tag that a wrap ends with, in bytes. */
export const WRAP_TAG_BYTES = 16;

const AAD_LABEL = Buffer.from('raftseal kek wrap v1', 'latin1');

/**
 * The additional data that binds a wrap.
 * @throws RangeError for a cluster id or DEK id of the wrong form.
 */
export function wrapAad({ clusterId, dekId, purpose }: WrapBinding): Buffer {
  if (clusterId.length !== CLUSTER_ID_BYTES) {
    throw new RangeError(`a cluster id has ${CLUSTER_ID_BYTES} bytes, not ${clusterId.length}`);
  }
  if (!Number.isInteger(dekId) || dekId < 1 || dekId > 0xffff_ffff) {
    throw new RangeError(`a DEK id is a non-zero u32, not ${dekId}`);
  }
  const purposeAndId = Buffer.alloc(5);
  purposeAndId.writeUInt8(purposeByte[purpose], 0);
  purposeAndId.writeUInt32BE(dekId, 1);
  return Buffer.concat([AAD_LABEL, purposeAndId, clusterId]);
}

/** @throws RAFTSEAL_KEK_DEK_LENGTH */
export function checkDekLength(dek: Uint8Array): void {
  if (dek.length === DEK_BYTES) return;
  throw new RaftsealError(
    'RAFTSEAL_KEK_DEK_LENGTH',
    `expected a DEK of ${DEK_BYTES} bytes; found ${dek.length}.`,
  );
}

/** The refusal of a wrap that does not open; `found` says what it is instead. */
export function wrapMismatch(
  kekUri: string,
  { dekId, purpose }: WrapBinding,
  found: string,
): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_MISMATCH',
    `expected the wrap of ${purpose} DEK ${dekId} made under ${kekUri} for this cluster; found ` +
      `${found}. Check that the KEK is the one the cluster was started with.`,
  );
}

/** The refusal of a call after close. */
export function providerClosed(kekUri: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_CLOSED',
    `expected the provider of ${kekUri} to be open; it was closed. Open it again.`,
  );
}
