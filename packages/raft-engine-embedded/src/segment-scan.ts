/**
 * Reads a segment file group by group, in large pieces. A group is handed out only if its header
 * and every record in it are intact; what follows the last of them is judged by `examineRest`.
 */
import {
  GROUP_HEADER_BYTES,
  type GroupHeader,
  groupMagic,
  intactRecordBytes,
  RECORD_HEADER_BYTES,
  type RecordFields,
  readGroupHeader,
  readRecordFields,
  SEGMENT_HEADER_BYTES,
} from './format.ts';
import { type LogFile, readFully } from './log-files.ts';

const PIECE_BYTES = 2 * 1024 * 1024;

/** One intact group. `bytes` is valid until the next call of the scanner. */
export interface ScannedGroup {
  /** Of the group's header in the file. */
  readonly offset: number;
  readonly sequence: number;
  readonly recordCount: number;
  readonly bytes: Buffer;
  /** Bounds of the records in `bytes`. */
  readonly start: number;
  readonly end: number;
}

/** Called for each record: its place in the file, and where its payload stands in `bytes`. */
export type RecordVisitor = (
  record: RecordFields,
  offset: number,
  byteLength: number,
  payloadStart: number,
) => void;

/**
 * Visits the records of a group in order.
 * @returns false where a record, although intact, is of no kind that this version knows.
 */
export function visitRecords(group: ScannedGroup, visit: RecordVisitor): boolean {
  for (let at = group.start; at < group.end; ) {
    const record = readRecordFields(group.bytes, at);
    if (record === undefined) return false;
    const byteLength = RECORD_HEADER_BYTES + group.bytes.readUInt32BE(at + 12);
    const offset = group.offset + GROUP_HEADER_BYTES + (at - group.start);
    visit(record, offset, byteLength, at + RECORD_HEADER_BYTES);
    at += byteLength;
  }
  return true;
}

export class SegmentScanner {
  readonly #file: LogFile;
  readonly #fileBytes: number;
  readonly #seed: number;
  #buffer = Buffer.allocUnsafe(0);
  /** Bounds of the unread bytes in the buffer. */
  #start = 0;
  #end = 0;
  /** Place in the file of the byte at `#start`. */
  #offset: number;

  constructor(file: LogFile, options: { fileBytes: number; seed: number; from?: number }) {
    this.#file = file;
    this.#fileBytes = options.fileBytes;
    this.#seed = options.seed;
    this.#offset = options.from ?? SEGMENT_HEADER_BYTES;
  }

  /** Where the next group is looked for: after the last intact one. */
  get offset(): number {
    return this.#offset;
  }

  /** The next group, or undefined where none stands that is intact. */
  async next(): Promise<ScannedGroup | undefined> {
    if (!(this.#has(GROUP_HEADER_BYTES) || (await this.#fill(GROUP_HEADER_BYTES)))) {
      return undefined;
    }
    const header = readGroupHeader(this.#buffer, this.#start, this.#seed);
    if (header === undefined) return undefined;
    const byteLength = GROUP_HEADER_BYTES + header.bodyBytes;
    if (!(this.#has(byteLength) || (await this.#fill(byteLength)))) return undefined;
    return this.#take(header, byteLength);
  }

  #take(header: GroupHeader, byteLength: number): ScannedGroup | undefined {
    const start = this.#start + GROUP_HEADER_BYTES;
    const end = this.#start + byteLength;
    let count = 0;
    for (let at = start; at < end; count++) {
      const recordBytes = intactRecordBytes(this.#buffer, at, end, this.#seed);
      if (recordBytes === undefined) return undefined;
      at += recordBytes;
    }
    if (count !== header.recordCount) return undefined;
    const group: ScannedGroup = {
      offset: this.#offset,
      sequence: header.sequence,
      recordCount: count,
      bytes: this.#buffer,
      start,
      end,
    };
    this.#start = end;
    this.#offset += byteLength;
    return group;
  }

  #has(byteLength: number): boolean {
    return this.#end - this.#start >= byteLength;
  }

  /** Reads on until `byteLength` unread bytes are there; false where the file has no more. */
  async #fill(byteLength: number): Promise<boolean> {
    const unread = this.#end - this.#start;
    const left = this.#fileBytes - this.#offset;
    if (byteLength > left) return false;
    const capacity = Math.max(Math.min(PIECE_BYTES, left), byteLength);
    if (this.#buffer.length < capacity) {
      const larger = Buffer.allocUnsafe(capacity);
      this.#buffer.copy(larger, 0, this.#start, this.#end);
      this.#buffer = larger;
    } else {
      this.#buffer.copyWithin(0, this.#start, this.#end);
    }
    this.#start = 0;
    this.#end = unread;
    const target = this.#buffer.subarray(unread);
    this.#end += await readFully(this.#file, target, this.#offset + unread);
    return this.#has(byteLength);
  }
}

/** What stands in a segment file after its last intact group. */
export interface Rest {
  /** Behind the last byte that is not zero; where the rest begins if all of it is zero. */
  readonly end: number;
  /** The first header of a later group, which proves that bytes before it were durable once. */
  readonly laterGroup: { readonly offset: number; readonly sequence: number } | undefined;
}

/**
 * Looks through the bytes from `from` on.
 * @param sequence of the group that was expected at `from`.
 */
export async function examineRest(
  file: LogFile,
  options: { fileBytes: number; seed: number; from: number; sequence: number },
): Promise<Rest> {
  const { fileBytes, seed, from, sequence } = options;
  const buffer = Buffer.allocUnsafe(Math.min(PIECE_BYTES, fileBytes - from));
  let end = from;
  let laterGroup: Rest['laterGroup'];
  // Pieces overlap by a header less one byte, so that no header is cut in two.
  for (let at = from; at < fileBytes; at += PIECE_BYTES - GROUP_HEADER_BYTES + 1) {
    const piece = buffer.subarray(0, await readFully(file, buffer, at));
    if (piece.length === 0) break;
    if (isZero(piece)) continue;
    end = at + lastNonZero(piece) + 1;
    laterGroup ??= findLaterGroup(piece, at, seed, sequence);
  }
  return { end, laterGroup };
}

function findLaterGroup(
  piece: Buffer,
  pieceOffset: number,
  seed: number,
  sequence: number,
): Rest['laterGroup'] {
  for (let at = piece.indexOf(groupMagic); at !== -1; at = piece.indexOf(groupMagic, at + 1)) {
    if (piece.length - at < GROUP_HEADER_BYTES) return undefined;
    const header = readGroupHeader(piece, at, seed);
    if (header !== undefined && header.sequence > sequence) {
      return { offset: pieceOffset + at, sequence: header.sequence };
    }
  }
  return undefined;
}

/** Every byte is zero: the first is, and each equals the one before it. */
function isZero(piece: Buffer): boolean {
  return piece[0] === 0 && piece.subarray(1).equals(piece.subarray(0, -1));
}

function lastNonZero(piece: Buffer): number {
  let at = piece.length - 1;
  while (at > 0 && piece[at] === 0) at -= 1;
  return at;
}
