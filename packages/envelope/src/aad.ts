/**
 * What an envelope's tag covers besides its ciphertext (the associated data of NIST SP 800-38D),
 * all integers big-endian:
 *
 * | layer, version | associated data |
 * | --- | --- |
 * | raft 1 | `0x52`, version, dekId(4) |
 * | storage 1 | version, flag, dekId(4), value header(9), encoded key |
 * | raft 2 | `0x52`, version, flag, dekId(4), clusterId(16), shardId(4), index(8) |
 * | storage 2 | `0x53`, version, flag, dekId(4), clusterId(16), shardId(4), value header(9), row key(32) |
 *
 * The layers of one version differ in their first byte, and at most one part, the last, varies in
 * length: no two different places have the same associated data. The flag is always 0.
 */
import { CLUSTER_ID_BYTES } from '@raftseal/interface';
import { isU32, isU64, writeU32 } from './big-endian.ts';
import { checkDekId } from './header.ts';

/** Bytes of the value header that stands beside a storage envelope. */
export const VALUE_HEADER_BYTES = 9;

/** Bytes of a row key: the name that a key has on disk. */
export const ROW_KEY_BYTES = 32;

const RAFT_LAYER = 0x52;
const STORAGE_LAYER = 0x53;

const DEK_ID_OFFSET = 3;
const CLUSTER_ID_OFFSET = 7;
const SHARD_ID_OFFSET = 23;
const INDEX_OFFSET = 27;
const VALUE_HEADER_OFFSET = 27;
const ROW_KEY_OFFSET = 36;

/** Where a raft envelope stands. */
export interface RaftPlace {
  /** u32. */
  readonly shardId: number;
  /** u64, from 1. */
  readonly index: bigint;
}

/** Where a storage envelope stands. */
export interface StoragePlace {
  /** u32. */
  readonly shardId: number;
  /** 9 bytes. */
  readonly header: Uint8Array;
  /** 32 bytes. */
  readonly rowKey: Uint8Array;
}

/** Writes the associated data of raft envelopes of version 2 into one reused buffer. */
export class RaftAad {
  readonly #bytes = new Uint8Array(INDEX_OFFSET + 8);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(clusterId: Uint8Array) {
    startVersion2(this.#bytes, RAFT_LAYER, clusterId);
  }

  /** @returns a view of the buffer, valid until the next call */
  at(dekId: number, { shardId, index }: RaftPlace): Uint8Array {
    if (!isU32(shardId)) throw notU32('shardId', shardId);
    if (!isU64(index) || index === 0n) {
      throw new RangeError(`index must be an unsigned 64-bit integer from 1: ${index}`);
    }
    const bytes = this.#bytes;
    writeU32(bytes, DEK_ID_OFFSET, dekId);
    writeU32(bytes, SHARD_ID_OFFSET, shardId);
    this.#view.setBigUint64(INDEX_OFFSET, index);
    return bytes;
  }
}

/** Writes the associated data of storage envelopes of version 2 into one reused buffer. */
export class StorageAad {
  readonly #bytes = new Uint8Array(ROW_KEY_OFFSET + ROW_KEY_BYTES);

  constructor(clusterId: Uint8Array) {
    startVersion2(this.#bytes, STORAGE_LAYER, clusterId);
  }

  /** @returns a view of the buffer, valid until the next call */
  at(dekId: number, { shardId, header, rowKey }: StoragePlace): Uint8Array {
    if (!isU32(shardId)) throw notU32('shardId', shardId);
    checkLength('header', header, VALUE_HEADER_BYTES);
    checkLength('rowKey', rowKey, ROW_KEY_BYTES);
    const bytes = this.#bytes;
    writeU32(bytes, DEK_ID_OFFSET, dekId);
    writeU32(bytes, SHARD_ID_OFFSET, shardId);
    bytes.set(header, VALUE_HEADER_OFFSET);
    bytes.set(rowKey, ROW_KEY_OFFSET);
    return bytes;
  }
}

/** The 6 bytes of a raft envelope of version 1. It binds no place: see {@link RaftAad}. */
export function raftAadV1(dekId: number): Uint8Array {
  checkDekId(dekId);
  const bytes = new Uint8Array(6);
  bytes[0] = RAFT_LAYER;
  bytes[1] = 1;
  writeU32(bytes, 2, dekId);
  return bytes;
}

/**
 * The associated data of a storage envelope of version 1.
 * @param header 9 bytes, as {@link VALUE_HEADER_BYTES}
 * @param encodedKey of any length
 */
export function storageAadV1(
  dekId: number,
  header: Uint8Array,
  encodedKey: Uint8Array,
): Uint8Array {
  checkDekId(dekId);
  checkLength('header', header, VALUE_HEADER_BYTES);
  const bytes = new Uint8Array(6 + VALUE_HEADER_BYTES + encodedKey.length);
  bytes[0] = 1;
  writeU32(bytes, 2, dekId);
  bytes.set(header, 6);
  bytes.set(encodedKey, 6 + VALUE_HEADER_BYTES);
  return bytes;
}

function startVersion2(bytes: Uint8Array, layer: number, clusterId: Uint8Array): void {
  checkLength('clusterId', clusterId, CLUSTER_ID_BYTES);
  bytes[0] = layer;
  bytes[1] = 2;
  bytes.set(clusterId, CLUSTER_ID_OFFSET);
}

function checkLength(name: string, bytes: Uint8Array, expected: number): void {
  if (bytes.length !== expected) {
    throw new RangeError(`${name} must have ${expected} bytes, found ${bytes.length}`);
  }
}

function notU32(name: string, found: number): RangeError {
  return new RangeError(`${name} must be an unsigned 32-bit integer: ${found}`);
}
