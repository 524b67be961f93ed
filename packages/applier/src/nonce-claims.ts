/**
 * Which nonce epochs this process may seal under.
 *
 * An epoch is in the sidecar before anyone learns of it, and no two processes of a node are given
 * the same one under a key, unless they run on copies of one data directory. So each claim has a
 * random id, and the first registration of an epoch in the log says whose it is: a claim whose epoch
 * is registered with another id ends, and so does one below a registration of this node.
 *
 * A key comes with a registration of every known writer at epoch 1. That epoch goes to the one
 * process of the node that cannot have a rival: whose claim is the latest that the log has
 * registered for the node when the key is made or, for the first keys, who was running when the
 * control log had no entry of theirs. Every other process claims an epoch above it.
 */
import { randomBytes } from 'node:crypto';
import { type KeyRecord, type KeyState, RaftsealError } from '@raftseal/interface';
import type { KeyLifecycleEntry, RegisterEntry } from './entry.ts';
import { CLAIM_ID_BYTES } from './entry-rules.ts';
import { isSameBytes } from './same-bytes.ts';
import { checkEpoch } from './startup-checks.ts';
import { type WriterRowView, writerIdOf } from './writer-registry.ts';

/** What a process seals with: the parts of its nonces that are not the counter. */
export interface NonceClaim {
  readonly writerId: number;
  readonly nonceEpoch: number;
  /** 16 bytes, drawn for this claim; its `Register` entry carries them. */
  readonly claimId: Uint8Array;
}

export interface NonceClaimsParts {
  readonly nodeId: string;
  readonly registry: WriterRowView;
  /** The durable state. */
  readonly state: () => KeyState;
  /** Makes a state durable; called by `claim` only. */
  readonly write: (state: KeyState) => Promise<void>;
  /** 16 bytes that no other claim has. Default: random ones. */
  readonly drawClaimId: (() => Uint8Array) | undefined;
}

/** An epoch that this process holds under a DEK. */
interface Hold {
  readonly nonceEpoch: number;
  readonly claimId: Uint8Array;
  /** True once the log has registered the epoch for this very claim. */
  readonly isConfirmed: boolean;
}

export class NonceClaims {
  readonly #parts: NonceClaimsParts;
  /** By DEK. */
  readonly #holds = new Map<number, Hold>();
  /** True while the latest registration of this node, as far as applied here, is this process's. */
  #isLatestRegistered = false;
  #isAbandoned = false;
  #writerId: number | undefined;

  constructor(parts: NonceClaimsParts) {
    this.#parts = parts;
  }

  /** The claim under a DEK, or undefined where there is none or it has ended. */
  of(dekId: number): NonceClaim | undefined {
    const hold = this.#current(dekId);
    const writerId = this.#ownWriterId();
    if (hold === undefined || writerId === undefined) return undefined;
    const { nonceEpoch, claimId } = hold;
    return { writerId, nonceEpoch, claimId };
  }

  isRegistered(dekId: number): boolean {
    const hold = this.#current(dekId);
    const writerId = this.#ownWriterId();
    if (hold === undefined || writerId === undefined || !hold.isConfirmed) return false;
    return this.#parts.registry.row(dekId, writerId)?.lastEpoch === hold.nonceEpoch;
  }

  /** Claims the next epoch; one call at a time. @throws see `KeyLifecycle.claimNonceEpoch` */
  async claim(dekId: number): Promise<NonceClaim> {
    const { nodeId, registry, state: durableState, write } = this.#parts;
    this.#checkNotAbandoned();
    const held = this.of(dekId);
    if (held !== undefined) return held;
    const state = durableState();
    const key = sealingKey(state, dekId);
    const writerId = this.#ownWriterId();
    if (writerId === undefined) throw noWriter(nodeId);
    checkEpoch({ dekId, key, lastEpoch: registry.row(dekId, writerId)?.lastEpoch });
    const nonceEpoch = key.nonceEpoch + 1;
    await write({ ...state, keys: new Map(state.keys).set(dekId, { ...key, nonceEpoch }) });
    this.#checkNotAbandoned();
    const claimId = this.#drawClaimId();
    this.#holds.set(dekId, { nonceEpoch, claimId, isConfirmed: false });
    return { writerId, nonceEpoch, claimId };
  }

  /**
   * Follows an entry that was applied, once the state that it led to is durable.
   * @param isNew no earlier process of this node can have applied it.
   */
  follow(entry: KeyLifecycleEntry, { before, isNew }: { before: KeyState; isNew: boolean }): void {
    if (entry.kind === 'register' && entry.nodeId === this.#parts.nodeId) {
      this.#followRegistration(entry);
    }
    if (!isNew || this.#isAbandoned) return;
    if (before.clusterId !== undefined && !this.#isLatestRegistered) return;
    if (this.#holdFirstEpochs(before)) this.#isLatestRegistered = true;
  }

  /**
   * Follows registrations whose entries were not seen, nor who made them: a claim that is not
   * confirmed may be somebody else's by then, and so may the next first epoch.
   */
  followUnseen(): void {
    this.#isLatestRegistered = false;
    const writerId = this.#ownWriterId();
    if (writerId === undefined) return;
    for (const [dekId, { nonceEpoch, isConfirmed }] of this.#holds) {
      const lastEpoch = this.#parts.registry.row(dekId, writerId)?.lastEpoch ?? 0;
      if (!isConfirmed && lastEpoch >= nonceEpoch) this.#holds.delete(dekId);
    }
  }

  /** Ends the claims under keys that are retired. */
  forget(dekIds: readonly number[]): void {
    for (const dekId of dekIds) this.#holds.delete(dekId);
  }

  /** Ends every claim; none is given any more. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#holds.clear();
  }

  #followRegistration({ dekId, epoch, claimId }: RegisterEntry): void {
    const hold = this.#current(dekId);
    const isOurs =
      hold?.nonceEpoch === epoch && claimId !== undefined && isSameBytes(claimId, hold.claimId);
    if (!isOurs) {
      this.#isLatestRegistered = false;
      // The first registration of an epoch counts: a later one changes nothing for who has it.
      if (hold?.nonceEpoch === epoch && !hold.isConfirmed) this.#holds.delete(dekId);
      return;
    }
    if (hold.isConfirmed) return;
    this.#holds.set(dekId, { ...hold, isConfirmed: true });
    this.#isLatestRegistered = true;
  }

  /**
   * Holds epoch 1 of the keys that are new since `before`: their entry registered it for every
   * writer. A higher epoch says that a row of an earlier process was there: such a key is claimed.
   * @returns whether there was any.
   */
  #holdFirstEpochs(before: KeyState): boolean {
    if (this.#ownWriterId() === undefined) return false;
    let holdsAny = false;
    for (const [dekId, { nonceEpoch }] of this.#parts.state().keys) {
      if (before.keys.has(dekId) || nonceEpoch !== 1) continue;
      this.#holds.set(dekId, { nonceEpoch, claimId: this.#drawClaimId(), isConfirmed: true });
      holdsAny = true;
    }
    return holdsAny;
  }

  /** What is held under a DEK, unless a registration of this node above it has raised the record. */
  #current(dekId: number): Hold | undefined {
    const hold = this.#holds.get(dekId);
    return hold?.nonceEpoch === this.#parts.state().keys.get(dekId)?.nonceEpoch ? hold : undefined;
  }

  #drawClaimId(): Uint8Array {
    return this.#parts.drawClaimId?.() ?? randomBytes(CLAIM_ID_BYTES);
  }

  #checkNotAbandoned(): void {
    if (!this.#isAbandoned) return;
    throw new RaftsealError(
      'RAFTSEAL_APPLIER_CLAIMS_ABANDONED',
      `expected this process to be the only one of ${this.#parts.nodeId}; another has taken its ` +
        'place. Stop this process, and start the node again where it is to run.',
    );
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
