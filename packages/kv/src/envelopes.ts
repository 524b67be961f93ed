/**
 * The envelopes of a store as they stand there, none of them opened: for whoever asks what was
 * sealed with which nonce. The meta row's is the first.
 */
import { type Database, open } from 'lmdb';
import { checkLmdbFile } from './lmdb-file-check.ts';
import { ROW_HEADER_BYTES } from './row-codec.ts';
import { pagesOf, type RowSource, type TableRow } from './row-source.ts';
import { findMetaRow } from './store-meta.ts';
import { SEALED_ROWS_TABLE, tables } from './tables.ts';

/** In pages that are each read in one turn, so it may be walked over many. */
export function* envelopesOf(source: RowSource): Generator<Buffer> {
  const meta = findMetaRow(source);
  if (meta?.name === 'sealed') yield meta.row.subarray(ROW_HEADER_BYTES);
  for (const page of pagesOf(source, SEALED_ROWS_TABLE)) {
    for (const { value } of page) yield value.subarray(ROW_HEADER_BYTES);
  }
}

/**
 * The envelopes in the store of a shard that no process has open. It is not changed, and no key is
 * needed.
 * @param directory that of the store, which exists
 * @throws RAFTSEAL_KV_STORE_CORRUPT
 */
export async function* stoppedStoreEnvelopes(directory: string): AsyncGenerator<Buffer> {
  const binary = { keyEncoding: 'binary', encoding: 'binary' } as const;
  checkLmdbFile(directory);
  const environment = open<Buffer, Buffer>({
    ...binary,
    path: directory,
    readOnly: true,
    maxDbs: tables.length + 1,
    overlappingSync: false,
  });
  try {
    // A table that was never made is undefined in an environment that only reads.
    const opened = tables.map(({ name }): Database<Buffer, Buffer> | undefined =>
      environment.openDB<Buffer, Buffer>({ ...binary, name }),
    );
    yield* envelopesOf({
      count: (table) => opened[table]?.getCount() ?? 0,
      get: (table, key) => opened[table]?.get(key),
      range: (table, start, limit): Iterable<TableRow> =>
        opened[table]?.getRange({ start, limit }) ?? [],
    });
  } finally {
    await environment.close();
  }
}
