/**
 * Fills a new environment with the rows of a snapshot. Nothing of it is the shard's before all of
 * it was checked, committed and flushed: until then the state that is served is the old one, and
 * what was built is thrown away. There is none before there is something to commit, so a small
 * snapshot that is refused touches no disk.
 *
 * Rows are taken as they are: they are bound to cluster, shard and key, not to the node that sealed
 * them. The expiry index is made again from their headers.
 */
import { assert, codeOf, type RowSeal } from '@raftseal/interface';
import type { LmdbConnection } from './lmdb-connection.ts';
import type { SnapshotExpectation } from './options.ts';
import { Pace } from './pace.ts';
import { KEY_ROW_FLAGS } from './row-codec.ts';
import { expiryHint, INDEX_VALUE, ROW_KEY_BYTES } from './row-table.ts';
import { readCheckedMeta } from './sealing.ts';
import {
  FRAME_END,
  FRAME_META_CLEAR,
  FRAME_META_SEALED,
  FRAME_ROW_CLEAR,
  FRAME_ROW_SEALED,
  FRAME_SEAL,
  openDigest,
  type SnapshotHeader,
  snapshotInvalid,
} from './snapshot-format.ts';
import type { SnapshotFrame, SnapshotReader } from './snapshot-reader.ts';
import { type MetaRow, openMetaRow, putMetaRow, type StoreMeta } from './store-meta.ts';
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

export interface ReceiverParts {
  readonly reader: SnapshotReader;
  /** Makes the environment. */
  readonly open: () => Promise<LmdbConnection>;
  readonly shardId: number;
  readonly seal: RowSeal | 'cleartext';
  /** Nothing in the clear is taken. */
  readonly sealedOnly: boolean;
  readonly expected: SnapshotExpectation;
}

export class SnapshotReceiver {
  readonly #parts: ReceiverParts;
  readonly #batch: WriteBatch;
  #chunks: Chunk[] = [];
  #batchedBytes = 0;
  #connection: LmdbConnection | undefined;
  #kind = 0;
  #lastKey: Buffer | undefined;
  #clear = 0;
  #sealed = 0;

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
  async receive(): Promise<{ connection: LmdbConnection; meta: StoreMeta }> {
    const { reader, shardId, seal } = this.#parts;
    const header = await reader.header();
    this.#checkHeader(header);
    const metaRow = this.#metaRowOf(await this.#nextFrame());
    const meta = this.#checkMeta(metaRow, header);
    await this.#finish(await this.#receiveRows(meta), meta);
    putMetaRow(this.#batch, metaRow);
    const connection = await this.#commit();
    assert(
      connection.count(CLEAR_ROWS_TABLE) === this.#clear &&
        connection.count(SEALED_ROWS_TABLE) === this.#sealed,
      'every row that was received is in the store',
    );
    refused('its rows', () => readCheckedMeta(connection, shardId, seal));
    return { connection, meta };
  }

  #checkHeader({ shardId, index, timestampMs }: SnapshotHeader): void {
    const { expected } = this.#parts;
    if (shardId !== this.#parts.shardId) {
      throw snapshotInvalid(`it is of shard ${shardId} and not of ${this.#parts.shardId}`);
    }
    if (index !== expected.index) {
      throw snapshotInvalid(`it is of index ${index} and not of ${expected.index}`);
    }
    if (timestampMs !== expected.timestampMs) {
      throw snapshotInvalid(`its time is ${timestampMs} and not ${expected.timestampMs}`);
    }
  }

  #metaRowOf({ kind, body }: SnapshotFrame): MetaRow {
    const row = Buffer.from(body);
    if (kind === FRAME_META_SEALED) return { name: 'sealed', row };
    if (kind !== FRAME_META_CLEAR) throw snapshotInvalid('it does not begin with its meta row');
    if (this.#parts.expected.mustBeSealed === true || this.#parts.sealedOnly) {
      throw snapshotInvalid('it is in the clear, where a sealed one was asked for');
    }
    return { name: 'clear', row };
  }

  #checkMeta(row: MetaRow, header: SnapshotHeader): StoreMeta {
    const { shardId, seal } = this.#parts;
    const meta = refused('its meta row', () => openMetaRow(row, shardId, seal));
    if (meta.appliedIndex !== header.index || meta.timestampMs !== header.timestampMs) {
      throw snapshotInvalid('its meta row is of another index or time than its header');
    }
    if (meta.sealedOnly && !this.#parts.sealedOnly) {
      throw snapshotInvalid('it is sealed-only, and the key state here is an older one');
    }
    if (meta.cleartextLeft && this.#parts.sealedOnly) {
      throw snapshotInvalid('it may have rows in the clear, where nothing but sealed ones is read');
    }
    return meta;
  }

  /** @returns the end */
  async #receiveRows(meta: StoreMeta): Promise<SnapshotFrame> {
    const pace = new Pace();
    for (;;) {
      const frame = this.#parts.reader.frame() ?? (await this.#nextFrame());
      if (frame.kind === FRAME_END) return frame;
      if (frame.kind === FRAME_ROW_SEALED && meta.name === 'clear') {
        throw snapshotInvalid('it has sealed rows, and its meta row is in the clear');
      }
      this.#put(frame);
      if (this.#batchedBytes >= COMMIT_BYTES) await this.#commit();
      if (pace.due) await pace.rest();
    }
  }

  #put({ kind, body }: SnapshotFrame): void {
    if (kind < this.#kind || (kind !== FRAME_ROW_CLEAR && kind !== FRAME_ROW_SEALED)) {
      throw snapshotInvalid('its frames are not in their order');
    }
    const rowKey = body.subarray(0, ROW_KEY_BYTES);
    const row = body.subarray(ROW_KEY_BYTES);
    if (this.#lastKey !== undefined && kind === this.#kind && rowKey.compare(this.#lastKey) <= 0) {
      throw snapshotInvalid('its rows are not in their order');
    }
    if (kind === FRAME_ROW_CLEAR && this.#parts.sealedOnly) {
      throw snapshotInvalid('it has a row in the clear, where nothing but sealed ones is read');
    }
    if (row[0] !== KEY_ROW_FLAGS) throw snapshotInvalid('the flags of a row are not known');
    this.#kind = kind;
    this.#lastKey = Buffer.from(rowKey);
    this.#batchedBytes += row.length;
    const sealed = kind === FRAME_ROW_SEALED;
    if (sealed) this.#sealed++;
    else this.#clear++;
    this.#batch.put(sealed ? SEALED_ROWS_TABLE : CLEAR_ROWS_TABLE, rowKey, row, NO_VALUE);
    const hint = expiryHint(rowKey, row);
    if (hint === undefined) return;
    this.#batch.put(sealed ? SEALED_EXPIRY_TABLE : CLEAR_EXPIRY_TABLE, hint, INDEX_VALUE, NO_VALUE);
  }

  async #finish(frame: SnapshotFrame, meta: StoreMeta): Promise<void> {
    const { reader, shardId, seal } = this.#parts;
    const { clear, sealed, digest } = reader.end(frame);
    if (clear !== BigInt(this.#clear) || sealed !== BigInt(this.#sealed)) {
      throw snapshotInvalid('it has another number of rows than its end says');
    }
    if (meta.name === 'sealed' && seal !== 'cleartext') {
      const { kind, body } = await this.#nextFrame();
      if (kind !== FRAME_SEAL) throw snapshotInvalid('it lacks its seal');
      const opened = refused('its seal', () => openDigest(seal, shardId, body));
      if (!opened.equals(digest)) throw snapshotInvalid('its seal is that of another snapshot');
    }
    await reader.finish();
  }

  async #nextFrame(): Promise<SnapshotFrame> {
    const { reader } = this.#parts;
    await reader.more();
    const frame = reader.frame();
    assert(frame !== undefined, 'a frame that was waited for is there');
    return frame;
  }

  async #commit(): Promise<LmdbConnection> {
    this.#batch.finish();
    this.#connection ??= await this.#parts.open();
    for (const chunk of this.#chunks) this.#connection.add(chunk);
    this.#chunks = [];
    this.#batchedBytes = 0;
    await this.#connection.commit();
    return this.#connection;
  }
}

/** What a part of the snapshot is refused for; where only a seal is missing here, that. */
function refused<Result>(part: string, open: () => Result): Result {
  try {
    return open();
  } catch (error) {
    if (codeOf(error) === 'RAFTSEAL_KV_SEAL_REQUIRED') throw error;
    throw snapshotInvalid(`${part} cannot be accepted (${codeOf(error) ?? 'no code'})`, error);
  }
}
