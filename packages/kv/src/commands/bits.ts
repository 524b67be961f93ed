/** Bits of strings; bit 0 is the highest bit of the first byte. */
import { type ByteString, errorReply } from '@raftseal/interface';
import { parsePosition } from '../integer.ts';
import { notAnInteger, syntaxError, wrongType } from '../replies.ts';
import { type Arguments, at, type Handler, STRING_BYTES_MAX, stringAt } from './handler.ts';
import { clampRange, isReversed, putString } from './strings.ts';

const bitOffsetRefused = errorReply('ERR bit offset is not an integer or out of range');
const bitValueRefused = errorReply('ERR bit is not an integer or out of range');
const bitPositionRefused = errorReply('ERR The bit argument must be 1 or 0.');

const ones: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => {
  let count = 0;
  for (let rest = byte; rest !== 0; rest >>= 1) count += rest & 1;
  return count;
});

function parseBitOffset(text: ByteString): number | undefined {
  const offset = parsePosition(text);
  if (offset === undefined || offset < 0) return undefined;
  return Math.floor(offset / 8) < STRING_BYTES_MAX ? offset : undefined;
}

function bitAt(text: ByteString, offset: number): 0 | 1 {
  const index = Math.floor(offset / 8);
  if (index >= text.length) return 0;
  return (text.charCodeAt(index) & (0x80 >> (offset % 8))) === 0 ? 0 : 1;
}

const setbit: Handler = (keyspace, args) => {
  const key = at(args, 1);
  const offset = parseBitOffset(at(args, 2));
  if (offset === undefined) return bitOffsetRefused;
  const bit = at(args, 3);
  if (bit !== '0' && bit !== '1') return bitValueRefused;
  const value = stringAt(keyspace, key);
  if (value === null) return wrongType;
  const old = value ?? '';
  const before = bitAt(old, offset);
  const index = Math.floor(offset / 8);
  const bytes = Buffer.alloc(Math.max(old.length, index + 1));
  bytes.write(old, 0, 'latin1');
  const mask = 0x80 >> (offset % 8);
  const byte = bytes[index] ?? 0;
  bytes[index] = bit === '1' ? byte | mask : byte & ~mask;
  putString(keyspace, key, bytes.toString('latin1'));
  return before;
};

const getbit: Handler = (keyspace, args) => {
  const offset = parseBitOffset(at(args, 2));
  if (offset === undefined) return bitOffsetRefused;
  const value = stringAt(keyspace, at(args, 1));
  return value === null ? wrongType : bitAt(value ?? '', offset);
};

/** Bits `first..last` of the string, counted. */
function countBits(text: ByteString, first: number, last: number): number {
  const firstByte = Math.floor(first / 8);
  const lastByte = Math.floor(last / 8);
  let count = 0;
  for (let i = firstByte; i <= lastByte; i++) {
    let byte = text.charCodeAt(i);
    if (i === firstByte) byte &= 0xff >> (first % 8);
    if (i === lastByte) byte &= (0xff << (7 - (last % 8))) & 0xff;
    count += ones[byte] ?? 0;
  }
  return count;
}

/** `start end [BYTE | BIT]` from position `from` on, as bits; a string for what is refused. */
function bitRange(
  args: Arguments,
  from: number,
  length: number,
): { first: number; last: number } | undefined | 'syntax' | 'integer' {
  const start = parsePosition(at(args, from));
  const end = from + 1 < args.length ? parsePosition(at(args, from + 1)) : -1;
  if (start === undefined || end === undefined) return 'integer';
  const unit = from + 2 < args.length ? at(args, from + 2).toUpperCase() : 'BYTE';
  if (unit !== 'BYTE' && unit !== 'BIT') return 'syntax';
  if (unit === 'BIT') return clampRange(start, end, length * 8);
  const range = clampRange(start, end, length);
  return range === undefined ? undefined : { first: range.first * 8, last: range.last * 8 + 7 };
}

const bitcount: Handler = (keyspace, args) => {
  const value = stringAt(keyspace, at(args, 1));
  if (args.length === 3 || args.length > 5) {
    return value === undefined ? 0 : value === null ? wrongType : syntaxError;
  }
  if (value === undefined) return 0;
  if (value === null) return wrongType;
  if (args.length === 2) return value === '' ? 0 : countBits(value, 0, value.length * 8 - 1);
  const range = bitRange(args, 2, value.length);
  if (range === 'integer') return notAnInteger;
  if (isReversed(Number(at(args, 2)), Number(at(args, 3)))) return 0;
  if (range === 'syntax') return syntaxError;
  return range === undefined ? 0 : countBits(value, range.first, range.last);
};

function findBit(text: ByteString, bit: 0 | 1, first: number, last: number): number {
  const none = bit === 1 ? 0 : 0xff;
  for (let offset = first; offset <= last; offset++) {
    while (offset % 8 === 0 && offset + 7 <= last && text.charCodeAt(offset / 8) === none) {
      offset += 8;
    }
    if (offset <= last && bitAt(text, offset) === bit) return offset;
  }
  return -1;
}

const bitpos: Handler = (keyspace, args) => {
  const wanted = parsePosition(at(args, 2));
  if (wanted === undefined) return notAnInteger;
  if (wanted !== 0 && wanted !== 1) return bitPositionRefused;
  const value = stringAt(keyspace, at(args, 1));
  if (value === undefined) return wanted === 1 ? -1 : 0;
  if (value === null) return wrongType;
  if (args.length > 6) return syntaxError;
  const range =
    args.length === 3 ? clampRange(0, -1, value.length * 8) : bitRange(args, 3, value.length);
  if (range === 'integer') return notAnInteger;
  if (range === 'syntax') return syntaxError;
  if (range === undefined) return -1;
  const found = findBit(value, wanted, range.first, range.last);
  // Without an end, a string counts as followed by zeros.
  if (found === -1 && wanted === 0 && args.length < 5) return value.length * 8;
  return found;
};

export const bitHandlers: Readonly<Record<string, Handler>> = {
  setbit,
  getbit,
  bitcount,
  bitpos,
};
