/**
 * The bytes of a segment file. All integers are big-endian. A segment is one header page, then
 * groups back to back, then zeros; a group is what one flush makes durable.
 *
 * Segment header, 4096 bytes:
 * | offset | bytes | field |
 * | --- | --- | --- |
 * | 0 | 8 | magic `RSEALLOG` |
 * | 8 | 4 | format version: 1 |
 * | 12 | 8 | segment sequence, from 1 |
 * | 20 | 16 | log id, random, the same in every segment of a log |
 * | 36 | 8 | bytes that the file was made with; a shorter file was cut |
 * | 44 | 4048 | zeros |
 * | 4092 | 4 | CRC-32 of bytes 0..4092 |
 *
 * Group header, 24 bytes; `sequence` is dense over the whole log:
 * | offset | bytes | field |
 * | --- | --- | --- |
 * | 0 | 4 | magic |
 * | 4 | 4 | CRC-32 of the segment's seed and bytes 8..24 |
 * | 8 | 4 | number of records; 0 in a confirmation |
 * | 12 | 4 | bytes of all records |
 * | 16 | 8 | group sequence, from 1 |
 *
 * Record, 32 bytes and its payload:
 * | offset | bytes | field |
 * | --- | --- | --- |
 * | 0 | 4 | CRC-32 of the segment's seed and bytes 4..32+n |
 * | 4 | 1 | kind |
 * | 5 | 3 | zeros |
 * | 8 | 4 | shard |
 * | 12 | 4 | n, the bytes of the payload |
 * | 16 | 8 | index |
 * | 24 | 8 | term |
 * | 32 | n | payload |
 *
 * The seed is the CRC-32 of log id and segment sequence: bytes of another segment or another log do
 * not pass. The CRC finds accidents, no more; who must trust a payload authenticates it.
 */
import { crc32 } from 'node:zlib';

export const FORMAT_VERSION = 1;
export const SEGMENT_HEADER_BYTES = 4096;
export const GROUP_HEADER_BYTES = 24;
export const RECORD_HEADER_BYTES = 32;
export const LOG_ID_BYTES = 16;

const SEGMENT_MAGIC = Buffer.from('RSEALLOG', 'latin1');
const SEGMENT_CRC_OFFSET = SEGMENT_HEADER_BYTES - 4;
/** No byte of it is zero, so that it never hides in the zeros after the tail. */
const GROUP_MAGIC = 0xa5525347;
export const groupMagic: Buffer = Buffer.from([0xa5, 0x52, 0x53, 0x47]);

export const recordKind = {
  /** An entry of a shard's log. */
  entry: 1,
  /** A term was begun; the index is 0. */
  term: 2,
  /** Entries up to and including the index may go. */
  truncation: 3,
  /** State of a shard when its segment begins: head as index, term, first index as payload. */
  checkpoint: 4,
  /** An entry again, carried out of an old segment. */
  carried: 5,
} as const;

export type RecordKind = (typeof recordKind)[keyof typeof recordKind];

export interface SegmentHeader {
  readonly sequence: number;
  readonly logId: Buffer;
  /** Length of the file when it was made. */
  readonly byteLength: number;
}

export function encodeSegmentHeader({ sequence, logId, byteLength }: SegmentHeader): Buffer {
  const page = Buffer.alloc(SEGMENT_HEADER_BYTES);
  SEGMENT_MAGIC.copy(page, 0);
  page.writeUInt32BE(FORMAT_VERSION, 8);
  writeUint64(page, sequence, 12);
  logId.copy(page, 20);
  writeUint64(page, byteLength, 36);
  page.writeUInt32BE(crc32(page.subarray(0, SEGMENT_CRC_OFFSET)), SEGMENT_CRC_OFFSET);
  return page;
}

/** The header of a segment, or what is wrong with it. */
export function decodeSegmentHeader(page: Buffer): SegmentHeader | 'damaged' | 'unknown version' {
  if (page.length !== SEGMENT_HEADER_BYTES) return 'damaged';
  const crc = crc32(page.subarray(0, SEGMENT_CRC_OFFSET));
  if (crc !== page.readUInt32BE(SEGMENT_CRC_OFFSET)) return 'damaged';
  if (SEGMENT_MAGIC.compare(page, 0, SEGMENT_MAGIC.length) !== 0) return 'damaged';
  if (page.readUInt32BE(8) !== FORMAT_VERSION) return 'unknown version';
  return {
    sequence: readUint64(page, 12),
    logId: Buffer.from(page.subarray(20, 36)),
    byteLength: readUint64(page, 36),
  };
}

/** What every CRC within a segment starts from. */
export function segmentSeed({ sequence, logId }: SegmentHeader): number {
  const bytes = Buffer.alloc(LOG_ID_BYTES + 8);
  logId.copy(bytes, 0);
  writeUint64(bytes, sequence, LOG_ID_BYTES);
  return crc32(bytes);
}

export interface GroupHeader {
  readonly recordCount: number;
  readonly bodyBytes: number;
  readonly sequence: number;
}

export function writeGroupHeader(
  target: Buffer,
  offset: number,
  seed: number,
  header: GroupHeader,
): void {
  target.writeUInt32BE(GROUP_MAGIC, offset);
  target.writeUInt32BE(header.recordCount, offset + 8);
  target.writeUInt32BE(header.bodyBytes, offset + 12);
  writeUint64(target, header.sequence, offset + 16);
  const crc = crc32(target.subarray(offset + 8, offset + GROUP_HEADER_BYTES), seed);
  target.writeUInt32BE(crc, offset + 4);
}

/** The group header at `offset`, or undefined where no valid one stands. */
export function readGroupHeader(
  source: Buffer,
  offset: number,
  seed: number,
): GroupHeader | undefined {
  if (source.readUInt32BE(offset) !== GROUP_MAGIC) return undefined;
  const crc = crc32(source.subarray(offset + 8, offset + GROUP_HEADER_BYTES), seed);
  if (crc !== source.readUInt32BE(offset + 4)) return undefined;
  return {
    recordCount: source.readUInt32BE(offset + 8),
    bodyBytes: source.readUInt32BE(offset + 12),
    sequence: readUint64(source, offset + 16),
  };
}

export interface RecordFields {
  readonly kind: RecordKind;
  readonly shardId: number;
  readonly index: number;
  readonly term: number;
}

/**
 * Writes a record's header; its payload follows in the file.
 * @param payload already stands right behind the header if `inPlace`.
 */
export function writeRecordHeader(
  target: Buffer,
  offset: number,
  seed: number,
  fields: RecordFields,
  payload: Uint8Array,
  inPlace: boolean,
): void {
  target.writeUInt32BE(fields.kind * 0x1000000, offset + 4);
  target.writeUInt32BE(fields.shardId, offset + 8);
  target.writeUInt32BE(payload.byteLength, offset + 12);
  writeUint64(target, fields.index, offset + 16);
  writeUint64(target, fields.term, offset + 24);
  const end = offset + RECORD_HEADER_BYTES + (inPlace ? payload.byteLength : 0);
  const crc = crc32(target.subarray(offset + 4, end), seed);
  target.writeUInt32BE(inPlace ? crc : crc32(payload, crc), offset);
}

/**
 * Length of the record at `offset`, header included, or undefined where the bytes up to `end` hold
 * no intact record.
 */
export function intactRecordBytes(
  source: Buffer,
  offset: number,
  end: number,
  seed: number,
): number | undefined {
  if (end - offset < RECORD_HEADER_BYTES) return undefined;
  const byteLength = RECORD_HEADER_BYTES + source.readUInt32BE(offset + 12);
  if (byteLength > end - offset) return undefined;
  const crc = crc32(source.subarray(offset + 4, offset + byteLength), seed);
  return crc === source.readUInt32BE(offset) ? byteLength : undefined;
}

/** The fields of an intact record, or undefined where they mean nothing to this version. */
export function readRecordFields(source: Buffer, offset: number): RecordFields | undefined {
  const kind = source.readUInt32BE(offset + 4) / 0x1000000;
  if (!isRecordKind(kind)) return undefined;
  const index = readUint64(source, offset + 16);
  const term = readUint64(source, offset + 24);
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(term)) return undefined;
  return { kind, shardId: source.readUInt32BE(offset + 8), index, term };
}

function isRecordKind(kind: number): kind is RecordKind {
  return Number.isInteger(kind) && kind >= recordKind.entry && kind <= recordKind.carried;
}

/** Above 2^53 the value is not exact, and so not a safe integer: callers refuse it. */
export function readUint64(source: Buffer, offset: number): number {
  return source.readUInt32BE(offset) * 0x100000000 + source.readUInt32BE(offset + 4);
}

/** @param value a safe integer, not negative. */
export function writeUint64(target: Buffer, value: number, offset: number): void {
  target.writeUInt32BE(Math.floor(value / 0x100000000), offset);
  target.writeUInt32BE(value % 0x100000000, offset + 4);
}
