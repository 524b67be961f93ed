/**
 * What a nonce audit keeps of an envelope, and how it travels between nodes (integers big-endian):
 *
 * | offset | bytes | field |
 * | --- | --- | --- |
 * | 0 | 4 | dekId; 0: what was found there is no envelope |
 * | 4 | 2 | writerId |
 * | 6 | 2 | nonceEpoch |
 * | 8 | 8 | counter |
 * | 16 | 8 | the first bytes of the GCM tag |
 * | 24 | 4 | place: kind u16, shardId u16 |
 *
 * The tag stands for the envelope. It is a keyed digest of ciphertext, place and header (NIST SP
 * 800-38D section 5.2.1.2), so two seals under one nonce have the same one by an accident of about
 * 2^-60 only. Whether an envelope is authentic at all is for `verify` to say.
 */
import { ENVELOPE_OVERHEAD_BYTES, NONCE_BYTES, TAG_BYTES } from '@raftseal/envelope';

/** Where a record was found. `log damage` is of no shard. */
export const placeKinds = ['log', 'store', 'log damage'] as const;

export type PlaceKind = (typeof placeKinds)[number];

export interface Place {
  readonly kind: PlaceKind;
  readonly shardId: number;
}

/** The share of all nonces that one pass looks at; `of` is a power of two. */
export interface NoncePart {
  readonly part: number;
  readonly of: number;
}

export const RECORD_BYTES = 28;
const PLACE_OFFSET = 24;
const TAG_KEPT_BYTES = 8;
const ENVELOPE_NONCE_OFFSET = 6;
const ENVELOPE_DEK_ID_OFFSET = 2;

/** Records in one chunk. */
const CHUNK_RECORDS = 2048;

/** A number of 32 bits that every record of one nonce, and hardly another, has. */
export function hashOf(dekId: number, writer: number, high: number, low: number): number {
  let hash = Math.imul(dekId ^ Math.imul(writer, 0x85ebca6b), 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 15) ^ high, 0x27d4eb2f);
  hash = Math.imul(hash ^ (hash >>> 13) ^ low, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** Divides by the highest bits: tables use the lowest ones. */
export function partOf(hash: number, of: number): number {
  return Math.floor((hash / 2 ** 32) * of);
}

function placeNumber({ kind, shardId }: Place): number {
  return placeKinds.indexOf(kind) * 0x1_0000 + shardId;
}

/** Undefined for a number that stands for none. */
export function placeOf(number: number): Place | undefined {
  const kind = placeKinds[Math.floor(number / 0x1_0000)];
  return kind && { kind, shardId: number % 0x1_0000 };
}

/** The place of the record at an offset, as a number. */
export function placeNumberAt(chunk: Buffer, offset: number): number {
  return chunk.readUInt32BE(offset + PLACE_OFFSET);
}

/** Gathers the records of one part into chunks. */
export class RecordWriter {
  readonly #part: NoncePart;
  #chunk: Buffer = Buffer.allocUnsafe(CHUNK_RECORDS * RECORD_BYTES);
  #length = 0;

  constructor(part: NoncePart) {
    this.#part = part;
  }

  get isFull(): boolean {
    return this.#length === this.#chunk.length;
  }

  /** Takes down what stands at a place; `take` follows once it is full. */
  add(place: Place, envelope: Buffer): void {
    const version = envelope[0];
    const isEnvelope =
      envelope.length >= ENVELOPE_OVERHEAD_BYTES &&
      (version === 1 || version === 2) &&
      envelope.readUInt32BE(ENVELOPE_DEK_ID_OFFSET) !== 0;
    if (!isEnvelope) {
      this.addUnreadable(place);
      return;
    }
    const dekId = envelope.readUInt32BE(ENVELOPE_DEK_ID_OFFSET);
    if (!this.#isOfPart(dekId, envelope)) return;
    const offset = this.#length;
    this.#chunk.writeUInt32BE(dekId, offset);
    envelope.copy(
      this.#chunk,
      offset + 4,
      ENVELOPE_NONCE_OFFSET,
      ENVELOPE_NONCE_OFFSET + NONCE_BYTES,
    );
    const tag = envelope.length - TAG_BYTES;
    envelope.copy(this.#chunk, offset + 4 + NONCE_BYTES, tag, tag + TAG_KEPT_BYTES);
    this.#chunk.writeUInt32BE(placeNumber(place), offset + PLACE_OFFSET);
    this.#length += RECORD_BYTES;
  }

  #isOfPart(dekId: number, envelope: Buffer): boolean {
    const { part, of } = this.#part;
    if (of === 1) return true;
    const writer = envelope.readUInt32BE(ENVELOPE_NONCE_OFFSET);
    const high = envelope.readUInt32BE(ENVELOPE_NONCE_OFFSET + 4);
    const low = envelope.readUInt32BE(ENVELOPE_NONCE_OFFSET + 8);
    return partOf(hashOf(dekId, writer, high, low), of) === part;
  }

  /** Takes down that something at a place is no envelope; in the first pass only. */
  addUnreadable(place: Place): void {
    if (this.#part.part !== 0) return;
    this.#chunk.fill(0, this.#length, this.#length + PLACE_OFFSET);
    this.#chunk.writeUInt32BE(placeNumber(place), this.#length + PLACE_OFFSET);
    this.#length += RECORD_BYTES;
  }

  /** What was gathered; the receiver's to keep. */
  take(): Buffer {
    const chunk = this.#chunk.subarray(0, this.#length);
    this.#chunk = Buffer.allocUnsafe(CHUNK_RECORDS * RECORD_BYTES);
    this.#length = 0;
    return chunk;
  }
}
