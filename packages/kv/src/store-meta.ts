/**
 * The meta row: what the rows of the store add up to. It commits in the same transaction as they
 * do, and like them it is sealed once rows are.
 *
 * Row: header (flags 0x80, expiry 0) | content `format u16 | shardId u32 | appliedIndex u64 |
 * flags u8 | timestampMs u64`, sealed under a row key and flags that no key's row can have. It
 * stands under one of two names, which says whether it is sealed. Flag 1: the file may hold, in
 * pages that are free, what was once written in the clear. Format 1 has no timestamp and is read
 * as if it were 0.
 */
import { fatalError, RaftsealError, type RowSeal } from '@raftseal/interface';
import { cleartextFormat } from './lmdb-store.ts';
import {
  decodeHeader,
  encodeHeader,
  META_ROW_FLAGS,
  ROW_HEADER_BYTES,
  rowCorrupt,
} from './row-codec.ts';
import type { RowSource } from './row-source.ts';
import { sealedFormat } from './sealed-store.ts';
import { META_TABLE } from './tables.ts';
import type { WriteBatch } from './write-batch.ts';

const FORMAT_VERSION = 2;
/** Bytes of the content, by format. */
const CONTENT_BYTES: ReadonlyMap<number, number> = new Map([
  [1, 2 + 4 + 8 + 1],
  [FORMAT_VERSION, 2 + 4 + 8 + 1 + 8],
]);
const TIMESTAMP_OFFSET = 15;
const FLAG_CLEARTEXT_LEFT = 1;
const CLEAR_NAME = Buffer.from('clear');
const SEALED_NAME = Buffer.from('sealed');
const ROW_NAME = Buffer.from('raftseal meta row');

type Seal = RowSeal | 'cleartext';

export interface MetaOptions {
  readonly source: RowSource;
  readonly shardId: number;
}

function formatOf(seal: Seal, shardId: number): ReturnType<typeof sealedFormat> {
  return seal === 'cleartext' ? cleartextFormat : sealedFormat(seal, shardId);
}

function decodeMeta(content: Buffer, shardId: number): Omit<StoreMeta, 'name'> {
  if (content.length < 2) throw rowCorrupt('the meta row is too short');
  const version = content.readUInt16BE(0);
  const contentBytes = CONTENT_BYTES.get(version);
  if (contentBytes === undefined) {
    throw fatalError(
      'RAFTSEAL_KV_STORE_VERSION',
      `the store was expected to have format 1 or ${FORMAT_VERSION} and has ${version}: ` +
        'start the version of the node that wrote it',
    );
  }
  if (content.length !== contentBytes) throw rowCorrupt('the meta row has the wrong length');
  const found = content.readUInt32BE(2);
  if (found !== shardId) {
    throw fatalError(
      'RAFTSEAL_KV_STORE_MISMATCH',
      `the store was expected to be of shard ${shardId} and is of shard ${found}: ` +
        'check which directory the shard is given',
    );
  }
  const flags = content[14] ?? 0;
  if (flags > FLAG_CLEARTEXT_LEFT) throw rowCorrupt('the flags of the meta row are not known');
  return {
    appliedIndex: content.readBigUInt64BE(6),
    timestampMs: version === 1 ? 0 : decodeTimestamp(content.readBigUInt64BE(TIMESTAMP_OFFSET)),
    cleartextLeft: flags === FLAG_CLEARTEXT_LEFT,
  };
}

function decodeTimestamp(timestampMs: bigint): number {
  if (timestampMs > Number.MAX_SAFE_INTEGER) throw rowCorrupt('the meta row has no such time');
  return Number(timestampMs);
}

/** The meta row as it stands in its table, and under which name. */
export interface MetaRow {
  readonly name: 'clear' | 'sealed';
  readonly row: Buffer;
}

export interface StoreMeta {
  /** 0n for a new store. */
  readonly appliedIndex: bigint;
  /** Of the last data entry at or below `appliedIndex`; 0 where there was none. */
  readonly timestampMs: number;
  /** Whether the file may hold what was once written in the clear. */
  readonly cleartextLeft: boolean;
  /** Under which name the row stands. */
  readonly name: MetaRow['name'] | 'none';
}

const noMeta: StoreMeta = { appliedIndex: 0n, timestampMs: 0, cleartextLeft: false, name: 'none' };

/**
 * @throws RAFTSEAL_KV_SEAL_REQUIRED, RAFTSEAL_KV_STORE_MISMATCH, RAFTSEAL_KV_STORE_VERSION,
 *   RAFTSEAL_KV_ROW_CORRUPT
 */
export function readMeta({ source, shardId }: MetaOptions, seal: Seal): StoreMeta {
  const found = findMetaRow(source);
  return found === undefined ? noMeta : openMetaRow(found, shardId, seal);
}

/** The meta row as it stands in the store; undefined in a new one. */
export function findMetaRow(source: RowSource): MetaRow | undefined {
  const sealed = source.get(META_TABLE, SEALED_NAME);
  if (sealed !== undefined) return { name: 'sealed', row: sealed };
  const clear = source.get(META_TABLE, CLEAR_NAME);
  return clear === undefined ? undefined : { name: 'clear', row: clear };
}

/**
 * @throws RAFTSEAL_KV_SEAL_REQUIRED, RAFTSEAL_KV_STORE_MISMATCH, RAFTSEAL_KV_STORE_VERSION,
 *   RAFTSEAL_KV_ROW_CORRUPT
 */
export function openMetaRow({ name, row }: MetaRow, shardId: number, seal: Seal): StoreMeta {
  if (name === 'sealed' && seal === 'cleartext') {
    throw new RaftsealError(
      'RAFTSEAL_KV_SEAL_REQUIRED',
      'the store holds sealed rows and was opened without a seal: start the node with its keys',
    );
  }
  const format = formatOf(name === 'clear' ? 'cleartext' : seal, shardId);
  decodeHeader(row, META_ROW_FLAGS);
  const header = row.subarray(0, ROW_HEADER_BYTES);
  const content = format.open(format.rowKey(ROW_NAME), header, row.subarray(ROW_HEADER_BYTES));
  return { ...decodeMeta(content, shardId), name };
}

export function writeMeta(
  batch: WriteBatch,
  meta: Omit<StoreMeta, 'name'> & { readonly seal: Seal; readonly shardId: number },
): void {
  const header = Buffer.alloc(ROW_HEADER_BYTES);
  encodeHeader(header, META_ROW_FLAGS, 0);
  const content = Buffer.alloc(TIMESTAMP_OFFSET + 8);
  content.writeUInt16BE(FORMAT_VERSION, 0);
  content.writeUInt32BE(meta.shardId, 2);
  content.writeBigUInt64BE(meta.appliedIndex, 6);
  content[14] = meta.cleartextLeft ? FLAG_CLEARTEXT_LEFT : 0;
  content.writeBigUInt64BE(BigInt(meta.timestampMs), TIMESTAMP_OFFSET);
  const format = formatOf(meta.seal, meta.shardId);
  const sealed = meta.seal !== 'cleartext';
  const closed = format.close(format.rowKey(ROW_NAME), header, content);
  batch.put(META_TABLE, sealed ? SEALED_NAME : CLEAR_NAME, header, closed);
  if (sealed) batch.delete(META_TABLE, CLEAR_NAME);
}

/** Puts a meta row into a store that has none, as it stood in another. */
export function putMetaRow(batch: WriteBatch, { name, row }: MetaRow): void {
  batch.put(META_TABLE, name === 'sealed' ? SEALED_NAME : CLEAR_NAME, row, Buffer.alloc(0));
}
