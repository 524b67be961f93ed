/** HSCAN and HRANDFIELD: parts of a hash in another order than its own. */
import { type ByteString, errorReply, type Reply } from '@raftseal/interface';
import { matchesGlob } from '../glob.ts';
import type { HashValue } from '../hash-value.ts';
import { parsePosition } from '../integer.ts';
import type { Keyspace } from '../keyspace.ts';
import { notAnInteger, outOfRange, syntaxError, wrongType } from '../replies.ts';
import { type Arguments, at, type Handler, hashEntryAt } from './handler.ts';

const COUNT_DEFAULT = 10;
/** Fields that one HRANDFIELD with repetitions answers at most: each takes memory. */
const RANDOM_COUNT_MAX = 2 ** 22;
const CURSOR_MAX = 2n ** 64n - 1n;
/** Hashes up to this size are scanned in one page, in their own order. */
const ONE_PAGE_FIELDS_MAX = 128;

export interface ScanArguments {
  readonly count: number;
  readonly match: ByteString | undefined;
  readonly type: string | undefined;
}

/**
 * The options of SCAN and HSCAN from position `start` on.
 * @param allowType whether TYPE is one of them.
 */
export function parseScanArguments(
  args: Arguments,
  start: number,
  allowType: boolean,
): ScanArguments | { refused: Reply } {
  let count = COUNT_DEFAULT;
  let match: ByteString | undefined;
  let type: string | undefined;
  for (let i = start; i < args.length; i += 2) {
    const word = at(args, i).toUpperCase();
    const value = args[i + 1];
    if (value === undefined) return { refused: syntaxError };
    if (word === 'COUNT') {
      const parsed = parsePosition(value);
      if (parsed === undefined) return { refused: notAnInteger };
      if (parsed < 1) return { refused: syntaxError };
      count = parsed;
    } else if (word === 'MATCH') {
      match = value;
    } else if (word === 'TYPE' && allowType) {
      type = value.toLowerCase();
    } else {
      return { refused: syntaxError };
    }
  }
  return { count, match, type };
}

/** A cursor as a client sends it; undefined where it is none. */
export function parseCursor(text: ByteString): bigint | undefined {
  if (!/^[0-9]{1,20}$/.test(text)) return undefined;
  const cursor = BigInt(text);
  return cursor > CURSOR_MAX ? undefined : cursor;
}

const hscan: Handler = (keyspace, args) => {
  const cursor = parseCursor(at(args, 2));
  if (cursor === undefined) return errorReply('ERR invalid cursor');
  const entry = hashEntryAt(keyspace, at(args, 1));
  if (entry === undefined) return ['0', []];
  if (entry === null) return wrongType;
  const options = parseScanArguments(args, 3, false);
  if ('refused' in options) return options.refused;
  const whole = entry.value.size <= ONE_PAGE_FIELDS_MAX;
  const page = whole
    ? { cursor: 0n, fields: [...entry.value.keys()] }
    : entry.value.scan(cursor, options.count);
  const items: ByteString[] = [];
  for (const field of page.fields) {
    if (options.match !== undefined && !matchesGlob(options.match, field)) continue;
    items.push(field, entry.value.get(field) ?? '');
  }
  return [page.cursor.toString(), items];
};

/** `count` different fields (all where there are fewer), in no order. */
function sample(hash: HashValue, count: number, random: () => number): ByteString[] {
  const fields = [...hash.keys()];
  const wanted = Math.min(count, fields.length);
  for (let i = 0; i < wanted; i++) {
    const other = i + Math.floor(random() * (fields.length - i));
    const field = fields[other] ?? '';
    fields[other] = fields[i] ?? '';
    fields[i] = field;
  }
  return fields.slice(0, wanted);
}

function pick(hash: HashValue, count: number, random: () => number): ByteString[] {
  if (count >= 0) return count < hash.size ? sample(hash, count, random) : [...hash.keys()];
  const fields = [...hash.keys()];
  return Array.from({ length: -count }, () => fields[Math.floor(random() * fields.length)] ?? '');
}

function pickOne(hash: HashValue, random: () => number): ByteString | null {
  let left = Math.floor(random() * hash.size);
  for (const field of hash.keys()) if (left-- === 0) return field;
  return null;
}

function randomFields(keyspace: Keyspace, args: Arguments): Reply {
  const count = parsePosition(at(args, 2));
  if (count === undefined) return notAnInteger;
  if (args.length > 4 || (args.length === 4 && at(args, 3).toLowerCase() !== 'withvalues')) {
    return syntaxError;
  }
  if (count < -RANDOM_COUNT_MAX) return outOfRange;
  const entry = hashEntryAt(keyspace, at(args, 1));
  if (entry === null) return wrongType;
  if (entry === undefined) return [];
  const { value: hash } = entry;
  const fields = pick(hash, count, keyspace.random);
  if (args.length === 3) return fields;
  return { kind: 'pairs', entries: fields.map((field) => [field, hash.get(field) ?? '']) };
}

const hrandfield: Handler = (keyspace, args) => {
  if (args.length > 2) return randomFields(keyspace, args);
  const entry = hashEntryAt(keyspace, at(args, 1));
  if (entry === null) return wrongType;
  if (entry === undefined) return null;
  return pickOne(entry.value, keyspace.random);
};

export const hashWalkHandlers: Readonly<Record<string, Handler>> = { hscan, hrandfield };
