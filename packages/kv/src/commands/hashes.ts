/** Hashes: reading and setting fields. */
import { type ByteString, errorReply, okReply, type Reply } from '@raftseal/interface';
import { HashValue } from '../hash-value.ts';
import { INT64_MAX, INT64_MIN, integerReply, parseInt64 } from '../integer.ts';
import { NO_EXPIRY } from '../key-entry.ts';
import type { Keyspace } from '../keyspace.ts';
import { addLongDouble, formatLongDouble, parseLongDouble } from '../long-double.ts';
import {
  incrementNotFinite,
  incrementOverflow,
  notAFloat,
  notAnInteger,
  wrongArguments,
  wrongType,
} from '../replies.ts';
import { at, type Handler, hashEntryAt } from './handler.ts';

/** Changes the hash of a key, which is made if it is absent. Its type was checked. */
function edit<Result>(
  keyspace: Keyspace,
  key: ByteString,
  change: (hash: HashValue) => Result,
): Result {
  const entry = hashEntryAt(keyspace, key) ?? undefined;
  if (entry === undefined) {
    const hash = new HashValue();
    const result = change(hash);
    keyspace.set(key, hash, NO_EXPIRY);
    return result;
  }
  keyspace.touch(entry);
  const result = change(entry.value);
  keyspace.resized(entry);
  return result;
}

/** A command that reads the hash of its key; `absent` is its answer where there is none. */
function reading(
  absent: (args: readonly ByteString[]) => Reply,
  read: (hash: HashValue, args: readonly ByteString[]) => Reply,
): Handler {
  return (keyspace, args) => {
    const entry = hashEntryAt(keyspace, at(args, 1));
    if (entry === null) return wrongType;
    return entry === undefined ? absent(args) : read(entry.value, args);
  };
}

/** Sets pairs; how many fields are new. */
function setFields(hash: HashValue, args: readonly ByteString[]): number {
  let added = 0;
  for (let i = 2; i < args.length; i += 2) if (hash.set(at(args, i), at(args, i + 1))) added++;
  return added;
}

function hset(command: string, answer: (added: number) => Reply): Handler {
  return (keyspace, args) => {
    if (args.length % 2 !== 0) return wrongArguments(command);
    const key = at(args, 1);
    if (hashEntryAt(keyspace, key) === null) return wrongType;
    return answer(edit(keyspace, key, (hash) => setFields(hash, args)));
  };
}

const hsetnx: Handler = (keyspace, args) => {
  const key = at(args, 1);
  const entry = hashEntryAt(keyspace, key);
  if (entry === null) return wrongType;
  if (entry?.value.has(at(args, 2))) return 0;
  edit(keyspace, key, (hash) => hash.set(at(args, 2), at(args, 3)));
  return 1;
};

const hdel: Handler = (keyspace, args) => {
  const entry = hashEntryAt(keyspace, at(args, 1));
  if (entry === null) return wrongType;
  const fields = args.slice(2).filter((field) => entry?.value.has(field));
  if (entry === undefined || fields.length === 0) return 0;
  const distinct = new Set(fields);
  if (distinct.size === entry.value.size) {
    keyspace.remove(entry);
  } else {
    keyspace.touch(entry);
    for (const field of distinct) entry.value.delete(field);
    keyspace.resized(entry);
  }
  return distinct.size;
};

const hincrby: Handler = (keyspace, args) => {
  const key = at(args, 1);
  const field = at(args, 2);
  const by = parseInt64(at(args, 3));
  if (by === undefined) return notAnInteger;
  const entry = hashEntryAt(keyspace, key);
  if (entry === null) return wrongType;
  const old = parseInt64(entry?.value.get(field) ?? '0');
  if (old === undefined) return errorReply('ERR hash value is not an integer');
  const sum = old + by;
  if (sum > INT64_MAX || sum < INT64_MIN) return incrementOverflow;
  edit(keyspace, key, (hash) => hash.set(field, sum.toString()));
  return integerReply(sum);
};

const hincrbyfloat: Handler = (keyspace, args) => {
  const key = at(args, 1);
  const field = at(args, 2);
  const by = parseLongDouble(at(args, 3));
  if (by === undefined) return notAFloat;
  if (by === 'infinite') return errorReply('ERR value is NaN or Infinity');
  const entry = hashEntryAt(keyspace, key);
  if (entry === null) return wrongType;
  const old = parseLongDouble(entry?.value.get(field) ?? '0');
  if (old === undefined) return errorReply('ERR hash value is not a float');
  const sum = old === 'infinite' ? undefined : addLongDouble(old, by);
  if (sum === undefined) return incrementNotFinite;
  const value = formatLongDouble(sum);
  edit(keyspace, key, (hash) => hash.set(field, value));
  return value;
};

const none = (): Reply => null;
const zero = (): Reply => 0;
const empty = (): Reply => [];

export const hashHandlers: Readonly<Record<string, Handler>> = {
  hset: hset('hset', (added) => added),
  hmset: hset('hmset', () => okReply),
  hsetnx,
  hdel,
  hincrby,
  hincrbyfloat,
  hget: reading(none, (hash, args) => hash.get(at(args, 2)) ?? null),
  hmget: reading(
    (args) => args.slice(2).map(none),
    (hash, args) => args.slice(2).map((field) => hash.get(field) ?? null),
  ),
  hgetall: reading(
    () => ({ kind: 'map', entries: [] }),
    (hash) => ({ kind: 'map', entries: [...hash.entries()] }),
  ),
  hexists: reading(zero, (hash, args) => (hash.has(at(args, 2)) ? 1 : 0)),
  hlen: reading(zero, (hash) => hash.size),
  hkeys: reading(empty, (hash) => [...hash.keys()]),
  hvals: reading(empty, (hash) => [...hash.values()]),
  hstrlen: reading(zero, (hash, args) => (hash.get(at(args, 2)) ?? '').length),
};
