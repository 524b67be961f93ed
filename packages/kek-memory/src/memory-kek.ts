/**
 * Key wrapping with AES-256-GCM (NIST SP 800-38D) under a KEK in this process's memory.
 *
 * Wrapped DEK, 60 bytes: nonce (12, random) | ciphertext (32) | tag (16).
 * AAD: `raftseal kek wrap v1` | purpose (1) | dekId (4, big-endian) | clusterId (16).
 *
 * Random nonces allow 2^32 wraps under one KEK (SP 800-38D section 8.3): a cluster wraps a few
 * DEKs in a year.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import {
  CLUSTER_ID_BYTES,
  DEK_BYTES,
  type KekProvider,
  purposeByte,
  RaftsealError,
  type WrapBinding,
} from '@raftseal/interface';

/** Length of a KEK, in bytes (AES-256). */
export const KEK_BYTES = 32;

/** Length of what `wrapKey` returns, in bytes. */
export const WRAPPED_DEK_BYTES = 60;

const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const AAD_LABEL = Buffer.from('raftseal kek wrap v1', 'latin1');

export interface KekInMemoryOptions {
  /** 32 bytes. Copied: stays the caller's, who wipes it. */
  readonly kek: Uint8Array;
  /** Names the KEK in every wrap, without revealing it. */
  readonly kekUri: string;
}

/**
 * A provider over a KEK that the process holds.
 * @throws RangeError for a KEK of another length, TypeError for an empty name;
 *   RAFTSEAL_KEK_ZERO for a KEK of zero bytes only, which is a wiped buffer or an empty disk.
 */
export function kekInMemory({ kek, kekUri }: KekInMemoryOptions): KekProvider {
  if (kek.length !== KEK_BYTES) {
    throw new RangeError(`a KEK has ${KEK_BYTES} bytes, not ${kek.length}`);
  }
  if (kekUri === '') throw new TypeError('kekUri is empty: it names the KEK in every wrap');
  if (kek.every((byte) => byte === 0)) {
    throw new RaftsealError(
      'RAFTSEAL_KEK_ZERO',
      `expected ${kekUri} to be a random key; found ${KEK_BYTES} zero bytes. ` +
        'The key was wiped or never written: restore it, or create a new one.',
    );
  }
  return new MemoryKek(kek, kekUri);
}

class MemoryKek implements KekProvider {
  readonly kekUri: string;
  /** Outside of the buffer pool, so that wiping it wipes every copy of ours. */
  readonly #kek: Buffer = Buffer.alloc(KEK_BYTES);
  #closed = false;

  constructor(kek: Uint8Array, kekUri: string) {
    this.#kek.set(kek);
    this.kekUri = kekUri;
  }

  async wrapKey(dek: Uint8Array, binding: WrapBinding): Promise<Uint8Array> {
    const aad = this.#aadWhileOpen(binding);
    if (dek.length !== DEK_BYTES) {
      throw new RaftsealError(
        'RAFTSEAL_KEK_DEK_LENGTH',
        `expected a DEK of ${DEK_BYTES} bytes; found ${dek.length}.`,
      );
    }
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#kek, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(aad);
    const ciphertext = Buffer.concat([cipher.update(dek), cipher.final()]);
    return Buffer.concat([nonce, ciphertext, cipher.getAuthTag()]);
  }

  async unwrapKey(wrapped: Uint8Array, binding: WrapBinding): Promise<Uint8Array> {
    const aad = this.#aadWhileOpen(binding);
    if (wrapped.length !== WRAPPED_DEK_BYTES) {
      throw mismatch(this.kekUri, binding, `a wrap of ${wrapped.length} bytes`);
    }
    const nonce = wrapped.subarray(0, NONCE_BYTES);
    // Without authTagLength, Node takes tags of 4 bytes as well.
    const decipher = createDecipheriv(CIPHER, this.#kek, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(aad);
    decipher.setAuthTag(wrapped.subarray(-TAG_BYTES));
    const dek = decipher.update(wrapped.subarray(NONCE_BYTES, -TAG_BYTES));
    try {
      decipher.final();
    } catch {
      dek.fill(0);
      throw mismatch(this.kekUri, binding, 'a wrap that does not authenticate');
    }
    return dek;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#kek.fill(0);
  }

  #aadWhileOpen({ clusterId, dekId, purpose }: WrapBinding): Buffer {
    if (this.#closed) {
      throw new RaftsealError(
        'RAFTSEAL_KEK_CLOSED',
        `expected the provider of ${this.kekUri} to be open; it was closed. Open it again.`,
      );
    }
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
}

function mismatch(kekUri: string, { dekId, purpose }: WrapBinding, found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_MISMATCH',
    `expected the wrap of ${purpose} DEK ${dekId} made under ${kekUri} for this cluster; found ` +
      `${found}. Check that the KEK is the one the cluster was started with.`,
  );
}
