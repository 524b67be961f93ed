/**
 * CRC-32C, the checksum that Cloud KMS takes and gives (Castagnoli polynomial, RFC 3720 appendix
 * B.4). It finds bytes that were changed by accident on the way through proxies and memory; against
 * intent stands TLS.
 */

const table: Uint32Array = new Uint32Array(256).map((_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0);
  return crc;
});

/** A u32. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] ?? 0);
  return (crc ^ 0xffff_ffff) >>> 0;
}
