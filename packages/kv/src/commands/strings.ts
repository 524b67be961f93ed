/** Commands that read and change parts of strings, and numbers in strings. */
import { type ByteString, errorReply } from '@raftseal/interface';
import {
  INT64_MAX,
  INT64_MIN,
  integerReply,
  parseInt64,
  parseInteger,
  parsePosition,
} from '../integer.ts';
import { NO_EXPIRY } from '../key-entry.ts';
import type { Keyspace } from '../keyspace.ts';
import { addLongDouble, formatLongDouble, parseLongDouble } from '../long-double.ts';
import {
  incrementNotFinite,
  incrementOverflow,
  notAFloat,
  notAnInteger,
  offsetOutOfRange,
  stringTooLong,
  wrongType,
} from '../replies.ts';
import { at, type Handler, STRING_BYTES_MAX, stringAt } from './handler.ts';

/** Stores a new value of a string; the key keeps its time to live. */
export function putString(keyspace: Keyspace, key: ByteString, value: ByteString): void {
  const entry = keyspace.find(key);
  if (entry === undefined) keyspace.set(key, value, NO_EXPIRY);
  else keyspace.replace(entry, value);
}

const get: Handler = (keyspace, args) => {
  const value = keyspace.find(at(args, 1))?.value;
  if (value === undefined) return null;
  return typeof value === 'string' ? value : wrongType;
};

const mget: Handler = (keyspace, args) =>
  args.slice(1).map((key) => stringAt(keyspace, key) ?? null);

const append: Handler = (keyspace, args) => {
  const key = at(args, 1);
  const old = stringAt(keyspace, key);
  if (old === null) return wrongType;
  const length = (old ?? '').length + at(args, 2).length;
  if (length > STRING_BYTES_MAX) return stringTooLong;
  putString(keyspace, key, (old ?? '') + at(args, 2));
  return length;
};

const strlen: Handler = (keyspace, args) => {
  const value = stringAt(keyspace, at(args, 1));
  return value === null ? wrongType : (value ?? '').length;
};

/** Whether both positions are from the end, and the wrong way round. */
export function isReversed(start: number, end: number): boolean {
  return start < 0 && end < 0 && start > end;
}

/** Positions, negative ones from the end, within a length; undefined where none is left. */
export function clampRange(
  start: number,
  end: number,
  length: number,
): { first: number; last: number } | undefined {
  const first = Math.max(0, start < 0 ? length + start : start);
  const last = Math.min(length - 1, Math.max(0, end < 0 ? length + end : end));
  return first > last || length === 0 ? undefined : { first, last };
}

const getrange: Handler = (keyspace, args) => {
  const start = parsePosition(at(args, 2));
  const end = parsePosition(at(args, 3));
  if (start === undefined || end === undefined) return notAnInteger;
  const value = stringAt(keyspace, at(args, 1));
  if (value === null) return wrongType;
  const range = clampRange(start, end, (value ?? '').length);
  return range === undefined || isReversed(start, end)
    ? ''
    : (value ?? '').slice(range.first, range.last + 1);
};

const setrange: Handler = (keyspace, args) => {
  const key = at(args, 1);
  const patch = at(args, 3);
  const offset = parsePosition(at(args, 2));
  if (offset === undefined) return notAnInteger;
  if (offset < 0) return offsetOutOfRange;
  const old = stringAt(keyspace, key);
  if (old === null) return wrongType;
  const before = old ?? '';
  if (patch === '') return before.length;
  if (offset + patch.length > STRING_BYTES_MAX) return stringTooLong;
  // One flat copy: a string put together from slices would keep every old value alive.
  const bytes = Buffer.alloc(Math.max(before.length, offset + patch.length));
  bytes.write(before, 0, 'latin1');
  bytes.write(patch, offset, 'latin1');
  putString(keyspace, key, bytes.toString('latin1'));
  return bytes.length;
};

/** Adds to the integer of a key: safe numbers first, 64 bits where they do not suffice. */
function increment(keyspace: Keyspace, key: ByteString, by: number | bigint): ReturnType<Handler> {
  const entry = keyspace.find(key);
  const text = entry === undefined ? '0' : entry.value;
  if (typeof text !== 'string') return wrongType;
  const old = parseInteger(text);
  if (old === undefined) return notAnInteger;
  let sum: number | bigint;
  if (typeof old === 'number' && typeof by === 'number') {
    sum = old + by;
  } else {
    sum = BigInt(old) + BigInt(by);
    if (sum > INT64_MAX || sum < INT64_MIN) return incrementOverflow;
  }
  if (entry === undefined) keyspace.set(key, sum.toString(), NO_EXPIRY);
  else keyspace.replace(entry, sum.toString());
  return integerReply(sum);
}

const incrby: Handler = (keyspace, args) => {
  const by = parseInteger(at(args, 2));
  return by === undefined ? notAnInteger : increment(keyspace, at(args, 1), by);
};

const decrby: Handler = (keyspace, args) => {
  const by = parseInt64(at(args, 2));
  if (by === undefined) return notAnInteger;
  if (by === INT64_MIN) return errorReply('ERR decrement would overflow');
  return increment(keyspace, at(args, 1), -by);
};

const incrbyfloat: Handler = (keyspace, args) => {
  const key = at(args, 1);
  const text = stringAt(keyspace, key);
  if (text === null) return wrongType;
  const old = parseLongDouble(text ?? '0');
  const by = parseLongDouble(at(args, 2));
  if (old === undefined || by === undefined) return notAFloat;
  const sum = old === 'infinite' || by === 'infinite' ? undefined : addLongDouble(old, by);
  if (sum === undefined) return incrementNotFinite;
  const value = formatLongDouble(sum);
  putString(keyspace, key, value);
  return value;
};

export const stringHandlers: Readonly<Record<string, Handler>> = {
  get,
  mget,
  append,
  strlen,
  getrange,
  substr: getrange,
  setrange,
  incr: (keyspace, args) => increment(keyspace, at(args, 1), 1),
  decr: (keyspace, args) => increment(keyspace, at(args, 1), -1),
  incrby,
  decrby,
  incrbyfloat,
};
