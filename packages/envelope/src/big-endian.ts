/**
 * Big-endian integers in byte arrays. Values are unsigned: JavaScript's shift operators are signed,
 * so each read ends in `>>> 0`, or an id from 2^31 up would come out negative.
 */

const U64_MAX = (1n << 64n) - 1n;

export function isU16(value: number): boolean {
  return (value & 0xffff) === value;
}

export function isU32(value: number): boolean {
  return value >>> 0 === value;
}

export function isU64(value: bigint): boolean {
  return value >= 0n && value <= U64_MAX;
}

export function writeU16(target: Uint8Array, offset: number, value: number): void {
  target[offset] = value >>> 8;
  target[offset + 1] = value;
}

export function writeU32(target: Uint8Array, offset: number, value: number): void {
  target[offset] = value >>> 24;
  target[offset + 1] = value >>> 16;
  target[offset + 2] = value >>> 8;
  target[offset + 3] = value;
}

/** Bytes past the end read as 0; callers check lengths first. */
export function readU16(source: Uint8Array, offset: number): number {
  return ((source[offset] ?? 0) << 8) | (source[offset + 1] ?? 0);
}

/** Bytes past the end read as 0; callers check lengths first. */
export function readU32(source: Uint8Array, offset: number): number {
  return ((readU16(source, offset) << 16) | readU16(source, offset + 2)) >>> 0;
}
