/**
 * A snapshot that is taken while the store is in use: one view of the store, read page by page as
 * its consumer asks for more. What is in memory at a time is a page and a chunk, and the rows of
 * the page that are larger than that.
 */
import { createHash } from 'node:crypto';
import { assert, type RowSeal } from '@raftseal/interface';
import type { KvSnapshot } from './options.ts';
import { Pace } from './pace.ts';
import { pagesOf } from './row-source.ts';
import {
  DIGEST_BYTES,
  encodeCounts,
  encodeFrameStart,
  encodeSnapshotHeader,
  FRAME_END,
  FRAME_META_CLEAR,
  FRAME_META_SEALED,
  FRAME_ROW_CLEAR,
  FRAME_ROW_SEALED,
  FRAME_SEAL,
  sealDigest,
} from './snapshot-format.ts';
import type { StoreView } from './store-environment.ts';
import { findMetaRow, type MetaRow } from './store-meta.ts';
import { CLEAR_ROWS_TABLE, SEALED_ROWS_TABLE } from './tables.ts';

const CHUNK_BYTES = 1 << 16;
const NOTHING = Buffer.alloc(0);

export interface SnapshotParts {
  readonly view: StoreView;
  readonly shardId: number;
  readonly seal: RowSeal | 'cleartext';
  readonly index: bigint;
  readonly timestampMs: number;
  /** Told once, when the snapshot needs the store no more. */
  readonly onReleased: (snapshot: KvSnapshot) => void;
}

/** Gathers bytes into chunks, and their digest. */
class ChunkFlow {
  readonly #hash = createHash('sha256');
  #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  #used = 0;

  /** @returns the chunks that are full with it. */
  *add(bytes: Buffer): Generator<Buffer> {
    for (let from = 0; from < bytes.length; ) {
      const copied = bytes.copy(this.#chunk, this.#used, from);
      this.#used += copied;
      from += copied;
      if (this.#used === CHUNK_BYTES) yield this.#next();
    }
  }

  /** Adds bytes where they fill no chunk. */
  tryAdd(bytes: Buffer): boolean {
    if (this.#used + bytes.length >= CHUNK_BYTES) return false;
    this.#used += bytes.copy(this.#chunk, this.#used);
    return true;
  }

  /** The rest, and the digest of everything. */
  finish(): { rest: Buffer; digest: Buffer } {
    const rest = this.#next();
    return { rest, digest: this.#hash.digest() };
  }

  #next(): Buffer {
    const chunk = this.#chunk.subarray(0, this.#used);
    this.#hash.update(chunk);
    this.#chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    this.#used = 0;
    return chunk;
  }
}

export class StoreSnapshot implements KvSnapshot {
  readonly index: bigint;
  readonly timestampMs: number;
  readonly rowCount: number;
  readonly isSealed: boolean;
  readonly storedBytes: number;
  readonly #parts: SnapshotParts;
  #started = false;
  #released = false;

  constructor(parts: SnapshotParts) {
    const { view } = parts;
    this.#parts = parts;
    this.index = parts.index;
    this.timestampMs = parts.timestampMs;
    this.rowCount = view.count(CLEAR_ROWS_TABLE) + view.count(SEALED_ROWS_TABLE);
    this.isSealed = findMetaRow(view)?.name === 'sealed' && view.count(CLEAR_ROWS_TABLE) === 0;
    this.storedBytes = view.storedBytes;
  }

  async *chunks(): AsyncGenerator<Buffer, void> {
    assert(!this.#started, 'the chunks of a snapshot are read once');
    this.#started = true;
    try {
      yield* this.#read();
    } finally {
      this.release();
    }
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#parts.view.release();
    this.#parts.onReleased(this);
  }

  async *#read(): AsyncGenerator<Buffer, void> {
    const { view } = this.#parts;
    const flow = new ChunkFlow();
    const pace = new Pace();
    yield* flow.add(encodeSnapshotHeader({ ...this.#parts }));
    const meta = findMetaRow(view);
    assert(meta !== undefined, 'a snapshot is taken of a store with a meta row');
    const metaKind = meta.name === 'sealed' ? FRAME_META_SEALED : FRAME_META_CLEAR;
    yield* flow.add(encodeFrameStart(metaKind, NOTHING, meta.row.length));
    yield* flow.add(meta.row);
    for (const [table, kind] of rowTables) {
      for (const page of pagesOf(view, table)) {
        for (const { key, value } of page) {
          const start = encodeFrameStart(kind, key, key.length + value.length);
          if (!flow.tryAdd(start)) yield* flow.add(start);
          if (!flow.tryAdd(value)) yield* flow.add(value);
          if (pace.due) await pace.rest();
        }
      }
    }
    yield* this.#end(flow, meta);
  }

  *#end(flow: ChunkFlow, meta: MetaRow): Generator<Buffer> {
    const { view, shardId, seal } = this.#parts;
    const counts = encodeCounts({
      clear: BigInt(view.count(CLEAR_ROWS_TABLE)),
      sealed: BigInt(view.count(SEALED_ROWS_TABLE)),
    });
    yield* flow.add(encodeFrameStart(FRAME_END, NOTHING, counts.length + DIGEST_BYTES));
    yield* flow.add(counts);
    const { rest, digest } = flow.finish();
    yield rest;
    yield digest;
    if (meta.name === 'clear') return;
    assert(seal !== 'cleartext', 'a store with a sealed meta row has a seal');
    const envelope = sealDigest(seal, shardId, digest);
    yield encodeFrameStart(FRAME_SEAL, NOTHING, envelope.length);
    yield envelope;
  }
}

const rowTables = [
  [CLEAR_ROWS_TABLE, FRAME_ROW_CLEAR],
  [SEALED_ROWS_TABLE, FRAME_ROW_SEALED],
] as const;
