/** Integers in byte strings, as Redis takes them (`string2ll`): no sign +, spaces or leading 0. */
import type { ByteString } from '@raftseal/interface';

export const INT64_MIN: bigint = -(2n ** 63n);
export const INT64_MAX: bigint = 2n ** 63n - 1n;
/** Longest text of an integer that is safe as a number, whatever its digits. */
const SAFE_LENGTH_MAX = 15;
const INT64_LENGTH_MAX = 20;

/** Whether the text is a canonical decimal integer of any size. */
function isCanonical(text: ByteString): boolean {
  const negative = text.charCodeAt(0) === 45;
  const first = negative ? 1 : 0;
  const length = text.length;
  if (length === first) return false;
  const lead = text.charCodeAt(first);
  if (lead === 48) return length === 1;
  for (let i = first; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code < 48 || code > 57) return false;
  }
  return true;
}

/**
 * A signed 64-bit integer, as a number where it is safe, else as a bigint; undefined where the text
 * is not one.
 */
export function parseInteger(text: ByteString): number | bigint | undefined {
  if (text.length > INT64_LENGTH_MAX || !isCanonical(text)) return undefined;
  if (text.length <= SAFE_LENGTH_MAX) return Number(text);
  const value = BigInt(text);
  return value < INT64_MIN || value > INT64_MAX ? undefined : value;
}

/** An integer as a reply has it: a number where it is safe. */
export function integerReply(value: number | bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** As {@link parseInteger}, always as a bigint. */
export function parseInt64(text: ByteString): bigint | undefined {
  const value = parseInteger(text);
  return value === undefined ? undefined : BigInt(value);
}

/**
 * As {@link parseInteger}, for positions and counts: beyond the safe integers it is rounded, which
 * is as far away as any string is long.
 */
export function parsePosition(text: ByteString): number | undefined {
  const value = parseInteger(text);
  return value === undefined ? undefined : Number(value);
}
