/**
 * The DEKs that this process can use, by id: the active ones and every older one that something may
 * still be sealed under. Held in memory only; whoever unwraps DEKs fills it.
 *
 * A DEK is used for the purpose it was added with and no other, so a key of the log never opens a
 * stored value even where their bytes are the same. It also remembers which nonce sequence seals
 * under it: see {@link Keyring.sealingKey}.
 */

import { DEK_BYTES, type KeyPurpose, RaftsealError } from '@raftseal/interface';
import { equalKeys, importKey, type SecretKey } from '#crypto';
import { checkDekId } from './header.ts';
import type { NonceSequence } from './nonce-sequence.ts';

interface Slot {
  readonly purpose: KeyPurpose;
  readonly key: SecretKey;
}

export class Keyring {
  readonly #slots = new Map<number, Slot>();
  /** By DEK; outlives the slot, for the key may be deleted and added again. */
  readonly #sequences = new Map<number, NonceSequence>();

  /**
   * Adds a DEK; adding the same bytes for the same purpose again changes nothing.
   * @param dekId non-zero u32
   * @param dek 32 bytes, copied: the caller wipes them
   * @throws RAFTSEAL_ENVELOPE_RESERVED_DEK_ID, RAFTSEAL_ENVELOPE_DEK_LENGTH;
   *   RAFTSEAL_ENVELOPE_DEK_CONFLICT where the id has another key or purpose, which stays
   */
  add(dekId: number, purpose: KeyPurpose, dek: Uint8Array): void {
    checkDekId(dekId);
    if (dek.length !== DEK_BYTES) {
      throw new RaftsealError(
        'RAFTSEAL_ENVELOPE_DEK_LENGTH',
        `DEK ${dekId} was expected to have ${DEK_BYTES} bytes, found ${dek.length}: check which ` +
          'KEK and key state it was unwrapped from',
      );
    }
    const key = importKey(dek);
    const present = this.#slots.get(dekId);
    if (present === undefined) {
      this.#slots.set(dekId, { purpose, key });
    } else if (present.purpose !== purpose || !equalKeys(present.key, key)) {
      throw new RaftsealError(
        'RAFTSEAL_ENVELOPE_DEK_CONFLICT',
        `DEK ${dekId} (${present.purpose}) was expected to be added once, found a second, ` +
          `different one (${purpose}): the key state of two clusters may have been mixed`,
      );
    }
  }

  has(dekId: number): boolean {
    return this.#slots.has(dekId);
  }

  /** Undefined where the DEK is not loaded. */
  purposeOf(dekId: number): KeyPurpose | undefined {
    return this.#slots.get(dekId)?.purpose;
  }

  /** The ids of the loaded DEKs, ascending; the caller's to keep. */
  ids(): number[] {
    return [...this.#slots.keys()].sort((a, b) => a - b);
  }

  /** Forgets a DEK. @returns false where it was not loaded */
  delete(dekId: number): boolean {
    return this.#slots.delete(dekId);
  }

  /**
   * The key to open with, or to derive from.
   * @throws RAFTSEAL_ENVELOPE_UNKNOWN_DEK, RAFTSEAL_ENVELOPE_WRONG_PURPOSE
   * @internal
   */
  openingKey(dekId: number, purpose: KeyPurpose): SecretKey {
    const slot = this.#slots.get(dekId);
    if (slot === undefined) {
      throw new RaftsealError(
        'RAFTSEAL_ENVELOPE_UNKNOWN_DEK',
        `DEK ${dekId} was expected to be loaded for the purpose ${purpose}, found only ` +
          `[${this.ids().join(', ')}]: this node has not applied the entry that brings it, or its ` +
          'key state is not the one the bytes were sealed with',
      );
    }
    if (slot.purpose !== purpose) {
      throw new RaftsealError(
        'RAFTSEAL_ENVELOPE_WRONG_PURPOSE',
        `DEK ${dekId} was expected to be of purpose ${purpose}, found ${slot.purpose}: the ` +
          'envelope was moved here from another layer, or a wrong id was configured',
      );
    }
    return slot.key;
  }

  /**
   * The key to seal with, given the nonces that will be drawn. Two sequences of one writer and epoch
   * would repeat each other's nonces, so a second sequence is taken only with a higher epoch.
   * @throws as {@link openingKey}; RAFTSEAL_ENVELOPE_RESERVED_DEK_ID,
   *   RAFTSEAL_ENVELOPE_NONCE_SEQUENCE_CONFLICT
   * @internal
   */
  sealingKey(dekId: number, purpose: KeyPurpose, nonces: NonceSequence): SecretKey {
    checkDekId(dekId);
    const key = this.openingKey(dekId, purpose);
    const present = this.#sequences.get(dekId);
    if (present !== nonces) {
      if (present !== undefined && nonces.nonceEpoch <= present.nonceEpoch) {
        throw new RaftsealError(
          'RAFTSEAL_ENVELOPE_NONCE_SEQUENCE_CONFLICT',
          `DEK ${dekId} was expected to be sealed under with one nonce sequence (epoch ` +
            `${present.nonceEpoch}), found a second of epoch ${nonces.nonceEpoch}: share one ` +
            'sequence per DEK among all shards, or claim a higher epoch',
        );
      }
      this.#sequences.set(dekId, nonces);
    }
    return key;
  }
}
