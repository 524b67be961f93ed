/** Keys as services hold them: versions of 32 random bytes, each an AEAD with associated data. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES;

export type Aead = 'aes-256-gcm' | 'chacha20-poly1305';

export class HeldKey {
  readonly #aead: Aead;
  readonly #versions: Buffer[] = [];

  constructor(aead: Aead = 'aes-256-gcm') {
    this.#aead = aead;
    this.rotate();
  }

  /** From 1. */
  get latestVersion(): number {
    return this.#versions.length;
  }

  rotate(): void {
    this.#versions.push(randomBytes(32));
  }

  /** Nonce, ciphertext, tag. */
  seal(plaintext: Buffer, aad: Buffer, { derivedBy }: { derivedBy?: Buffer } = {}): Buffer {
    const nonce = randomBytes(NONCE_BYTES);
    const key = this.#key(this.latestVersion, derivedBy);
    // Both take the same options; the types know the mode by a literal only.
    const cipher = createCipheriv(this.#aead as 'aes-256-gcm', key, nonce, {
      authTagLength: TAG_BYTES,
    });
    cipher.setAAD(aad);
    return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  }

  /** Undefined for what does not open. */
  open(
    version: number,
    sealed: Buffer,
    aad: Buffer,
    { derivedBy }: { derivedBy?: Buffer } = {},
  ): Buffer | undefined {
    if (sealed.length < OVERHEAD_BYTES) return undefined;
    const key = this.#key(version, derivedBy);
    const nonce = sealed.subarray(0, NONCE_BYTES);
    const decipher = createDecipheriv(this.#aead as 'aes-256-gcm', key, nonce, {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(aad);
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    try {
      const body = sealed.subarray(NONCE_BYTES, -TAG_BYTES);
      return Buffer.concat([decipher.update(body), decipher.final()]);
    } catch {
      return undefined;
    }
  }

  #key(version: number, derivedBy: Buffer | undefined): Buffer {
    const key = this.#versions[version - 1];
    if (key === undefined) throw new RangeError(`no version ${version}`);
    if (derivedBy === undefined) return key;
    return Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), derivedBy, 32));
  }
}
