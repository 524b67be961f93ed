/**
 * The order in which HSCAN walks a hash: by a hash of the field, so that a cursor stays good while
 * fields come and go, while the hash leaves memory and comes back, and on another replica.
 *
 * Invariant: a page is a whole number of buckets, and a bucket is the set of fields whose position
 * starts with the same bits. A cursor is a position, not a bucket number: after the number of
 * buckets has changed, it falls into a bucket that starts at or before it, so a field may be
 * returned twice but none that stays is passed over.
 */
import type { ByteString } from '@raftseal/interface';

const POSITION_BITS = 32;
const FIELDS_PER_BUCKET = 8;

/** FNV-1a, then mixed so that the upper bits depend on every byte. */
function positionOf(field: ByteString): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < field.length; i++) hash = Math.imul(hash ^ field.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

export class FieldScan {
  #buckets: ByteString[][] = [];
  #bits = 0;
  #size = 0;

  constructor(fields: Iterable<ByteString>, size: number) {
    this.#rebuild(fields, size);
  }

  add(field: ByteString): void {
    this.#bucketOf(field).push(field);
    this.#size++;
    if (this.#size > 4 * FIELDS_PER_BUCKET * this.#buckets.length) {
      this.#rebuild(this.#buckets.flat(), this.#size);
    }
  }

  remove(field: ByteString): void {
    const bucket = this.#bucketOf(field);
    const at = bucket.indexOf(field);
    if (at === -1) return;
    bucket[at] = bucket[bucket.length - 1] ?? field;
    bucket.pop();
    this.#size--;
  }

  /**
   * The fields from `cursor` on: at least `count` of them, or all that are left.
   * @returns the cursor of the next page, 0n behind the last.
   */
  page(cursor: bigint, count: number): { cursor: bigint; fields: ByteString[] } {
    const fields: ByteString[] = [];
    const shift = POSITION_BITS - this.#bits;
    const from = BigInt.asUintN(POSITION_BITS, cursor);
    let bucket = Number(from >> BigInt(shift));
    while (bucket < this.#buckets.length && fields.length < count) {
      for (const field of this.#buckets[bucket] ?? []) fields.push(field);
      bucket++;
    }
    const next = bucket < this.#buckets.length ? BigInt(bucket) << BigInt(shift) : 0n;
    return { cursor: next, fields };
  }

  #bucketOf(field: ByteString): ByteString[] {
    const index = this.#bits === 0 ? 0 : positionOf(field) >>> (POSITION_BITS - this.#bits);
    return this.#buckets[index] ?? [];
  }

  #rebuild(fields: Iterable<ByteString>, size: number): void {
    this.#bits = 0;
    while (this.#bits < 24 && 1 << this.#bits < size / FIELDS_PER_BUCKET) this.#bits++;
    this.#buckets = Array.from({ length: 1 << this.#bits }, () => []);
    this.#size = size;
    for (const field of fields) this.#bucketOf(field).push(field);
  }
}
