/**
 * A snapshot of a shard as a stream of bytes: the rows of its store as they stand on disk, sealed
 * rows verbatim. All integers are big-endian.
 *
 * Header, 30 bytes: `magic "RSEALKVS" | format u16 | shardId u32 | index u64 | timestampMs u64`.
 * Then frames, `kind u8 | length u32 | body`, in the order of their kinds:
 *
 * | kind | frame | number | body |
 * | --- | --- | --- | --- |
 * | 1 | meta row in the clear | one of kind 1 or 2 | the row |
 * | 2 | sealed meta row | | the row |
 * | 3 | row in the clear | any, row names ascending | `row name(32) | row` |
 * | 4 | sealed row | any, row keys ascending | `row key(32) | row` |
 * | 5 | end | one | `rows of kind 3 u64 | rows of kind 4 u64 | SHA-256(32)` |
 * | 6 | seal | one where the meta row is sealed, else none | an envelope of the digest |
 *
 * The digest is over everything before it. It finds what was damaged; what was changed on purpose
 * is found by the seal. So a snapshot with a sealed meta row is authentic as a whole: in each row,
 * in those that it lacks, and in the index that it names.
 */
import { RaftsealError, type RowSeal } from '@raftseal/interface';
import { encodeHeader, ROW_HEADER_BYTES, SNAPSHOT_SEAL_FLAGS } from './row-codec.ts';

export const SNAPSHOT_HEADER_BYTES: number = 8 + 2 + 4 + 8 + 8;
export const FRAME_HEADER_BYTES: number = 1 + 4;
export const END_COUNTS_BYTES: number = 8 + 8;
export const DIGEST_BYTES = 32;

export const FRAME_META_CLEAR = 1;
export const FRAME_META_SEALED = 2;
export const FRAME_ROW_CLEAR = 3;
export const FRAME_ROW_SEALED = 4;
export const FRAME_END = 5;
export const FRAME_SEAL = 6;

const MAGIC = Buffer.from('RSEALKVS', 'latin1');
const FORMAT_VERSION = 1;
const SEAL_NAME = Buffer.from('raftseal snapshot');

export interface SnapshotHeader {
  readonly shardId: number;
  readonly index: bigint;
  readonly timestampMs: number;
}

export function snapshotInvalid(found: string, cause?: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KV_SNAPSHOT_INVALID',
    `a snapshot was expected to be whole, and of the shard and index that were asked for; ${found}; ` +
      'nothing was changed here: have it sent again, or take another one',
    cause === undefined ? {} : { cause },
  );
}

export function encodeSnapshotHeader(header: SnapshotHeader): Buffer {
  const bytes = Buffer.alloc(SNAPSHOT_HEADER_BYTES);
  MAGIC.copy(bytes);
  bytes.writeUInt16BE(FORMAT_VERSION, 8);
  bytes.writeUInt32BE(header.shardId, 10);
  bytes.writeBigUInt64BE(header.index, 14);
  bytes.writeBigUInt64BE(BigInt(header.timestampMs), 22);
  return bytes;
}

/** @throws RAFTSEAL_KV_SNAPSHOT_INVALID */
export function decodeSnapshotHeader(bytes: Buffer): SnapshotHeader {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw snapshotInvalid('it is no snapshot');
  const version = bytes.readUInt16BE(8);
  if (version !== FORMAT_VERSION) {
    throw snapshotInvalid(`its format is ${version}, and ${FORMAT_VERSION} is known`);
  }
  const timestampMs = bytes.readBigUInt64BE(22);
  if (timestampMs > Number.MAX_SAFE_INTEGER) throw snapshotInvalid('there is no such time');
  return {
    shardId: bytes.readUInt32BE(10),
    index: bytes.readBigUInt64BE(14),
    timestampMs: Number(timestampMs),
  };
}

/** The header of a frame, and what its body of `length` bytes begins with. */
export function encodeFrameStart(kind: number, first: Buffer, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER_BYTES + first.length);
  bytes[0] = kind;
  bytes.writeUInt32BE(length, 1);
  first.copy(bytes, FRAME_HEADER_BYTES);
  return bytes;
}

export interface SnapshotCounts {
  readonly clear: bigint;
  readonly sealed: bigint;
}

export function encodeCounts({ clear, sealed }: SnapshotCounts): Buffer {
  const bytes = Buffer.allocUnsafe(END_COUNTS_BYTES);
  bytes.writeBigUInt64BE(clear, 0);
  bytes.writeBigUInt64BE(sealed, 8);
  return bytes;
}

/** Binds a digest to cluster and shard. @throws RAFTSEAL_ENVELOPE_* where no nonce can be drawn */
export function sealDigest(seal: RowSeal, shardId: number, digest: Buffer): Buffer {
  return seal.seal(shardId, seal.rowKey(shardId, SEAL_NAME), sealHeader(), digest);
}

/** @throws RAFTSEAL_ENVELOPE_* where `sealDigest` did not make it for this cluster and shard */
export function openDigest(seal: RowSeal, shardId: number, envelope: Buffer): Buffer {
  return seal.open(shardId, seal.rowKey(shardId, SEAL_NAME), sealHeader(), envelope);
}

function sealHeader(): Buffer {
  const header = Buffer.alloc(ROW_HEADER_BYTES);
  encodeHeader(header, SNAPSHOT_SEAL_FLAGS, 0);
  return header;
}
