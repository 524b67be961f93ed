/**
 * What all layers share of sealing and of refusing. The order of an open is: length, version, flag,
 * dekId (`checkHeader`), DEK loaded, its purpose (`Keyring.openingKey`), tag (`openFrom`); no
 * plaintext leaves before the tag is checked.
 */

import { RaftsealError } from '@raftseal/interface';
import { allocate, type Bytes, type SecretKey, sealInto } from '#crypto';
import {
  ENVELOPE_OVERHEAD_BYTES,
  type EnvelopeVersion,
  NONCE_OFFSET,
  writeHeader,
} from './header.ts';
import type { NonceSequence } from './nonce-sequence.ts';

/** Which DEK to seal under, and this process's one sequence of nonces for it. */
export interface SealingKey {
  /** Non-zero u32. */
  readonly dekId: number;
  readonly nonces: NonceSequence;
  /** For what must be sealed even where the limit of the sequence refuses all else. */
  readonly fromReserve?: boolean;
}

export interface SealRequest {
  readonly version: EnvelopeVersion;
  /** The key that {@link under} names. */
  readonly key: SecretKey;
  readonly under: SealingKey;
  readonly aad: Uint8Array;
  /** Zero bytes left before the envelope, for the caller to fill. */
  readonly headroomBytes: number;
}

/** @throws RAFTSEAL_ENVELOPE_NONCES_EXHAUSTED */
export function sealEnvelope(request: SealRequest, plaintext: Uint8Array): Bytes {
  const { version, key, under, aad, headroomBytes } = request;
  const sealed = allocate(headroomBytes + ENVELOPE_OVERHEAD_BYTES + plaintext.length);
  for (let i = 0; i < headroomBytes; i++) sealed[i] = 0;
  writeHeader(sealed, headroomBytes, version, under.dekId);
  under.nonces.draw(sealed, headroomBytes + NONCE_OFFSET, under.fromReserve);
  sealInto(key, aad, plaintext, sealed, headroomBytes);
  return sealed;
}

/** @param what names the envelope without its content, such as `entry 7 of shard 0` */
export function integrityError(what: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENVELOPE_INTEGRITY',
    `${what} was expected to be as it was sealed, and in its place, but its tag does not match: ` +
      'it was damaged, edited or moved here; restore it from another replica or a backup',
  );
}
