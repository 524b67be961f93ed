/**
 * Raft payloads in envelopes of version 2: each bound to its cluster, shard and index, so that an
 * entry that was replayed, reordered or moved to another shard or cluster does not open.
 */
import { type Bytes, openFrom } from '#crypto';
import { RaftAad, type RaftPlace } from './aad.ts';
import { integrityError, type SealingKey, sealEnvelope } from './envelope-cipher.ts';
import { checkHeader } from './header.ts';
import type { Keyring } from './keyring.ts';

export class RaftSeal {
  readonly #keyring: Keyring;
  readonly #aad: RaftAad;

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
    this.#aad = new RaftAad(clusterId);
  }

  /**
   * Seals one payload under a DEK of purpose `raft`, with the next nonce of the sequence.
   * @param plaintext of any length; stays unchanged and is not kept
   * @param headroomBytes bytes before the envelope that are the caller's to fill, such as a tag
   *   byte; zero until then
   * @returns headroom and envelope, the caller's to keep
   * @throws RAFTSEAL_ENVELOPE_UNKNOWN_DEK, RAFTSEAL_ENVELOPE_WRONG_PURPOSE,
   *   RAFTSEAL_ENVELOPE_RESERVED_DEK_ID, RAFTSEAL_ENVELOPE_NONCE_SEQUENCE_CONFLICT,
   *   RAFTSEAL_ENVELOPE_NONCES_EXHAUSTED; RangeError for a shard or index out of range
   */
  seal(under: SealingKey & RaftPlace, plaintext: Uint8Array, headroomBytes = 0): Bytes {
    const key = this.#keyring.sealingKey(under.dekId, 'raft', under.nonces);
    const aad = this.#aad.at(under.dekId, under);
    return sealEnvelope({ version: 2, key, under, aad, headroomBytes }, plaintext);
  }

  /**
   * Opens the envelope found at a place, under whichever DEK it names.
   * @returns the plaintext, the caller's to keep
   * @throws RAFTSEAL_ENVELOPE_TOO_SHORT, RAFTSEAL_ENVELOPE_VERSION, RAFTSEAL_ENVELOPE_FLAG,
   *   RAFTSEAL_ENVELOPE_RESERVED_DEK_ID, RAFTSEAL_ENVELOPE_UNKNOWN_DEK,
   *   RAFTSEAL_ENVELOPE_WRONG_PURPOSE, RAFTSEAL_ENVELOPE_INTEGRITY, in this order of checks
   */
  open(place: RaftPlace, envelope: Uint8Array): Bytes {
    const dekId = checkHeader(envelope, 2);
    const key = this.#keyring.openingKey(dekId, 'raft');
    const plaintext = openFrom(key, this.#aad.at(dekId, place), envelope);
    if (plaintext !== undefined) return plaintext;
    throw integrityError(`entry ${place.index} of shard ${place.shardId} (DEK ${dekId})`);
  }
}
