/**
 * The envelope's layout, all integers big-endian:
 *
 * | offset | bytes | field |
 * | --- | --- | --- |
 * | 0 | 1 | version: 1 or 2 |
 * | 1 | 1 | flag: 0; bit 0 of a storage envelope of version 2 is kept for "compressed" |
 * | 2 | 4 | dekId, never 0 |
 * | 6 | 12 | nonce |
 * | 18 | n | ciphertext |
 * | 18+n | 16 | GCM tag |
 *
 * Nothing here authenticates. {@link decodeEnvelope} is for tools that report on envelopes; what
 * opens one goes through {@link checkHeader}, which refuses what the layer does not know.
 */
import { RaftsealError } from '@raftseal/interface';
import { isU32, readU32, writeU32 } from './big-endian.ts';

/** Bytes before the ciphertext. */
export const HEADER_BYTES = 18;

/** Bytes of a nonce (the 96 bits that NIST SP 800-38D section 8.2 recommends). */
export const NONCE_BYTES = 12;

/** Bytes of a GCM tag. Shorter ones are refused: a 4-byte tag is forged in 2^32 tries. */
export const TAG_BYTES = 16;

/** How much longer an envelope is than its plaintext. */
export const ENVELOPE_OVERHEAD_BYTES: number = HEADER_BYTES + TAG_BYTES;

export const NONCE_OFFSET = 6;

/** 1: the interchange format, bound to no place. 2: bound to cluster, shard and place. */
export type EnvelopeVersion = 1 | 2;

/** An envelope taken apart; not authenticated. */
export interface Envelope {
  readonly version: EnvelopeVersion;
  readonly flag: number;
  /** Non-zero u32. */
  readonly dekId: number;
  /** 12 bytes. */
  readonly nonce: Uint8Array;
  /** Ciphertext and the 16-byte tag after it. */
  readonly body: Uint8Array;
}

/**
 * Lays the parts out; copies them.
 * @throws RAFTSEAL_ENVELOPE_VERSION, RAFTSEAL_ENVELOPE_RESERVED_DEK_ID;
 *   RAFTSEAL_ENVELOPE_TOO_SHORT where the body cannot hold a tag; RangeError
 */
export function encodeEnvelope({ version, flag, dekId, nonce, body }: Envelope): Uint8Array {
  if (version !== 1 && version !== 2) throw unknownVersion(version, '1 or 2');
  if (body.length < TAG_BYTES) throw tooShort(HEADER_BYTES + body.length);
  if ((flag & 0xff) !== flag) throw new RangeError(`flag must be one byte, found ${flag}`);
  if (nonce.length !== NONCE_BYTES) {
    throw new RangeError(`nonce must have ${NONCE_BYTES} bytes, found ${nonce.length}`);
  }
  checkDekId(dekId);
  const envelope = new Uint8Array(HEADER_BYTES + body.length);
  writeHeader(envelope, 0, version, dekId);
  envelope[1] = flag;
  envelope.set(nonce, NONCE_OFFSET);
  envelope.set(body, HEADER_BYTES);
  return envelope;
}

/**
 * Takes an envelope apart; the result shares no memory with the input. Any flag is let through:
 * only what opens the envelope knows which flags it can honour.
 * @throws RAFTSEAL_ENVELOPE_TOO_SHORT, RAFTSEAL_ENVELOPE_VERSION,
 *   RAFTSEAL_ENVELOPE_RESERVED_DEK_ID, in this order of checks
 */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  if (bytes.length < ENVELOPE_OVERHEAD_BYTES) throw tooShort(bytes.length);
  const version = bytes[0];
  if (version !== 1 && version !== 2) throw unknownVersion(version, '1 or 2');
  return {
    version,
    flag: bytes[1] ?? 0,
    dekId: dekIdOf(bytes),
    nonce: new Uint8Array(bytes.subarray(NONCE_OFFSET, HEADER_BYTES)),
    body: new Uint8Array(bytes.subarray(HEADER_BYTES)),
  };
}

/**
 * The checks that precede the lookup of the key, in the order length, version, flag, dekId.
 * @returns the dekId
 */
export function checkHeader(envelope: Uint8Array, version: EnvelopeVersion): number {
  if (envelope.length < ENVELOPE_OVERHEAD_BYTES) throw tooShort(envelope.length);
  if (envelope[0] !== version) throw unknownVersion(envelope[0], `${version}`);
  if (envelope[1] !== 0) throw unknownFlag(envelope[1]);
  return dekIdOf(envelope);
}

/** Writes version, flag 0 and dekId; the nonce is the sequence's to write. */
export function writeHeader(
  target: Uint8Array,
  offset: number,
  version: EnvelopeVersion,
  dekId: number,
): void {
  target[offset] = version;
  target[offset + 1] = 0;
  writeU32(target, offset + 2, dekId);
}

/** @throws RAFTSEAL_ENVELOPE_RESERVED_DEK_ID; RangeError where it is no u32 */
export function checkDekId(dekId: number): void {
  if (!isU32(dekId)) throw new RangeError(`dekId must be an unsigned 32-bit integer: ${dekId}`);
  if (dekId === 0) throw reservedDekId();
}

function dekIdOf(envelope: Uint8Array): number {
  const dekId = readU32(envelope, 2);
  if (dekId === 0) throw reservedDekId();
  return dekId;
}

function tooShort(bytes: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENVELOPE_TOO_SHORT',
    `an envelope has at least ${ENVELOPE_OVERHEAD_BYTES} bytes, found ${bytes}: it was cut short, ` +
      'or is no envelope; read it from another replica',
  );
}

function unknownVersion(found: number | undefined, expected: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENVELOPE_VERSION',
    `expected an envelope of version ${expected}, found ${found}: it is no envelope, is damaged, ` +
      'or was written in a format that this program is not set to open',
  );
}

function unknownFlag(found: number | undefined): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENVELOPE_FLAG',
    `expected an envelope with flag 0, found ${found}: it was edited or damaged, or written by a ` +
      'later version of this program',
  );
}

function reservedDekId(): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENVELOPE_RESERVED_DEK_ID',
    'expected the id of a DEK, found 0, which stands for no key: the key state is not ' +
      'bootstrapped, or the bytes are no envelope',
  );
}
