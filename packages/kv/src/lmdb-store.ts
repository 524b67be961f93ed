/**
 * Rows in the clear. A row's name is the SHA-256 of its key: LMDB bounds the length of a key,
 * Redis does not. The name hides nothing, and a row proves nothing: that is {@link SealedStore}'s.
 */
import { hash } from 'node:crypto';
import type { ByteString } from '@raftseal/interface';
import type { KeyRecord } from './row-codec.ts';
import type { RowSource } from './row-source.ts';
import { type RowFormat, type RowInspection, RowTable } from './row-table.ts';
import type { ExpiringPage, RecordPage, ScanPosition, Store } from './store.ts';
import { CLEAR_EXPIRY_TABLE, CLEAR_ROWS_TABLE } from './tables.ts';
import type { WriteBatch } from './write-batch.ts';

export const cleartextFormat: RowFormat = {
  rowKey: (key) => hash('sha256', key, 'buffer'),
  close: (_rowKey, _header, content) => content,
  open: (_rowKey, _header, closed) => closed,
};

export class LmdbStore implements Store {
  readonly #table: RowTable;

  constructor(source: RowSource) {
    this.#table = new RowTable({
      source,
      rows: CLEAR_ROWS_TABLE,
      expiry: CLEAR_EXPIRY_TABLE,
      format: cleartextFormat,
    });
  }

  get rowCount(): number {
    return this.#table.count;
  }

  read(key: ByteString): KeyRecord | undefined {
    return this.#table.read(key);
  }

  probe(key: ByteString): number {
    return this.#table.probe(key);
  }

  put(batch: WriteBatch, record: KeyRecord, stored: number): void {
    this.#table.put(batch, record, stored);
  }

  remove(batch: WriteBatch, key: ByteString, stored: number): void {
    this.#table.remove(batch, key, stored);
  }

  inspect(): Generator<RowInspection> {
    return this.#table.inspect();
  }

  clear(batch: WriteBatch): void {
    this.#table.clear(batch);
  }

  scan(from: ScanPosition, count: number, onCorrupt?: (error: unknown) => void): RecordPage {
    const { records, next } = this.#table.scan(from.position, count, onCorrupt);
    return { records, next: next === undefined ? undefined : { depth: 0, position: next } };
  }

  expiring(nowMs: number, after: Buffer | undefined, limit: number): ExpiringPage {
    return this.#table.expiring(nowMs, after, limit);
  }
}
