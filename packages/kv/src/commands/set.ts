/** SET and its kin, and the options they share with GETEX. */
import { type ByteString, okReply, type Reply } from '@raftseal/interface';
import { INT64_MAX, parseInt64 } from '../integer.ts';
import { NO_EXPIRY } from '../key-entry.ts';
import type { Keyspace } from '../keyspace.ts';
import { invalidExpireTime, notAnInteger, syntaxError, wrongType } from '../replies.ts';
import { type Arguments, at, type Handler, stringAt } from './handler.ts';

type ExpireUnit = 'EX' | 'PX' | 'EXAT' | 'PXAT';

interface SetOptions {
  condition: 'NX' | 'XX' | undefined;
  get: boolean;
  keepTtl: boolean;
  persist: boolean;
  unit: ExpireUnit | undefined;
  time: ByteString;
}

/** Options from position `start` on; undefined for a syntax error. */
function parseOptions(
  args: Arguments,
  start: number,
  command: 'set' | 'getex',
): SetOptions | undefined {
  const options: SetOptions = {
    condition: undefined,
    get: false,
    keepTtl: false,
    persist: false,
    unit: undefined,
    time: '',
  };
  const isSet = command === 'set';
  for (let i = start; i < args.length; i++) {
    const word = at(args, i).toUpperCase();
    const { unit, keepTtl, persist, condition } = options;
    if (isSet && (word === 'NX' || word === 'XX')) {
      if (condition !== undefined && condition !== word) return undefined;
      options.condition = word;
    } else if (isSet && word === 'GET') {
      options.get = true;
    } else if (isSet && word === 'KEEPTTL' && unit === undefined) {
      options.keepTtl = true;
    } else if (!isSet && word === 'PERSIST' && unit === undefined) {
      options.persist = true;
    } else if (word === 'EX' || word === 'PX' || word === 'EXAT' || word === 'PXAT') {
      const conflict = keepTtl || persist || (unit !== undefined && unit !== word);
      if (conflict || i + 1 >= args.length) return undefined;
      options.unit = word;
      options.time = at(args, ++i);
    } else {
      return undefined;
    }
  }
  return options;
}

/** A time as an absolute one in ms; a reply where it is refused. */
function expireTime(
  nowMs: number,
  { unit, time }: { unit: ExpireUnit; time: ByteString },
  command: string,
): number | { refused: Reply } {
  const value = parseInt64(time);
  if (value === undefined) return { refused: notAnInteger };
  const seconds = unit === 'EX' || unit === 'EXAT';
  const base = unit === 'EX' || unit === 'PX' ? BigInt(nowMs) : 0n;
  if (value <= 0n || (seconds && value > INT64_MAX / 1000n)) {
    return { refused: invalidExpireTime(command) };
  }
  const ms = seconds ? value * 1000n : value;
  if (ms > INT64_MAX - base) return { refused: invalidExpireTime(command) };
  return Number(ms + base);
}

const set: Handler = (keyspace, args) => {
  const key = at(args, 1);
  if (args.length === 3) {
    keyspace.set(key, at(args, 2), NO_EXPIRY);
    return okReply;
  }
  const options = parseOptions(args, 3, 'set');
  if (options === undefined) return syntaxError;
  const { unit, condition, get } = options;
  let expireAtMs = NO_EXPIRY;
  if (unit !== undefined) {
    const time = expireTime(keyspace.nowMs, { unit, time: options.time }, 'set');
    if (typeof time !== 'number') return time.refused;
    expireAtMs = time;
  }
  const looks = get || condition !== undefined || options.keepTtl;
  const entry = looks ? keyspace.find(key) : undefined;
  const before = entry?.value;
  if (get && before !== undefined && typeof before !== 'string') return wrongType;
  const old = get && typeof before === 'string' ? before : null;
  const refused = condition === 'NX' ? entry !== undefined : entry === undefined;
  if (condition !== undefined && refused) return old;
  if (options.keepTtl && entry !== undefined) expireAtMs = entry.expireAtMs;
  keyspace.set(key, at(args, 2), expireAtMs);
  return get ? old : okReply;
};

const setnx: Handler = (keyspace, args) => {
  const key = at(args, 1);
  if (keyspace.find(key) !== undefined) return 0;
  keyspace.set(key, at(args, 2), NO_EXPIRY);
  return 1;
};

function setWithTime(unit: 'EX' | 'PX', command: string): Handler {
  return (keyspace, args) => {
    const time = expireTime(keyspace.nowMs, { unit, time: at(args, 2) }, command);
    if (typeof time !== 'number') return time.refused;
    keyspace.set(at(args, 1), at(args, 3), time);
    return okReply;
  };
}

const getset: Handler = (keyspace, args) => {
  const key = at(args, 1);
  const old = stringAt(keyspace, key);
  if (old === null) return wrongType;
  keyspace.set(key, at(args, 2), NO_EXPIRY);
  return old ?? null;
};

const getdel: Handler = (keyspace, args) => {
  const entry = keyspace.find(at(args, 1));
  if (entry === undefined) return null;
  const { value } = entry;
  if (typeof value !== 'string') return wrongType;
  keyspace.remove(entry);
  return value;
};

const getex: Handler = (keyspace, args) => {
  const options = parseOptions(args, 2, 'getex');
  if (options === undefined) return syntaxError;
  const entry = keyspace.find(at(args, 1));
  if (entry === undefined) return null;
  const { value } = entry;
  if (typeof value !== 'string') return wrongType;
  const { unit, time } = options;
  if (unit === undefined) {
    if (options.persist && entry.expireAtMs !== NO_EXPIRY) keyspace.setExpiry(entry, NO_EXPIRY);
    return value;
  }
  const expireAtMs = expireTime(keyspace.nowMs, { unit, time }, 'getex');
  if (typeof expireAtMs !== 'number') return expireAtMs.refused;
  if (expireAtMs <= keyspace.nowMs) keyspace.remove(entry);
  else keyspace.setExpiry(entry, expireAtMs);
  return value;
};

function setPairs(keyspace: Keyspace, args: Arguments): void {
  for (let i = 1; i < args.length; i += 2) keyspace.set(at(args, i), at(args, i + 1), NO_EXPIRY);
}

export const setHandlers: Readonly<Record<string, Handler>> = {
  set,
  setnx,
  setex: setWithTime('EX', 'setex'),
  psetex: setWithTime('PX', 'psetex'),
  getset,
  getdel,
  getex,
  mset: (keyspace, args) => {
    if (args.length % 2 === 0) return wrongPairs('mset');
    setPairs(keyspace, args);
    return okReply;
  },
  msetnx: (keyspace, args) => {
    if (args.length % 2 === 0) return wrongPairs('msetnx');
    for (let i = 1; i < args.length; i += 2) {
      if (keyspace.find(at(args, i)) !== undefined) return 0;
    }
    setPairs(keyspace, args);
    return 1;
  },
};

function wrongPairs(command: string): Reply {
  return { kind: 'error', text: `ERR wrong number of arguments for '${command}' command` };
}
