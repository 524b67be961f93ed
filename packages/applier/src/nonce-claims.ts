/**
 * Which nonce epochs this process may seal under.
 *
 * An epoch is in the sidecar before anyone learns of it, and no two processes of a node are given
 * the same one under a key. Epoch 1 goes to the process that was running when the key was made:
 * nobody can have sealed under it before. Every other process claims one above the recorded. A
 * registration of this node above a claim (somebody else is us) raises the record and so ends the
 * claim.
 */
import { type KeyRecord, type KeyState, RaftsealError } from '@raftseal/interface';
import { checkEpoch } from './startup-checks.ts';
import { type WriterRowView, writerIdOf } from './writer-registry.ts';

/** What a process seals with: the parts of its nonces that are not the counter. */
export interface NonceClaim {
  readonly writerId: number;
  readonly nonceEpoch: number;
}

export interface NonceClaimsParts {
  readonly nodeId: string;
  readonly registry: WriterRowView;
  /** The durable state. */
  readonly state: () => KeyState;
  /** Makes a state durable; called by `claim` only. */
  readonly write: (state: KeyState) => Promise<void>;
}

export class NonceClaims {
  readonly #parts: NonceClaimsParts;
  /** By DEK: the epoch that this process holds. */
  readonly #epochs = new Map<number, number>();
  #writerId: number | undefined;

  constructor(parts: NonceClaimsParts) {
    this.#parts = parts;
  }

  /** The claim under a DEK, or undefined where there is none or it has ended. */
  of(dekId: number): NonceClaim | undefined {
    const nonceEpoch = this.#epochs.get(dekId);
    const writerId = this.#ownWriterId();
    if (nonceEpoch === undefined || writerId === undefined) return undefined;
    if (nonceEpoch !== this.#parts.state().keys.get(dekId)?.nonceEpoch) return undefined;
    return { writerId, nonceEpoch };
  }

  isRegistered(dekId: number): boolean {
    const claim = this.of(dekId);
    if (claim === undefined) return false;
    return this.#parts.registry.row(dekId, claim.writerId)?.lastEpoch === claim.nonceEpoch;
  }

  /**
   * Holds epoch 1 of the keys that are new since `before`. A higher epoch says that a row of an
   * earlier process was there: such a key is claimed.
   */
  holdFirstEpochs(before: KeyState): void {
    for (const [dekId, { nonceEpoch }] of this.#parts.state().keys) {
      if (!before.keys.has(dekId) && nonceEpoch === 1) this.#epochs.set(dekId, nonceEpoch);
    }
  }

  /** Claims the next epoch; one call at a time. @throws see `KeyLifecycle.claimNonceEpoch` */
  async claim(dekId: number): Promise<NonceClaim> {
    const held = this.of(dekId);
    if (held !== undefined) return held;
    const state = this.#parts.state();
    const key = sealingKey(state, dekId);
    const writerId = this.#ownWriterId();
    if (writerId === undefined) throw noWriter(this.#parts.nodeId);
    const { registry } = this.#parts;
    checkEpoch({ dekId, key, lastEpoch: registry.row(dekId, writerId)?.lastEpoch });
    const nonceEpoch = key.nonceEpoch + 1;
    await this.#parts.write({
      ...state,
      keys: new Map(state.keys).set(dekId, { ...key, nonceEpoch }),
    });
    this.#epochs.set(dekId, nonceEpoch);
    return { writerId, nonceEpoch };
  }

  /** Given once and for good. */
  #ownWriterId(): number | undefined {
    this.#writerId ??= writerIdOf(this.#parts.state().writers, this.#parts.nodeId);
    return this.#writerId;
  }
}

function sealingKey(state: KeyState, dekId: number): KeyRecord {
  const key = state.keys.get(dekId);
  if (key === undefined) {
    throw new RaftsealError(
      'RAFTSEAL_APPLIER_DEK_UNKNOWN',
      `expected to claim an epoch under a DEK of this cluster; found DEK ${dekId}. ` +
        'Wait until its entry is applied.',
    );
  }
  if (key.purpose !== 'index') return key;
  throw new RaftsealError(
    'RAFTSEAL_APPLIER_DEK_PURPOSE',
    `expected to claim an epoch under a storage or raft DEK; DEK ${dekId} is for indexes and ` +
      'draws no nonces.',
  );
}

function noWriter(nodeId: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_APPLIER_WRITER_UNKNOWN',
    `expected ${nodeId} to have a writer id; it has none. A leader has to register it first.`,
  );
}
