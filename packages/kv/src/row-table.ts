/**
 * A table of rows and its expiry index, in one format. What a row key and a row look like is the
 * format's; this class knows when a row and its index entry change together.
 *
 * The expiry index is a hint: its entries (`expireAtMs u64 | row key`) are not authenticated, so
 * what is due is decided by the row's own header, which is.
 */
import type { ByteString } from '@raftseal/interface';
import {
  NO_EXPIRY,
  STORED_ABSENT,
  STORED_EXPIRING,
  STORED_PRESENT,
  STORED_UNKNOWN,
} from './key-entry.ts';
import {
  decodeContent,
  decodeHeader,
  decodeKey,
  encodeContent,
  encodeHeader,
  KEY_ROW_FLAGS,
  type KeyRecord,
  ROW_HEADER_BYTES,
  rowCorrupt,
  Scratch,
} from './row-codec.ts';
import { FIRST_KEY, keyAfter, pagesOf, type RowSource, type TableRow } from './row-source.ts';
import type { ExpiringPage } from './store.ts';
import type { WriteBatch } from './write-batch.ts';

export const POSITION_BITS = 46;
const POSITION_SHIFT = 48 - POSITION_BITS;
export const ROW_KEY_BYTES = 32;
const EXPIRY_KEY_BYTES = 8 + ROW_KEY_BYTES;
const NO_VALUE = Buffer.alloc(0);
const NO_EXPIRY_BYTES = Buffer.alloc(8);
export const INDEX_VALUE: Buffer = Buffer.of(1);

export interface RowFormat {
  /** 32 bytes. */
  rowKey(key: Buffer): Buffer;
  /** What follows the header in the row. `content` is not kept. */
  close(rowKey: Buffer, header: Buffer, content: Buffer): Buffer;
  /** The content; @throws where the row is not what `close` made for this row key and header. */
  open(rowKey: Buffer, header: Buffer, closed: Buffer): Buffer;
}

/** One row as a verifier sees it. */
export interface RowInspection {
  readonly rowKey: Buffer;
  /** What follows the header, as it is stored. */
  readonly closed: Buffer;
  /** Why it does not open. */
  readonly problem: unknown;
}

export interface RowTableOptions {
  readonly source: RowSource;
  readonly rows: number;
  readonly expiry: number;
  readonly format: RowFormat;
}

export class RowTable {
  readonly #source: RowSource;
  readonly #rows: number;
  readonly #expiry: number;
  readonly #format: RowFormat;
  readonly #scratch = new Scratch();
  readonly #header = Buffer.alloc(ROW_HEADER_BYTES);

  constructor(options: RowTableOptions) {
    this.#source = options.source;
    this.#rows = options.rows;
    this.#expiry = options.expiry;
    this.#format = options.format;
  }

  get count(): number {
    return this.#source.count(this.#rows);
  }

  read(key: ByteString): KeyRecord | undefined {
    const rowKey = this.#rowKey(key);
    const row = this.#source.get(this.#rows, rowKey);
    if (row === undefined) return undefined;
    const record = this.#openRow(rowKey, row);
    if (record.key !== key) throw rowCorrupt('it is the row of another key');
    return record;
  }

  probe(key: ByteString): number {
    return this.#storedAt(this.#rowKey(key)).stored;
  }

  put(batch: WriteBatch, record: KeyRecord, stored: number): void {
    const rowKey = this.#rowKey(record.key);
    this.#dropHint(batch, rowKey, stored, record.expireAtMs);
    const header = this.#header;
    encodeHeader(header, KEY_ROW_FLAGS, record.expireAtMs);
    const content = encodeContent(record.key, record.value, record.version, this.#scratch);
    batch.put(this.#rows, rowKey, header, this.#format.close(rowKey, header, content));
    if (record.expireAtMs !== NO_EXPIRY) {
      batch.put(this.#expiry, expiryKey(record.expireAtMs, rowKey), INDEX_VALUE, NO_VALUE);
    }
  }

  remove(batch: WriteBatch, key: ByteString, stored: number): void {
    if (stored === STORED_ABSENT) return;
    const rowKey = this.#rowKey(key);
    this.#dropHint(batch, rowKey, stored, NO_EXPIRY);
    batch.delete(this.#rows, rowKey);
  }

  /**
   * Closes a row again: its content, header and index entry stay.
   * @param skip is asked about its key; where it says so the row is left as it is.
   * @throws RAFTSEAL_KV_ROW_CORRUPT
   */
  reclose(
    batch: WriteBatch,
    { key: rowKey, value: row }: TableRow,
    skip: (key: ByteString) => boolean,
  ): void {
    decodeHeader(row, KEY_ROW_FLAGS);
    const header = row.subarray(0, ROW_HEADER_BYTES);
    const content = this.#format.open(rowKey, header, row.subarray(ROW_HEADER_BYTES));
    if (skip(decodeKey(content))) return;
    batch.put(this.#rows, rowKey, header, this.#format.close(rowKey, header, content));
  }

  clear(batch: WriteBatch): void {
    batch.clear(this.#rows);
    batch.clear(this.#expiry);
  }

  /**
   * Whole groups of rows with the same position, until there are `count` rows.
   * @param onCorrupt is told of rows that do not open, which are then passed over.
   */
  scan(
    position: number,
    count: number,
    onCorrupt?: (error: unknown) => void,
  ): { records: KeyRecord[]; next: number | undefined } {
    const start = Buffer.alloc(6);
    start.writeUIntBE(position * 2 ** POSITION_SHIFT, 0, 6);
    const records: KeyRecord[] = [];
    let group = -1;
    for (const { key, value } of this.#source.range(this.#rows, start, 2 ** 31 - 1)) {
      const at = Math.floor(key.readUIntBE(0, 6) / 2 ** POSITION_SHIFT);
      if (records.length >= count && at !== group) return { records, next: at };
      group = at;
      try {
        records.push(this.#openRow(key, value));
      } catch (error) {
        if (onCorrupt === undefined) throw error;
        onCorrupt(error);
      }
    }
    return { records, next: undefined };
  }

  /** The rows behind a row key, as they stand; to be read in the same turn. */
  rowsAfter(rowKey: Buffer): Iterable<TableRow> {
    return this.#source.range(this.#rows, keyAfter(rowKey), 2 ** 31 - 1);
  }

  /** A row as it stands. */
  rowAt(rowKey: Buffer): Buffer | undefined {
    return this.#source.get(this.#rows, rowKey);
  }

  /** Every row, in pages that are each read in one turn. */
  *inspect(): Generator<RowInspection> {
    for (const page of pagesOf(this.#source, this.#rows)) {
      for (const { key, value } of page) {
        const closed = value.subarray(ROW_HEADER_BYTES);
        yield { rowKey: key, closed, problem: this.#problemOf(key, value) };
      }
    }
  }

  /**
   * Every row, opened, in pages that are each read in one turn: `expireAtMs u64 | content`. The
   * content is authentic where the format is; what it says is not looked at.
   */
  *contents(): Generator<Buffer> {
    for (const page of pagesOf(this.#source, this.#rows)) {
      for (const { key, value } of page) {
        decodeHeader(value, KEY_ROW_FLAGS);
        const header = value.subarray(0, ROW_HEADER_BYTES);
        const content = this.#format.open(key, header, value.subarray(ROW_HEADER_BYTES));
        yield Buffer.concat([header.subarray(1), content]);
      }
    }
  }

  expiring(nowMs: number, after: Buffer | undefined, limit: number): ExpiringPage {
    const records: KeyRecord[] = [];
    let examined = 0;
    let last = after;
    const start = after === undefined ? FIRST_KEY : keyAfter(after);
    for (const { key } of this.#source.range(this.#expiry, start, limit)) {
      if (key.length !== EXPIRY_KEY_BYTES) continue;
      if (Number(key.readBigUInt64BE(0)) >= nowMs) break;
      examined++;
      last = key;
      const record = this.#dueRow(key.subarray(8), nowMs);
      if (record !== undefined) records.push(record);
    }
    return { records, examined, last };
  }

  #dueRow(rowKey: Buffer, nowMs: number): KeyRecord | undefined {
    const row = this.#source.get(this.#rows, rowKey);
    if (row === undefined) return undefined;
    try {
      const record = this.#openRow(rowKey, row);
      const due = record.expireAtMs !== NO_EXPIRY && record.expireAtMs < nowMs;
      return due ? record : undefined;
    } catch {
      // Whoever reads the key is told; expiry in the background has nobody to tell.
      return undefined;
    }
  }

  #rowKey(key: ByteString): Buffer {
    return this.#format.rowKey(Buffer.from(key, 'latin1'));
  }

  #problemOf(rowKey: Buffer, row: Buffer): unknown {
    try {
      this.#openRow(rowKey, row);
      return undefined;
    } catch (error) {
      return error;
    }
  }

  /** The header is authenticated by `open`, before its expiry is used. */
  #openRow(rowKey: Buffer, row: Buffer): KeyRecord {
    const expireAtMs = decodeHeader(row, KEY_ROW_FLAGS);
    const header = row.subarray(0, ROW_HEADER_BYTES);
    const content = this.#format.open(rowKey, header, row.subarray(ROW_HEADER_BYTES));
    return decodeContent(content, expireAtMs);
  }

  #storedAt(rowKey: Buffer): { stored: number; expireAtMs: number } {
    const row = this.#source.get(this.#rows, rowKey);
    if (row === undefined) return { stored: STORED_ABSENT, expireAtMs: NO_EXPIRY };
    const whole = row.length >= ROW_HEADER_BYTES;
    const expireAtMs = whole ? Number(row.readBigUInt64BE(1)) : NO_EXPIRY;
    return { stored: expireAtMs === NO_EXPIRY ? STORED_PRESENT : STORED_EXPIRING, expireAtMs };
  }

  /** Removes the row's index entry, unless the row that follows has the same. */
  #dropHint(batch: WriteBatch, rowKey: Buffer, stored: number, nextExpireAtMs: number): void {
    if (stored !== STORED_UNKNOWN && stored !== STORED_EXPIRING) return;
    const { expireAtMs } = this.#storedAt(rowKey);
    if (expireAtMs === NO_EXPIRY || expireAtMs === nextExpireAtMs) return;
    batch.delete(this.#expiry, expiryKey(expireAtMs, rowKey));
  }
}

function expiryKey(expireAtMs: number, rowKey: Buffer): Buffer {
  const key = Buffer.allocUnsafe(EXPIRY_KEY_BYTES);
  key.writeBigUInt64BE(BigInt(expireAtMs), 0);
  rowKey.copy(key, 8);
  return key;
}

/** The index entry of a row, as it stands; undefined where its header has no expiry. */
export function expiryHint(rowKey: Buffer, row: Buffer): Buffer | undefined {
  const expireAt = row.subarray(1, ROW_HEADER_BYTES);
  return expireAt.equals(NO_EXPIRY_BYTES) ? undefined : Buffer.concat([expireAt, rowKey]);
}
