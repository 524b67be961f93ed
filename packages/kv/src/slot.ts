/**
 * Slots of the key space, as Redis Cluster assigns them: CRC-16/XMODEM of the key, or of its hash
 * tag, modulo 16384 (Redis Cluster specification, "Key distribution model").
 */
import type { ByteString } from '@raftseal/interface';

export const SLOT_COUNT = 16_384;

/** CRC-16/XMODEM: polynomial 0x1021, initial value 0, not reflected. */
const crcTable: Uint16Array = (() => {
  const table = new Uint16Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) !== 0 ? (crc << 1) ^ 0x1021 : crc << 1;
    table[byte] = crc & 0xffff;
  }
  return table;
})();

function crc16(key: ByteString, start: number, end: number): number {
  let crc = 0;
  for (let i = start; i < end; i++) {
    const entry = crcTable[((crc >> 8) ^ key.charCodeAt(i)) & 0xff] ?? 0;
    crc = ((crc << 8) ^ entry) & 0xffff;
  }
  return crc;
}

/** The slot of a key: 0..16383. Keys with the same `{tag}` share one. */
export function slotOf(key: ByteString): number {
  const open = key.indexOf('{');
  if (open !== -1) {
    const close = key.indexOf('}', open + 1);
    if (close > open + 1) return crc16(key, open + 1, close) % SLOT_COUNT;
  }
  return crc16(key, 0, key.length) % SLOT_COUNT;
}
