/**
 * Floating point as INCRBYFLOAT of Redis does it on x86-64: 80-bit extended precision (64-bit
 * significand), text by `strtold`, result by `%.17Lf` without trailing zeros. JavaScript has no
 * such type, so a value is an exact dyadic number, `significand * 2 ** exponent`, rounded to
 * nearest-even after each operation: the digits are the same.
 *
 * Limits: exponents beyond those of the type overflow to an error and underflow to 0; a
 * decimal exponent above 6,000 in absolute value is taken for one of them without computing it.
 */
import type { ByteString } from '@raftseal/interface';

const SIGNIFICAND_BITS = 64;
const EXPONENT_MAX = 16_384;
const EXPONENT_MIN = -16_445;
const DECIMAL_EXPONENT_MAX = 6_000;
const TEXT_LENGTH_MAX = 5 * 1024;
const FRACTION_DIGITS = 17;

export interface LongDouble {
  /** Signed; at most 64 bits. */
  readonly significand: bigint;
  readonly exponent: number;
}

const zero: LongDouble = { significand: 0n, exponent: 0 };
const pattern =
  /^[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?)$/;
const infinity = /^[+-]?(?:inf|infinity)$/i;

function bitLength(value: bigint): number {
  return value === 0n ? 0 : value.toString(2).length;
}

/** `numerator / denominator * 2 ** exponent`, rounded half to even; undefined on overflow. */
function rounded(
  negative: boolean,
  numerator: bigint,
  denominator: bigint,
  exponent: number,
): LongDouble | undefined {
  if (numerator === 0n) return zero;
  // Two bits more than the significand, and a sticky bit for what is below them.
  let shift = SIGNIFICAND_BITS + 2 - (bitLength(numerator) - bitLength(denominator));
  if (exponent - shift < EXPONENT_MIN - 2) shift = exponent - (EXPONENT_MIN - 2);
  const top = shift > 0 ? numerator << BigInt(shift) : numerator;
  const bottom = shift < 0 ? denominator << BigInt(-shift) : denominator;
  let quotient = top / bottom;
  const sticky = top % bottom !== 0n;
  const subnormal = exponent - shift === EXPONENT_MIN - 2;
  const extra = subnormal ? 2 : bitLength(quotient) - SIGNIFICAND_BITS;
  const unit = 1n << BigInt(extra);
  const rest = quotient & (unit - 1n);
  const half = unit >> 1n;
  quotient >>= BigInt(extra);
  if (rest > half || (rest === half && (sticky || (quotient & 1n) === 1n))) quotient++;
  const scale = exponent - shift + extra;
  if (bitLength(quotient) + scale > EXPONENT_MAX) return undefined;
  return { significand: negative ? -quotient : quotient, exponent: scale };
}

function parseHex(negative: boolean, text: string): LongDouble | undefined {
  const [mantissa = '', power = '0'] = text.slice(2).toLowerCase().split('p');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const exponent = Number(power) - 4 * fraction.length;
  if (Math.abs(exponent) > 4 * TEXT_LENGTH_MAX + EXPONENT_MAX) return undefined;
  return rounded(negative, BigInt(`0x${whole}${fraction}`), 1n, exponent);
}

/** The number that the text is; undefined where it is none or too large. */
export function parseLongDouble(text: ByteString): LongDouble | 'infinite' | undefined {
  if (text.length === 0 || text.length >= TEXT_LENGTH_MAX) return undefined;
  if (infinity.test(text)) return 'infinite';
  if (!pattern.test(text)) return undefined;
  const negative = text.startsWith('-');
  const magnitude = negative || text.startsWith('+') ? text.slice(1) : text;
  if (/^0x/i.test(magnitude)) return parseHex(negative, magnitude);
  const [mantissa = '', power = '0'] = magnitude.toLowerCase().split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const digits = BigInt(whole + fraction);
  const exponent = Number(power) - fraction.length;
  if (digits === 0n) return zero;
  if (Math.abs(exponent) > DECIMAL_EXPONENT_MAX) return undefined;
  const scale = 10n ** BigInt(Math.abs(exponent));
  const value = rounded(
    negative,
    exponent > 0 ? digits * scale : digits,
    exponent < 0 ? scale : 1n,
    0,
  );
  // strtold reports a result of 0 for digits that are not 0 as a range error.
  return value?.significand === 0n ? undefined : value;
}

/** The sum, rounded; undefined where it is too large for the type. */
export function addLongDouble(left: LongDouble, right: LongDouble): LongDouble | undefined {
  const exponent = Math.min(left.exponent, right.exponent);
  const sum =
    (left.significand << BigInt(left.exponent - exponent)) +
    (right.significand << BigInt(right.exponent - exponent));
  return rounded(sum < 0n, sum < 0n ? -sum : sum, 1n, exponent);
}

/** As `%.17Lf`, trailing zeros and a trailing point removed, `-0` as `0`. */
export function formatLongDouble({ significand, exponent }: LongDouble): ByteString {
  const negative = significand < 0n;
  const magnitude = negative ? -significand : significand;
  const scaled = magnitude * 10n ** BigInt(FRACTION_DIGITS);
  let units: bigint;
  if (exponent >= 0) {
    units = scaled << BigInt(exponent);
  } else {
    const unit = 1n << BigInt(-exponent);
    const rest = scaled & (unit - 1n);
    units = scaled >> BigInt(-exponent);
    const half = unit >> 1n;
    if (rest > half || (rest === half && (units & 1n) === 1n)) units++;
  }
  const text = units.toString().padStart(FRACTION_DIGITS + 1, '0');
  const whole = text.slice(0, -FRACTION_DIGITS);
  const fraction = text.slice(-FRACTION_DIGITS).replace(/0+$/, '');
  const number = fraction === '' ? whole : `${whole}.${fraction}`;
  return negative && number !== '0' ? `-${number}` : number;
}
