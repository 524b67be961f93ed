/** Key wrapping under a KEK in this process's memory, in the format of wrap-format.ts. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { type KekProvider, RaftsealError, type WrapBinding } from '@raftseal/interface';
import {
  checkDekLength,
  KEK_BYTES,
  providerClosed,
  WRAP_NONCE_BYTES,
  WRAP_TAG_BYTES,
  WRAPPED_DEK_BYTES,
  wrapAad,
  wrapMismatch,
} from './wrap-format.ts';

const CIPHER = 'aes-256-gcm';

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
    checkDekLength(dek);
    const nonce = randomBytes(WRAP_NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#kek, nonce, { authTagLength: WRAP_TAG_BYTES });
    cipher.setAAD(aad);
    const ciphertext = Buffer.concat([cipher.update(dek), cipher.final()]);
    return Buffer.concat([nonce, ciphertext, cipher.getAuthTag()]);
  }

  async unwrapKey(wrapped: Uint8Array, binding: WrapBinding): Promise<Uint8Array> {
    const aad = this.#aadWhileOpen(binding);
    if (wrapped.length !== WRAPPED_DEK_BYTES) {
      throw wrapMismatch(this.kekUri, binding, `a wrap of ${wrapped.length} bytes`);
    }
    const nonce = wrapped.subarray(0, WRAP_NONCE_BYTES);
    // Without authTagLength, Node takes tags of 4 bytes as well.
    const decipher = createDecipheriv(CIPHER, this.#kek, nonce, { authTagLength: WRAP_TAG_BYTES });
    decipher.setAAD(aad);
    decipher.setAuthTag(wrapped.subarray(-WRAP_TAG_BYTES));
    const dek = decipher.update(wrapped.subarray(WRAP_NONCE_BYTES, -WRAP_TAG_BYTES));
    try {
      decipher.final();
    } catch {
      dek.fill(0);
      throw wrapMismatch(this.kekUri, binding, 'a wrap that does not authenticate');
    }
    return dek;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#kek.fill(0);
  }

  #aadWhileOpen(binding: WrapBinding): Buffer {
    if (this.#closed) throw providerClosed(this.kekUri);
    return wrapAad(binding);
  }
}
