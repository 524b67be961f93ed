/**
 * What a snapshot holds, in its order, each part checked before it is handed out and the whole once
 * its end is reached: header, meta row, rows that ascend, counts, digest, seal.
 */
import { assert, codeOf, type RowSeal } from '@raftseal/interface';
import type { SnapshotExpectation } from './options.ts';
import { KEY_ROW_FLAGS } from './row-codec.ts';
import { ROW_KEY_BYTES } from './row-table.ts';
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
import { type MetaRow, openMetaRow, type StoreMeta } from './store-meta.ts';

export interface SnapshotContentsParts {
  readonly reader: SnapshotReader;
  readonly shardId: number;
  readonly seal: RowSeal | 'cleartext';
  /** Nothing in the clear is taken. */
  readonly sealedOnly: boolean;
  readonly expected: SnapshotExpectation;
}

/** A row as it stands in the store. Valid until the next one is read. */
export interface SnapshotRow {
  readonly sealed: boolean;
  readonly rowKey: Buffer;
  readonly row: Buffer;
}

export class SnapshotContents {
  readonly #parts: SnapshotContentsParts;
  #metaName: StoreMeta['name'] = 'none';
  #kind = 0;
  #lastKey: Buffer | undefined;
  #end: SnapshotFrame | undefined;
  #clear = 0;
  #sealed = 0;

  constructor(parts: SnapshotContentsParts) {
    this.#parts = parts;
  }

  /** Rows in the clear that were read. */
  get clear(): number {
    return this.#clear;
  }

  /** Sealed rows that were read. */
  get sealed(): number {
    return this.#sealed;
  }

  /**
   * Header and meta row; once, first.
   * @throws RAFTSEAL_KV_SNAPSHOT_INVALID, RAFTSEAL_KV_SEAL_REQUIRED, and what the chunks throw
   */
  async begin(): Promise<{ readonly meta: StoreMeta; readonly metaRow: MetaRow }> {
    const header = await this.#parts.reader.header();
    this.#checkHeader(header);
    const metaRow = this.#metaRowOf(await this.#nextFrame());
    const meta = this.#checkMeta(metaRow, header);
    this.#metaName = meta.name;
    return { meta, metaRow };
  }

  /** The next row where all of it has come; else `more` is to be awaited. @throws as `begin` */
  rowAtHand(): SnapshotRow | undefined {
    if (this.#end !== undefined) return undefined;
    const frame = this.#parts.reader.frame();
    if (frame?.kind !== FRAME_END) return frame && this.#row(frame);
    this.#end = frame;
    return undefined;
  }

  /**
   * Waits for the next row; undefined behind the last, where the whole was found right.
   * @throws as `begin`
   */
  async more(): Promise<SnapshotRow | undefined> {
    const frame = this.#end ?? (await this.#nextFrame());
    if (frame.kind !== FRAME_END) return this.#row(frame);
    await this.#finish(frame);
    return undefined;
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
    if (meta.cleartextLeft && this.#parts.sealedOnly) {
      throw snapshotInvalid('it may have rows in the clear, where nothing but sealed ones is read');
    }
    return meta;
  }

  #row({ kind, body }: SnapshotFrame): SnapshotRow {
    const sealed = kind === FRAME_ROW_SEALED;
    if (sealed && this.#metaName === 'clear') {
      throw snapshotInvalid('it has sealed rows, and its meta row is in the clear');
    }
    if (kind < this.#kind || (!sealed && kind !== FRAME_ROW_CLEAR)) {
      throw snapshotInvalid('its frames are not in their order');
    }
    const rowKey = body.subarray(0, ROW_KEY_BYTES);
    const row = body.subarray(ROW_KEY_BYTES);
    if (this.#lastKey !== undefined && kind === this.#kind && rowKey.compare(this.#lastKey) <= 0) {
      throw snapshotInvalid('its rows are not in their order');
    }
    if (!sealed && this.#parts.sealedOnly) {
      throw snapshotInvalid('it has a row in the clear, where nothing but sealed ones is read');
    }
    if (row[0] !== KEY_ROW_FLAGS) throw snapshotInvalid('the flags of a row are not known');
    this.#kind = kind;
    this.#lastKey = Buffer.from(rowKey);
    if (sealed) this.#sealed++;
    else this.#clear++;
    return { sealed, rowKey, row };
  }

  async #finish(frame: SnapshotFrame): Promise<void> {
    const { reader, shardId, seal } = this.#parts;
    const { clear, sealed, digest } = reader.end(frame);
    if (clear !== BigInt(this.#clear) || sealed !== BigInt(this.#sealed)) {
      throw snapshotInvalid('it has another number of rows than its end says');
    }
    if (this.#metaName === 'sealed' && seal !== 'cleartext') {
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
}

/** What a part of the snapshot is refused for; where only a seal is missing here, that. */
export function refused<Result>(part: string, open: () => Result): Result {
  try {
    return open();
  } catch (error) {
    if (codeOf(error) === 'RAFTSEAL_KV_SEAL_REQUIRED') throw error;
    throw snapshotInvalid(`${part} cannot be accepted (${codeOf(error) ?? 'no code'})`, error);
  }
}
