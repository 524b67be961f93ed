/**
 * The names that keys have on disk: HMAC-SHA-256 over `shardId(4, big-endian) | key`, under a key
 * that HKDF-SHA-256 (RFC 5869, no salt, the label below as info) derives from the index DEK.
 * Without that DEK a name says nothing about its key, and equal keys of two shards have two names.
 */
import { type Bytes, deriveBytes, Mac } from '#crypto';
import { isU32, writeU32 } from './big-endian.ts';
import type { Keyring } from './keyring.ts';

export const ROW_KEY_LABEL = 'raftseal row key v1';

const MAC_KEY_BYTES = 32;

export class RowKeyPrf {
  readonly #mac: Mac;
  readonly #shardId = new Uint8Array(4);

  /**
   * @param indexDekId a loaded DEK of purpose `index`; the keyring may drop it afterwards
   * @throws RAFTSEAL_ENVELOPE_UNKNOWN_DEK, RAFTSEAL_ENVELOPE_WRONG_PURPOSE
   */
  constructor(keyring: Keyring, indexDekId: number) {
    const macKey = deriveBytes(
      keyring.openingKey(indexDekId, 'index'),
      ROW_KEY_LABEL,
      MAC_KEY_BYTES,
    );
    this.#mac = new Mac(macKey);
    macKey.fill(0);
  }

  /**
   * @param shardId u32
   * @param key of any length; not kept
   * @returns 32 bytes, the caller's to keep
   * @throws RangeError
   */
  rowKey(shardId: number, key: Uint8Array): Bytes {
    if (!isU32(shardId)) {
      throw new RangeError(`shardId must be an unsigned 32-bit integer: ${shardId}`);
    }
    writeU32(this.#shardId, 0, shardId);
    return this.#mac.of(this.#shardId, key);
  }
}
