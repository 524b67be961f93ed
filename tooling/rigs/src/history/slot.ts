/** Which slot a key is in (Redis Cluster), and which shard a slot is in (docs/formats.md, F-DIR-5). */
import { hashTagOf } from '../linearizability/partition.ts';

const SLOT_COUNT = 16_384;

/** CRC-16/XMODEM */
function checksumOf(bytes: Uint8Array): number {
  let checksum = 0;
  for (const byte of bytes) {
    checksum ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) {
      checksum = checksum & 0x8000 ? (checksum << 1) ^ 0x1021 : checksum << 1;
    }
  }
  return checksum & 0xffff;
}

export function slotOf(key: string): number {
  return checksumOf(Buffer.from(hashTagOf(key))) % SLOT_COUNT;
}

export function shardOfKey(key: string, shardCount: number): number {
  return Math.floor((slotOf(key) * shardCount) / SLOT_COUNT);
}
