/**
 * The content of a row: what is sealed, or stands in the clear, behind the row header. All integers
 * are big-endian.
 *
 * Header, 9 bytes, always readable: `flags u8 | expireAtMs u64`. Flags are 0 for a key, 0x80 for the
 * meta row and 0x81 for the seal of a snapshot; expireAtMs is 0 for a key that does not expire.
 *
 * Content: `type u8 | version u64 | keyLength u32 | key | value`. Type 1 is a string, its value the
 * rest; type 2 is a hash, its value `count u32` and so many (`length u32 | field | length u32 |
 * value`) in field order.
 *
 * Decoding checks every length; what does not fit exactly is RAFTSEAL_KV_ROW_CORRUPT.
 */
import { type ByteString, RaftsealError } from '@raftseal/interface';
import { HashValue } from './hash-value.ts';
import type { Value } from './key-entry.ts';

export const ROW_HEADER_BYTES = 9;
export const KEY_ROW_FLAGS = 0;
export const META_ROW_FLAGS = 0x80;
export const SNAPSHOT_SEAL_FLAGS = 0x81;

const TYPE_STRING = 1;
const TYPE_HASH = 2;
const PREFIX_BYTES = 1 + 8 + 4;

/** One key as a store holds it. */
export interface KeyRecord {
  readonly key: ByteString;
  readonly value: Value;
  readonly expireAtMs: number;
  readonly version: bigint;
}

export function rowCorrupt(found: string, cause?: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KV_ROW_CORRUPT',
    `a stored row was expected to be whole; ${found}; restore the shard from another replica or a backup`,
    cause === undefined ? {} : { cause },
  );
}

export function encodeHeader(target: Buffer, flags: number, expireAtMs: number): void {
  target[0] = flags;
  target.writeUInt32BE(Math.floor(expireAtMs / 2 ** 32), 1);
  target.writeUInt32BE(expireAtMs % 2 ** 32, 5);
}

/** @returns the expiry that a header of the given flags holds. */
export function decodeHeader(row: Buffer, flags: number): number {
  if (row.length < ROW_HEADER_BYTES) throw rowCorrupt('it is shorter than its header');
  if (row[0] !== flags) throw rowCorrupt('its flags are not known');
  return row.readUInt32BE(1) * 2 ** 32 + row.readUInt32BE(5);
}

/** A buffer that grows and is used again: encoding a row allocates nothing in the long run. */
export class Scratch {
  #buffer: Buffer = Buffer.allocUnsafeSlow(4096);

  /** The first `length` bytes; valid until the next call. */
  take(length: number): Buffer {
    if (length > this.#buffer.length) {
      if (length > 1 << 20) return Buffer.allocUnsafeSlow(length);
      this.#buffer = Buffer.allocUnsafeSlow(length * 2);
    }
    return this.#buffer.subarray(0, length);
  }
}

function contentBytes(key: ByteString, value: Value): number {
  let total = PREFIX_BYTES + key.length;
  if (typeof value === 'string') return total + value.length;
  total += 4;
  for (const [field, fieldValue] of value.entries()) total += 8 + field.length + fieldValue.length;
  return total;
}

function writeField(target: Buffer, offset: number, text: ByteString): number {
  target.writeUInt32BE(text.length, offset);
  target.write(text, offset + 4, 'latin1');
  return offset + 4 + text.length;
}

/** @returns a view of `scratch`, valid until it is used again. */
export function encodeContent(
  key: ByteString,
  value: Value,
  version: bigint,
  scratch: Scratch,
): Buffer {
  const target = scratch.take(contentBytes(key, value));
  target[0] = typeof value === 'string' ? TYPE_STRING : TYPE_HASH;
  target.writeBigUInt64BE(version, 1);
  let offset = writeField(target, 9, key);
  if (typeof value === 'string') {
    target.write(value, offset, 'latin1');
    return target;
  }
  offset = target.writeUInt32BE(value.size, offset);
  for (const [field, fieldValue] of value.entries()) {
    offset = writeField(target, offset, field);
    offset = writeField(target, offset, fieldValue);
  }
  return target;
}

class ContentReader {
  readonly #content: Buffer;
  position = 0;

  constructor(content: Buffer) {
    this.#content = content;
  }

  u32(): number {
    this.need(4);
    this.position += 4;
    return this.#content.readUInt32BE(this.position - 4);
  }

  text(length: number): ByteString {
    this.need(length);
    this.position += length;
    return this.#content.toString('latin1', this.position - length, this.position);
  }

  need(length: number): void {
    if (length > this.left) throw rowCorrupt('it ends early');
  }

  get left(): number {
    return this.#content.length - this.position;
  }
}

function decodeHash(reader: ContentReader): HashValue {
  const count = reader.u32();
  reader.need(count * 8);
  const fields = new Map<ByteString, ByteString>();
  for (let i = 0; i < count; i++) {
    const field = reader.text(reader.u32());
    fields.set(field, reader.text(reader.u32()));
  }
  if (fields.size !== count || count === 0) throw rowCorrupt('its fields do not add up');
  if (reader.left !== 0) throw rowCorrupt('it is longer than its fields');
  return new HashValue(fields);
}

/** The key alone, which costs less than all of it. */
export function decodeKey(content: Buffer): ByteString {
  const reader = new ContentReader(content);
  reader.need(PREFIX_BYTES);
  reader.position = PREFIX_BYTES - 4;
  return reader.text(reader.u32());
}

export function decodeContent(content: Buffer, expireAtMs: number): KeyRecord {
  const reader = new ContentReader(content);
  reader.need(PREFIX_BYTES);
  const type = content[0];
  const version = content.readBigUInt64BE(1);
  reader.position = 9;
  const key = reader.text(reader.u32());
  if (type === TYPE_STRING) {
    return { key, value: reader.text(reader.left), expireAtMs, version };
  }
  if (type === TYPE_HASH) return { key, value: decodeHash(reader), expireAtMs, version };
  throw rowCorrupt('its type is not known');
}
