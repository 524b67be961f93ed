/**
 * What one log entry carries.
 *
 * | offset | bytes | field |
 * | --- | --- | --- |
 * | 0 | 1 | tag: 0x43 the body follows in the clear, 0x53 an envelope of the body follows |
 * | 1 | n | body, or its envelope |
 *
 * A body is of one kind:
 *
 * | kind | layout after the kind byte |
 * | --- | --- |
 * | 0x44 data | timestampMs u64, count u32, then per command: length u32, bytes |
 * | 0x4b key lifecycle | the entry, opaque here |
 *
 * Integers are big-endian. A data body is read by a cursor, which allocates nothing per command; it
 * is checked as a whole before the first command is applied, so that a bad one changes nothing.
 */
import { type CommandBatch, fatalError } from '@raftseal/interface';

export const TAG_CLEARTEXT = 0x43;
export const TAG_SEALED = 0x53;
export const KIND_DATA = 0x44;
export const KIND_KEY_LIFECYCLE = 0x4b;

/** Bytes of the payload tag. */
export const TAG_BYTES = 1;

/** Bytes of a data body before its first command. */
export const DATA_HEADER_BYTES = 13;

/** Bytes that precede each command. */
export const COMMAND_HEADER_BYTES = 4;

const TIMESTAMP_OFFSET = 1;
const COUNT_OFFSET = 9;

/** Fills in what is known only when a data body is complete. */
export function writeDataHeader(
  body: Buffer,
  header: { readonly timestampMs: number; readonly count: number },
): void {
  body[0] = KIND_DATA;
  body.writeUIntBE(Math.floor(header.timestampMs / 2 ** 32), TIMESTAMP_OFFSET, 4);
  body.writeUInt32BE(header.timestampMs % 2 ** 32, TIMESTAMP_OFFSET + 4);
  body.writeUInt32BE(header.count, COUNT_OFFSET);
}

/** Reads a data body; see {@link CommandBatch}. */
export class DataCursor implements CommandBatch {
  readonly index: bigint;
  readonly timestampMs: number;
  readonly count: number;
  readonly bytes: Buffer;
  start = 0;
  end: number = DATA_HEADER_BYTES;
  #left: number;

  /** @throws RAFTSEAL_SHARD_GROUP_MALFORMED_ENTRY (fatal) where lengths and count do not add up. */
  constructor(index: bigint, body: Buffer) {
    this.index = index;
    this.bytes = body;
    this.count = checkDataBody(index, body);
    this.timestampMs =
      body.readUInt32BE(TIMESTAMP_OFFSET) * 2 ** 32 + body.readUInt32BE(TIMESTAMP_OFFSET + 4);
    this.#left = this.count;
  }

  next(): boolean {
    if (this.#left === 0) return false;
    this.#left--;
    this.start = this.end + COMMAND_HEADER_BYTES;
    this.end = this.start + this.bytes.readUInt32BE(this.end);
    return true;
  }
}

/** @returns the number of commands */
function checkDataBody(index: bigint, body: Buffer): number {
  if (body.length < DATA_HEADER_BYTES) throw malformed(index, 'shorter than its header');
  const count = body.readUInt32BE(COUNT_OFFSET);
  let offset = DATA_HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    if (offset + COMMAND_HEADER_BYTES > body.length) throw malformed(index, 'fewer commands');
    offset += COMMAND_HEADER_BYTES + body.readUInt32BE(offset);
  }
  if (offset !== body.length) throw malformed(index, 'lengths that do not add up');
  return count;
}

function malformed(index: bigint, what: string): Error {
  return fatalError(
    'RAFTSEAL_SHARD_GROUP_MALFORMED_ENTRY',
    `entry ${index} was expected to hold a data body, found ${what}: the log was written by ` +
      'another program or version, or is damaged; nothing of it was applied',
  );
}
