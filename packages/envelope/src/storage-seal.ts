/**
 * Stored values in envelopes of version 2: each bound to its cluster, shard, row key and value
 * header, so that a value that was moved to another key, or whose expiry was edited, does not open.
 */
import { type Bytes, openFrom } from '#crypto';
import { StorageAad, type StoragePlace } from './aad.ts';
import { integrityError, type SealingKey, sealEnvelope } from './envelope-cipher.ts';
import { checkHeader } from './header.ts';
import type { Keyring } from './keyring.ts';

/** Of the envelopes of stored values. */
export const STORAGE_VERSION = 2;

export class StorageSeal {
  readonly #keyring: Keyring;
  readonly #aad: StorageAad;

  /**
   * @param parts.clusterId 16 bytes, copied
   * @throws RangeError
   */
  constructor({
    clusterId,
    keyring,
  }: {
    readonly clusterId: Uint8Array;
    readonly keyring: Keyring;
  }) {
    this.#keyring = keyring;
    this.#aad = new StorageAad(clusterId);
  }

  /**
   * Seals one value under a DEK of purpose `storage`, with the next nonce of the sequence.
   * @param plaintext of any length; stays unchanged and is not kept
   * @returns the envelope, the caller's to keep
   * @throws as `RaftSeal.seal`
   */
  seal(under: SealingKey & StoragePlace, plaintext: Uint8Array): Bytes {
    const key = this.#keyring.sealingKey(under.dekId, 'storage', under.nonces);
    const aad = this.#aad.at(under.dekId, under);
    return sealEnvelope({ version: STORAGE_VERSION, key, under, aad, headroomBytes: 0 }, plaintext);
  }

  /**
   * Opens the envelope found at a place, under whichever DEK it names.
   * @returns the plaintext, the caller's to keep
   * @throws as `RaftSeal.open`
   */
  open(place: StoragePlace, envelope: Uint8Array): Bytes {
    const dekId = checkHeader(envelope, STORAGE_VERSION);
    const key = this.#keyring.openingKey(dekId, 'storage');
    const plaintext = openFrom(key, this.#aad.at(dekId, place), envelope);
    if (plaintext !== undefined) return plaintext;
    throw integrityError(`a row of shard ${place.shardId} (DEK ${dekId})`);
  }
}
