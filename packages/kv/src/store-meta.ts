/**
 * The meta row: what the rows of the store add up to. It commits in the same transaction as they
 * do, and like them it is sealed once rows are.
 *
 * Row: header (flags 0x80, expiry 0) | content `format u16 | shardId u32 | appliedIndex u64 |
 * flags u8 | timestampMs u64 | rewriteDekId u32 | rewriteRows u64 | rewriteAfter(32)`, sealed under
 * a row key and flags that no key's row can have. It stands under one of two names, which says
 * whether it is sealed. Flag 1: the file may hold, in pages that are free, what was once written in
 * the clear. Flag 2: every sealed row is under rewriteDekId. Flag 4: the store is sealed-only. Format
 * 2 ends before rewriteDekId, which is read as if it were 0; format 1 ends before the timestamp.
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
import { ROW_KEY_BYTES } from './row-table.ts';
import { sealedFormat } from './sealed-store.ts';
import { META_TABLE } from './tables.ts';
import type { WriteBatch } from './write-batch.ts';

const FORMAT_VERSION = 3;
const TIMESTAMP_OFFSET = 2 + 4 + 8 + 1;
const REWRITE_OFFSET: number = TIMESTAMP_OFFSET + 8;
const AFTER_OFFSET: number = REWRITE_OFFSET + 4 + 8;
const CONTENT_BYTES: number = AFTER_OFFSET + ROW_KEY_BYTES;
/** Bytes of the content, by format. */
const contentBytesOf: ReadonlyMap<number, number> = new Map([
  [1, TIMESTAMP_OFFSET],
  [2, REWRITE_OFFSET],
  [FORMAT_VERSION, CONTENT_BYTES],
]);
const FLAG_CLEARTEXT_LEFT = 1;
const FLAG_REWRITTEN = 2;
const FLAG_SEALED_ONLY = 4;
const FLAGS_KNOWN: number = FLAG_CLEARTEXT_LEFT | FLAG_REWRITTEN | FLAG_SEALED_ONLY;
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
  const contentBytes = contentBytesOf.get(version);
  if (contentBytes === undefined) {
    throw fatalError(
      'RAFTSEAL_KV_STORE_VERSION',
      `the store was expected to have a format from 1 to ${FORMAT_VERSION} and has ${version}: ` +
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
  const known = version < 3 ? FLAG_CLEARTEXT_LEFT : FLAGS_KNOWN;
  if ((flags & ~known) !== 0) throw rowCorrupt('the flags of the meta row are not known');
  return {
    appliedIndex: content.readBigUInt64BE(6),
    timestampMs: version === 1 ? 0 : decodeNumber(content, TIMESTAMP_OFFSET),
    cleartextLeft: (flags & FLAG_CLEARTEXT_LEFT) !== 0,
    sealedOnly: (flags & FLAG_SEALED_ONLY) !== 0,
    rewrite: version < 3 ? noRewrite : decodeRewrite(content, (flags & FLAG_REWRITTEN) !== 0),
  };
}

function decodeNumber(content: Buffer, offset: number): number {
  const number = content.readBigUInt64BE(offset);
  if (number > Number.MAX_SAFE_INTEGER) throw rowCorrupt('a number of the meta row is too large');
  return Number(number);
}

function decodeRewrite(content: Buffer, complete: boolean): RewriteState {
  const dekId = content.readUInt32BE(REWRITE_OFFSET);
  if (complete && dekId === 0) throw rowCorrupt('the meta row says that no DEK seals every row');
  const rows = decodeNumber(content, REWRITE_OFFSET + 4);
  return { dekId, rows, after: Buffer.from(content.subarray(AFTER_OFFSET)), complete };
}

/** The meta row as it stands in its table, and under which name. */
export interface MetaRow {
  readonly name: 'clear' | 'sealed';
  readonly row: Buffer;
}

/** How far the rows of the store have been brought under one DEK. */
export interface RewriteState {
  /** 0: none. */
  readonly dekId: number;
  /** Rows up to `after`. */
  readonly rows: number;
  /** No row up to this row key is under another DEK. All 0: nothing is known of any row. */
  readonly after: Buffer;
  /** Whether no sealed row at all is under another DEK, the meta row included. */
  readonly complete: boolean;
}

export const noRewrite: RewriteState = {
  dekId: 0,
  rows: 0,
  after: Buffer.alloc(ROW_KEY_BYTES),
  complete: false,
};

export interface StoreMeta {
  /** 0n for a new store. */
  readonly appliedIndex: bigint;
  /** Of the last data entry at or below `appliedIndex`; 0 where there was none. */
  readonly timestampMs: number;
  /** Whether the file may hold what was once written in the clear. */
  readonly cleartextLeft: boolean;
  readonly rewrite: RewriteState;
  /** Whether the store was sealed-only when it was last written. */
  readonly sealedOnly: boolean;
  /** Under which name the row stands. */
  readonly name: MetaRow['name'] | 'none';
}

const noMeta: StoreMeta = {
  appliedIndex: 0n,
  timestampMs: 0,
  cleartextLeft: false,
  rewrite: noRewrite,
  sealedOnly: false,
  name: 'none',
};

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

/** Whether there is a meta row in the clear, if only beside a sealed one. */
export function hasClearMeta(source: RowSource): boolean {
  return source.get(META_TABLE, CLEAR_NAME) !== undefined;
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
  const { rewrite } = meta;
  const content = Buffer.alloc(CONTENT_BYTES);
  content.writeUInt16BE(FORMAT_VERSION, 0);
  content.writeUInt32BE(meta.shardId, 2);
  content.writeBigUInt64BE(meta.appliedIndex, 6);
  content[14] =
    (meta.cleartextLeft ? FLAG_CLEARTEXT_LEFT : 0) |
    (rewrite.complete ? FLAG_REWRITTEN : 0) |
    (meta.sealedOnly ? FLAG_SEALED_ONLY : 0);
  content.writeBigUInt64BE(BigInt(meta.timestampMs), TIMESTAMP_OFFSET);
  content.writeUInt32BE(rewrite.dekId, REWRITE_OFFSET);
  content.writeBigUInt64BE(BigInt(rewrite.rows), REWRITE_OFFSET + 4);
  rewrite.after.copy(content, AFTER_OFFSET);
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
