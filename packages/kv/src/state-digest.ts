/**
 * A digest of the logical state of a shard: the same on every replica at the same index, though
 * what stands on their disks differs in nonces, DEKs and the order of rows.
 *
 * It is the {@link RowSum} of `expireAtMs u64 | content` of each row (the content in the clear, as
 * in its row).
 */
import type { RowSeal } from '@raftseal/interface';
import { ContentDigest } from './content-digest.ts';
import { cleartextFormat } from './lmdb-store.ts';
import { Pace } from './pace.ts';
import type { RowSource } from './row-source.ts';
import { RowSum } from './row-sum.ts';
import { RowTable } from './row-table.ts';
import { sealedFormat } from './sealed-store.ts';
import {
  CLEAR_EXPIRY_TABLE,
  CLEAR_ROWS_TABLE,
  SEALED_EXPIRY_TABLE,
  SEALED_ROWS_TABLE,
} from './tables.ts';

export interface DigestedState {
  readonly source: RowSource;
  readonly shardId: number;
  readonly seal: RowSeal | 'cleartext';
}

/** @throws RAFTSEAL_KV_ROW_CORRUPT */
export async function digestOf(state: DigestedState): Promise<string> {
  const sum = new RowSum();
  await forEachRow(state, (row) => sum.add(row));
  return sum.result();
}

/** Of the rows that are there after `nowMs`. @throws RAFTSEAL_KV_ROW_CORRUPT */
export async function contentDigestOf(state: DigestedState, nowMs: number): Promise<ContentDigest> {
  const digest = new ContentDigest(nowMs);
  await forEachRow(state, (row) => digest.add(row));
  return digest;
}

async function forEachRow(
  { source, shardId, seal }: DigestedState,
  add: (row: Buffer) => void,
): Promise<void> {
  const pace = new Pace();
  const clear = { rows: CLEAR_ROWS_TABLE, expiry: CLEAR_EXPIRY_TABLE, format: cleartextFormat };
  const tables = [new RowTable({ ...clear, source })];
  if (seal !== 'cleartext') {
    const format = sealedFormat(seal, shardId);
    tables.push(
      new RowTable({ rows: SEALED_ROWS_TABLE, expiry: SEALED_EXPIRY_TABLE, format, source }),
    );
  }
  for (const table of tables) {
    for (const row of table.contents()) {
      add(row);
      if (pace.due) await pace.rest();
    }
  }
}
