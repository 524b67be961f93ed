/**
 * The payload wrap: the one place that decides whether what a shard appends is sealed.
 *
 * "Off" is the named value {@link cleartext}, never null, so that a slip in the wiring does not
 * compile. A sealed wrap carries the cutover index with the functions: they are swapped as one
 * unit, and no reader can see a new index with an old function or the reverse.
 */

/** Entries go into the log as they are. */
export interface CleartextWrap {
  readonly kind: 'cleartext';
}

/** Entries above `cutoverIndex` are sealed; at or below it none is. */
export interface SealedWrap {
  readonly kind: 'sealed';
  /** Index of the marker; the strict comparison `index > cutoverIndex` decides. */
  readonly cutoverIndex: bigint;
  /** The DEK that `seal` uses, for reports. */
  readonly dekId: number;
  /**
   * Seals a body for one index; draws a fresh nonce at every call, also when the same body is
   * sealed again.
   * @returns a buffer whose first `headroomBytes` are the caller's to fill, then the envelope
   * @throws a coded error where no seal is possible (nonces used up, writer not registered); then
   *   nothing may be appended
   */
  seal(body: Uint8Array, index: bigint, headroomBytes: number): Buffer;
  /**
   * Opens an envelope found at an index, under whichever DEK it names.
   * @throws RAFTSEAL_ENVELOPE_UNKNOWN_DEK where that DEK is not loaded (yet), another coded error
   *   where it does not open
   */
  open(envelope: Uint8Array, index: bigint): Buffer;
}

export type RaftPayloadWrap = CleartextWrap | SealedWrap;

export const cleartext: CleartextWrap = { kind: 'cleartext' };

export function sealed(wrap: Omit<SealedWrap, 'kind'>): SealedWrap {
  if (wrap.cutoverIndex < 1n) {
    throw new RangeError(`cutoverIndex must be the index of a marker, found ${wrap.cutoverIndex}`);
  }
  return { ...wrap, kind: 'sealed' };
}

/** Whether the entry at `index` has to be sealed under `wrap`. */
export function mustBeSealed(wrap: RaftPayloadWrap, index: bigint): wrap is SealedWrap {
  return wrap.kind === 'sealed' && index > wrap.cutoverIndex;
}
