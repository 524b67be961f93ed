/**
 * What this process may seal, and with which nonces: one nonce sequence per DEK, shared by all
 * shards, over the nonce epoch that this process holds.
 *
 * Until this node's registration under a DEK is applied, nothing is sealed under it but that very
 * registration: it has to go through the sealed log, and it is the proof that others look at. Its
 * nonce is random, since another process of this node may be sealing one of the same epoch.
 */
import { decodeEntry, type KeyLifecycle, type NonceClaim } from '@raftseal/applier';
import type { NonceSequence } from '@raftseal/envelope';
import { RaftsealError } from '@raftseal/interface';
import { KIND_KEY_LIFECYCLE } from '@raftseal/shard-group';
import { SealLedger } from './seal-ledger.ts';

export interface SealAuthorityParts {
  readonly nodeId: string;
  readonly keyLifecycle: Pick<KeyLifecycle, 'claimOf' | 'isRegistered'>;
  /** Counts the seals over processes. Default: one that is kept by nobody. */
  readonly ledger?: SealLedger;
}

export class SealAuthority {
  readonly #parts: SealAuthorityParts;
  readonly #ledger: SealLedger;
  readonly #sequences = new Map<number, NonceSequence>();

  constructor(parts: SealAuthorityParts) {
    this.#parts = parts;
    this.#ledger = parts.ledger ?? SealLedger.inMemory();
  }

  /** Seals drawn by this process under a DEK. */
  seals(dekId: number): bigint {
    return this.#sequences.get(dekId)?.seals ?? 0n;
  }

  /**
   * The sequence to seal `body` with; synchronous, so that nothing comes between it and the draw.
   * @throws RAFTSEAL_NODE_WRITER_NOT_REGISTERED
   */
  nonces(dekId: number, body?: Uint8Array): NonceSequence {
    const { keyLifecycle } = this.#parts;
    const claim = keyLifecycle.claimOf(dekId);
    if (claim !== undefined && keyLifecycle.isRegistered(dekId)) {
      const sequence = this.#sequence(dekId, claim);
      sequence.registered();
      return sequence;
    }
    if (claim !== undefined && this.#isOwnRegistration(dekId, claim, body)) {
      return this.#sequence(dekId, claim);
    }
    throw new RaftsealError(
      'RAFTSEAL_NODE_WRITER_NOT_REGISTERED',
      `this process is not registered to seal under DEK ${dekId}: try again in a moment`,
    );
  }

  #sequence(dekId: number, { writerId, nonceEpoch }: NonceClaim): NonceSequence {
    const current = this.#sequences.get(dekId);
    if (current?.nonceEpoch === nonceEpoch) return current;
    const sequence = this.#ledger.sequence(dekId, { writerId, nonceEpoch });
    this.#sequences.set(dekId, sequence);
    return sequence;
  }

  #isOwnRegistration(dekId: number, claim: NonceClaim, body: Uint8Array | undefined): boolean {
    if (body?.[0] !== KIND_KEY_LIFECYCLE) return false;
    const entry = decodeEntry(body.subarray(1));
    return (
      entry.kind === 'register' &&
      entry.nodeId === this.#parts.nodeId &&
      entry.dekId === dekId &&
      entry.epoch === claim.nonceEpoch &&
      entry.claimId !== undefined &&
      Buffer.compare(entry.claimId, claim.claimId) === 0
    );
  }
}
