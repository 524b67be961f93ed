/** Length of every data key, in bytes (AES-256). */
export const DEK_BYTES = 32;

/** Length of a cluster id, in bytes. */
export const CLUSTER_ID_BYTES = 16;

/** What a data key is for. A key of one purpose is never used for another. */
export type KeyPurpose = 'storage' | 'raft' | 'index';

/** The byte that stands for a purpose wherever it is bound into authenticated data. */
export const purposeByte: Readonly<Record<KeyPurpose, number>> = { storage: 1, raft: 2, index: 3 };

/** What a wrap is bound to: a wrapped DEK moved to another id, purpose or cluster does not open. */
export interface WrapBinding {
  /** 16 bytes. */
  readonly clusterId: Uint8Array;
  /** Non-zero u32. */
  readonly dekId: number;
  readonly purpose: KeyPurpose;
}

/** One DEK under one KEK. */
export interface WrappedKey {
  /** Which KEK made it, as {@link KekProvider.kekUri}. */
  readonly kekUri: string;
  readonly bytes: Uint8Array;
}

/**
 * A key-encryption key held outside the replicated state. Implementations are safe for concurrent
 * calls and put a bound on the time of each.
 */
export interface KekProvider {
  /** Names the KEK without revealing it, such as `file:/etc/raftseal/kek`. */
  readonly kekUri: string;

  /**
   * Wraps a DEK under the KEK, bound to `binding`. Two wraps of one DEK differ.
   * @param dek 32 bytes; stays the caller's, who wipes it.
   * @throws RAFTSEAL_KEK_DEK_LENGTH, RAFTSEAL_KEK_UNAVAILABLE
   */
  wrapKey(dek: Uint8Array, binding: WrapBinding): Promise<Uint8Array>;

  /**
   * Unwraps what {@link wrapKey} made for the same binding.
   * @returns 32 bytes that the caller owns and wipes.
   * @throws RAFTSEAL_KEK_MISMATCH where the KEK, the binding or the bytes are not the ones of the
   *   wrap; RAFTSEAL_KEK_UNAVAILABLE where the KEK cannot be reached.
   */
  unwrapKey(wrapped: Uint8Array, binding: WrapBinding): Promise<Uint8Array>;

  /** Wipes what can be wiped. Idempotent; calls after it throw RAFTSEAL_KEK_CLOSED. */
  close(): Promise<void>;
}
