/**
 * The primitives in plain JavaScript, for browsers and workers, where node:crypto does not exist and
 * WebCrypto only answers asynchronously: AES-256-GCM of @noble/ciphers, SHA-256 of @noble/hashes.
 * The same functions and the same bytes as crypto-node.ts; see there.
 */
import { gcm } from '@noble/ciphers/aes.js';
import { hkdf } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { utf8ToBytes } from '@noble/hashes/utils.js';
import { HEADER_BYTES, NONCE_BYTES, NONCE_OFFSET } from './header.ts';

/** What sealing and opening return: a Buffer on Node, a plain Uint8Array elsewhere. */
export type Bytes = Uint8Array;

/** A DEK, ready for use; its bytes show in no log and no inspection. */
export class SecretKey {
  readonly #bytes: Uint8Array;

  /** Copies the bytes. */
  constructor(bytes: Uint8Array) {
    this.#bytes = new Uint8Array(bytes);
  }

  bytes(): Uint8Array {
    return this.#bytes;
  }
}

/** Copies the bytes. */
export function importKey(bytes: Uint8Array): SecretKey {
  return new SecretKey(bytes);
}

/** In constant time. */
export function equalKeys(a: SecretKey, b: SecretKey): boolean {
  const [left, right] = [a.bytes(), b.bytes()];
  let difference = left.length ^ right.length;
  left.forEach((byte, i) => {
    difference |= byte ^ (right[i] ?? 0);
  });
  return difference === 0;
}

/** Memory for the caller to overwrite. */
export function allocate(bytes: number): Bytes {
  return new Uint8Array(bytes);
}

/**
 * Seals into an envelope whose header, with its nonce, stands at `offset` of `target`: ciphertext
 * and tag are written after it.
 */
export function sealInto(
  key: SecretKey,
  aad: Uint8Array,
  plaintext: Uint8Array,
  target: Uint8Array,
  offset: number,
): void {
  const nonceOffset = offset + NONCE_OFFSET;
  const nonce = target.subarray(nonceOffset, nonceOffset + NONCE_BYTES);
  target.set(gcm(key.bytes(), nonce, aad).encrypt(plaintext), offset + HEADER_BYTES);
}

/**
 * Opens an envelope of at least the overhead's length.
 * @returns undefined where the tag does not match
 */
export function openFrom(key: SecretKey, aad: Uint8Array, envelope: Uint8Array): Bytes | undefined {
  const nonce = envelope.subarray(NONCE_OFFSET, HEADER_BYTES);
  const cipher = gcm(key.bytes(), nonce, aad);
  try {
    // Checks the tag, always 16 bytes, before it decrypts.
    return cipher.decrypt(envelope.subarray(HEADER_BYTES));
  } catch {
    return undefined;
  }
}

/** HKDF-SHA-256 (RFC 5869) without salt. */
export function deriveBytes(key: SecretKey, label: string, bytes: number): Uint8Array {
  return hkdf(sha256, key.bytes(), undefined, utf8ToBytes(label), bytes);
}

/** HMAC-SHA-256 (RFC 2104). */
export class Mac {
  readonly #key: Uint8Array;

  /** Copies the key. */
  constructor(key: Uint8Array) {
    this.#key = new Uint8Array(key);
  }

  /** The MAC of `prefix` followed by `message`: 32 bytes. */
  of(prefix: Uint8Array, message: Uint8Array): Bytes {
    return hmac.create(sha256, this.#key).update(prefix).update(message).digest();
  }
}
