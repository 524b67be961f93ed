/**
 * Fills a new environment with the rows of a snapshot. Nothing of it is the shard's before all of
 * it was checked, committed and flushed: until then the state that is served is the old one, and
 * what was built is thrown away. There is none before there is something to commit, so a small
 * snapshot that is refused touches no disk.
 *
 * Rows are taken as they are: they are bound to cluster, shard and key, not to the node that sealed
 * them. The expiry index is made again from their headers.
 */
import { assert } from '@raftseal/interface';
import { Pace } from './pace.ts';
import { expiryHint, INDEX_VALUE } from './row-table.ts';
import { readCheckedMeta } from './sealing.ts';
import {
  refused,
  SnapshotContents,
  type SnapshotContentsParts,
  type SnapshotRow,
} from './snapshot-contents.ts';
import { snapshotInvalid } from './snapshot-format.ts';
import type { StoreReplacement } from './store-environment.ts';
import { putMetaRow, type StoreMeta } from './store-meta.ts';
import {
  CLEAR_EXPIRY_TABLE,
  CLEAR_ROWS_TABLE,
  SEALED_EXPIRY_TABLE,
  SEALED_ROWS_TABLE,
} from './tables.ts';
import { CHUNK_BYTES, type Chunk, WriteBatch } from './write-batch.ts';

/** Bytes of rows that one transaction writes, about: what is in memory at a time. */
const COMMIT_BYTES = 1 << 24;
const NO_VALUE = Buffer.alloc(0);

export interface ReceiverParts extends SnapshotContentsParts {
  /** Makes the environment. */
  readonly open: () => Promise<StoreReplacement>;
}

export class SnapshotReceiver {
  readonly #parts: ReceiverParts;
  readonly #batch: WriteBatch;
  #chunks: Chunk[] = [];
  #batchedBytes = 0;
  #connection: StoreReplacement | undefined;

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
    this.#batch = new WriteBatch({
      allocate: () => new ArrayBuffer(CHUNK_BYTES),
      filled: (chunk) => this.#chunks.push(chunk),
    });
  }

  /**
   * Reads the snapshot to its end and commits it.
   * @returns the environment, and what it is of
   * @throws RAFTSEAL_KV_SNAPSHOT_INVALID, RAFTSEAL_KV_SEAL_REQUIRED, RAFTSEAL_KV_COMMIT_FAILED,
   *   and what the chunks throw
   */
  async receive(): Promise<{ connection: StoreReplacement; meta: StoreMeta }> {
    const { shardId, seal, sealedOnly } = this.#parts;
    const contents = new SnapshotContents(this.#parts);
    const { meta, metaRow } = await contents.begin();
    if (meta.sealedOnly && !sealedOnly) {
      throw snapshotInvalid('it is sealed-only, and the key state here is an older one');
    }
    await this.#receiveRows(contents);
    putMetaRow(this.#batch, metaRow);
    const connection = await this.#commit();
    assert(
      connection.count(CLEAR_ROWS_TABLE) === contents.clear &&
        connection.count(SEALED_ROWS_TABLE) === contents.sealed,
      'every row that was received is in the store',
    );
    refused('its rows', () => readCheckedMeta(connection, shardId, seal));
    return { connection, meta };
  }

  async #receiveRows(contents: SnapshotContents): Promise<void> {
    const pace = new Pace();
    for (;;) {
      const row = contents.rowAtHand() ?? (await contents.more());
      if (row === undefined) return;
      this.#put(row);
      if (this.#batchedBytes >= COMMIT_BYTES) await this.#commit();
      if (pace.due) await pace.rest();
    }
  }

  #put({ sealed, rowKey, row }: SnapshotRow): void {
    this.#batchedBytes += row.length;
    this.#batch.put(sealed ? SEALED_ROWS_TABLE : CLEAR_ROWS_TABLE, rowKey, row, NO_VALUE);
    const hint = expiryHint(rowKey, row);
    if (hint === undefined) return;
    this.#batch.put(sealed ? SEALED_EXPIRY_TABLE : CLEAR_EXPIRY_TABLE, hint, INDEX_VALUE, NO_VALUE);
  }

  async #commit(): Promise<StoreReplacement> {
    this.#batch.finish();
    this.#connection ??= await this.#parts.open();
    for (const chunk of this.#chunks) this.#connection.add(chunk);
    this.#chunks = [];
    this.#batchedBytes = 0;
    await this.#connection.commit();
    return this.#connection;
  }
}
