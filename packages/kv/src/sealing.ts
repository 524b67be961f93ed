/** What the rows of a store are sealed with, and what must hold before any of them is believed. */
import { fatalError, type RowSeal } from '@raftseal/interface';
import type { LmdbStore } from './lmdb-store.ts';
import type { RowSource } from './row-source.ts';
import { SealedStore } from './sealed-store.ts';
import type { Store } from './store.ts';
import { readMeta, type StoreMeta } from './store-meta.ts';
import { CLEAR_ROWS_TABLE } from './tables.ts';

/** The seal, and the store that uses it. */
export type Sealing =
  | { readonly seal: 'cleartext'; readonly store: Store }
  | { readonly seal: RowSeal; readonly store: SealedStore };

export interface SealingParts {
  readonly source: RowSource;
  readonly cleartext: LmdbStore;
  readonly shardId: number;
}

export function sealingOf(parts: SealingParts, seal: RowSeal | 'cleartext'): Sealing {
  const { source, cleartext: inner, shardId } = parts;
  if (seal === 'cleartext') return { seal, store: inner };
  return { seal, store: new SealedStore({ source, inner, seal, shardId }) };
}

/**
 * Reads the meta row. Once every row is sealed, the sealed meta row says so: a row in the clear
 * that turns up later was put there by somebody else.
 * @throws RAFTSEAL_KV_ROW_FORGED, and as {@link readMeta}
 */
export function readCheckedMeta(
  source: RowSource,
  shardId: number,
  seal: RowSeal | 'cleartext',
): StoreMeta {
  const meta = readMeta({ source, shardId }, seal);
  const rowsInTheClear = source.count(CLEAR_ROWS_TABLE);
  if (meta.name !== 'sealed' || meta.cleartextLeft || rowsInTheClear === 0) return meta;
  throw fatalError(
    'RAFTSEAL_KV_ROW_FORGED',
    `the store was expected to hold sealed rows only, and holds ${rowsInTheClear} in the ` +
      'clear: they were added by something other than this node; restore the whole data directory',
  );
}
