/**
 * Sealed rows over a store that may still hold rows in the clear.
 *
 * Invariants: a key has a row in one of the two at most, since a put here and the removal there are
 * in one transaction; rows only ever move from the inner store to this one; which of the two a row
 * is in says whether it is sealed, never how its bytes look.
 *
 * A walk goes through the inner store first: a row that moves while the walk is there is met again
 * here, and none is missed.
 */
import { type ByteString, codeOf, type RowSeal } from '@raftseal/interface';
import { STORED_ABSENT, STORED_UNKNOWN } from './key-entry.ts';
import type { LmdbStore } from './lmdb-store.ts';
import { type KeyRecord, ROW_HEADER_BYTES, rowCorrupt } from './row-codec.ts';
import type { RowSource, TableRow } from './row-source.ts';
import { type RowFormat, type RowInspection, RowTable } from './row-table.ts';
import type { ExpiringPage, RecordPage, ScanPosition, Store } from './store.ts';
import { SEALED_EXPIRY_TABLE, SEALED_ROWS_TABLE } from './tables.ts';
import type { WriteBatch } from './write-batch.ts';

const SEALED_DEPTH = 1;

/** A row format on top of the port: the port binds cluster, shard, row key and header. */
export function sealedFormat(seal: RowSeal, shardId: number): RowFormat {
  return {
    rowKey: (key) => seal.rowKey(shardId, key),
    close: (rowKey, header, content) => seal.seal(shardId, rowKey, header, content),
    open: (rowKey, header, closed) => {
      try {
        return seal.open(shardId, rowKey, header, closed);
      } catch (error) {
        throw rowCorrupt(`its seal does not open (${codeOf(error) ?? 'no code'})`, error);
      }
    },
  };
}

/** The DEK that a sealed row names. @throws RAFTSEAL_KV_ROW_CORRUPT */
export function dekIdOf(seal: RowSeal, row: Buffer): number {
  try {
    return seal.dekIdOf(row.subarray(ROW_HEADER_BYTES));
  } catch (error) {
    throw rowCorrupt(`it names no DEK (${codeOf(error) ?? 'no code'})`, error);
  }
}

export interface SealedStoreOptions {
  readonly source: RowSource;
  readonly inner: LmdbStore;
  readonly seal: RowSeal;
  readonly shardId: number;
}

export class SealedStore implements Store {
  readonly #inner: LmdbStore;
  readonly #seal: RowSeal;
  readonly #table: RowTable;
  #sealedOnly = false;

  constructor(options: SealedStoreOptions) {
    this.#inner = options.inner;
    this.#seal = options.seal;
    this.#table = new RowTable({
      source: options.source,
      rows: SEALED_ROWS_TABLE,
      expiry: SEALED_EXPIRY_TABLE,
      format: sealedFormat(options.seal, options.shardId),
    });
  }

  get rowCount(): number {
    return this.#table.count + (this.#mixed ? this.#inner.rowCount : 0);
  }

  /** One way: from now on a row in the clear is not looked at, whoever put it there. */
  refuseCleartext(): void {
    this.#sealedOnly = true;
  }

  read(key: ByteString): KeyRecord | undefined {
    return this.#table.read(key) ?? (this.#mixed ? this.#inner.read(key) : undefined);
  }

  probe(key: ByteString): number {
    const stored = this.#table.probe(key);
    return stored === STORED_ABSENT && this.#mixed ? this.#inner.probe(key) : stored;
  }

  put(batch: WriteBatch, record: KeyRecord, stored: number): void {
    this.#table.put(batch, record, this.#mixed ? STORED_UNKNOWN : stored);
    if (this.#mixed) this.#inner.remove(batch, record.key, STORED_UNKNOWN);
  }

  remove(batch: WriteBatch, key: ByteString, stored: number): void {
    if (stored === STORED_ABSENT) return;
    this.#table.remove(batch, key, this.#mixed ? STORED_UNKNOWN : stored);
    if (this.#mixed) this.#inner.remove(batch, key, STORED_UNKNOWN);
  }

  /** The sealed rows; those of the inner store are its own. */
  inspect(): Generator<RowInspection> {
    return this.#table.inspect();
  }

  clear(batch: WriteBatch): void {
    this.#table.clear(batch);
    this.#inner.clear(batch);
  }

  scan(from: ScanPosition, count: number): RecordPage {
    if (from.depth < SEALED_DEPTH && this.#mixed) {
      const page = this.#inner.scan(from, count);
      return page.next === undefined
        ? { records: page.records, next: { depth: SEALED_DEPTH, position: 0 } }
        : page;
    }
    const position = from.depth < SEALED_DEPTH ? 0 : from.position;
    const { records, next } = this.#table.scan(position, count);
    const after = next === undefined ? undefined : { depth: SEALED_DEPTH, position: next };
    return { records, next: after };
  }

  expiring(nowMs: number, after: Buffer | undefined, limit: number): ExpiringPage {
    const page = this.#table.expiring(nowMs, after, limit);
    if (!this.#mixed) return page;
    const { records } = this.#inner.expiring(nowMs, undefined, limit);
    return { ...page, records: [...page.records, ...records] };
  }

  /**
   * Seals rows of the inner store into the batch.
   * @param from where the previous call of this checkpoint ended.
   * @param skip keys that the checkpoint writes anyway.
   */
  migrate(
    batch: WriteBatch,
    request: { from: number; count: number; skip: (key: ByteString) => boolean },
  ): { moved: number; next: number | undefined } {
    const from = { depth: 0, position: request.from };
    // A row that cannot be read stays where it is and keeps failing the reads of its key.
    const page = this.#inner.scan(from, request.count, () => undefined);
    let moved = 0;
    for (const record of page.records) {
      if (request.skip(record.key)) continue;
      this.#table.put(batch, record, STORED_ABSENT);
      this.#inner.remove(batch, record.key, STORED_UNKNOWN);
      moved++;
    }
    return { moved, next: page.next?.position };
  }

  /** The sealed rows behind a row key, as they stand; to be read in the same turn. */
  rowsAfter(rowKey: Buffer): Iterable<TableRow> {
    return this.#table.rowsAfter(rowKey);
  }

  /**
   * Seals a row again where it is under another DEK than this one, which is the active one.
   * @param skip whether the checkpoint writes this key anyway.
   * @returns whether it is under another DEK
   * @throws RAFTSEAL_KV_ROW_CORRUPT
   */
  reseal(
    batch: WriteBatch,
    row: TableRow,
    { dekId, skip }: { readonly dekId: number; readonly skip: (key: ByteString) => boolean },
  ): boolean {
    if (dekIdOf(this.#seal, row.value) === dekId) return false;
    this.#table.reclose(batch, row, skip);
    return true;
  }

  /** Whether no row stands under this row key, or one under this DEK. */
  isReplaced(rowKey: Buffer, dekId: number): boolean {
    const row = this.#table.rowAt(rowKey);
    if (row === undefined) return true;
    try {
      return dekIdOf(this.#seal, row) === dekId;
    } catch {
      return false;
    }
  }

  /** Whether there are rows in the clear still that this node has written. */
  get #mixed(): boolean {
    return !this.#sealedOnly && this.#inner.rowCount > 0;
  }
}
