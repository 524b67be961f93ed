/**
 * The port of a shard's store: keys and their values at rest. {@link LmdbStore} keeps rows in the
 * clear; {@link SealedStore} decorates another store with sealed rows.
 *
 * Reads see the latest commit. Changes go into a batch and are not seen before the environment has
 * committed it.
 */
import type { ByteString } from '@raftseal/interface';
import type { KeyRecord } from './row-codec.ts';
import type { WriteBatch } from './write-batch.ts';

/** A place in a walk over all rows. */
export interface ScanPosition {
  /** Which store of a chain of decorators, the innermost being 0. */
  readonly depth: number;
  /** Rows whose key starts with at least these bits; below 2^46. */
  readonly position: number;
}

export interface RecordPage {
  readonly records: KeyRecord[];
  /** Where to go on; undefined at the end. */
  readonly next: ScanPosition | undefined;
}

/** One hint of the expiry index, with its key read and checked. */
export interface ExpiringPage {
  readonly records: KeyRecord[];
  /** How many hints were looked at; fewer than asked for means that no more are due. */
  readonly examined: number;
  /** Pass it as `after` to go on. */
  readonly last: Buffer | undefined;
}

export interface Store {
  /** Number of rows, as of the latest commit. */
  readonly rowCount: number;

  /** @throws RAFTSEAL_KV_ROW_CORRUPT, before anything of the row is believed. */
  read(key: ByteString): KeyRecord | undefined;

  /**
   * What `KeyEntry.stored` is to be: for counting, without opening the row and so without proof.
   */
  probe(key: ByteString): number;

  /** Puts or replaces a row. `stored` is what the store holds for the key, or STORED_UNKNOWN. */
  put(batch: WriteBatch, record: KeyRecord, stored: number): void;
  remove(batch: WriteBatch, key: ByteString, stored: number): void;
  clear(batch: WriteBatch): void;

  /** @throws RAFTSEAL_KV_ROW_CORRUPT */
  scan(from: ScanPosition, count: number): RecordPage;

  /** Keys due at `nowMs`, earliest first; rows that do not open are passed over. */
  expiring(nowMs: number, after: Buffer | undefined, limit: number): ExpiringPage;
}
