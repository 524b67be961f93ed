/**
 * The value of one entry in etcd.
 *
 * | offset | bytes | field |
 * | --- | --- | --- |
 * | 0 | 1 | version: 1 |
 * | 1 | 8 | term, big-endian |
 * | 9 | 4 | CRC-32 of shard id (4), index (8), term (8), all big-endian, and payload |
 * | 13 | n | payload |
 *
 * Shard and index are those of the key: a value that was moved to another place is damaged there.
 * The CRC finds accidents, not attackers.
 */
import { crc32 } from 'node:zlib';
import type { LogEntry } from '@raftseal/interface';
import { corruptError } from './errors.ts';

const VERSION = 1;
export const ENTRY_HEADER_BYTES = 13;
const TERM_OFFSET = 1;
const CRC_OFFSET = 9;

/** The bytes that etcd holds for an entry. */
export function encodeEntry(shardId: number, { index, term, payload }: LogEntry): Buffer {
  const value = Buffer.allocUnsafe(ENTRY_HEADER_BYTES + payload.byteLength);
  value[0] = VERSION;
  value.writeBigUInt64BE(term, TERM_OFFSET);
  value.writeUInt32BE(checksum(shardId, index, term, payload), CRC_OFFSET);
  value.set(payload, ENTRY_HEADER_BYTES);
  return value;
}

/** The payload is a view into `value`. @throws RAFTSEAL_ENGINE_CORRUPT (fatal) */
export function decodeEntry(shardId: number, index: bigint, value: Buffer): LogEntry {
  if (value.byteLength < ENTRY_HEADER_BYTES) {
    throw corruptError(shardId, `entry ${index} has ${value.byteLength} bytes, less than a header`);
  }
  if (value[0] !== VERSION) {
    throw corruptError(shardId, `entry ${index} is of version ${value[0]}, not ${VERSION}`);
  }
  const term = value.readBigUInt64BE(TERM_OFFSET);
  const payload = value.subarray(ENTRY_HEADER_BYTES);
  if (value.readUInt32BE(CRC_OFFSET) !== checksum(shardId, index, term, payload)) {
    throw corruptError(shardId, `the checksum of entry ${index} does not match`);
  }
  return { index, term, payload };
}

function checksum(shardId: number, index: bigint, term: bigint, payload: Uint8Array): number {
  const place = Buffer.allocUnsafe(20);
  place.writeUInt32BE(shardId, 0);
  place.writeBigUInt64BE(index, 4);
  place.writeBigUInt64BE(term, 12);
  return crc32(payload, crc32(place));
}
