/** Commands about keys whatever their type. */
import { errorReply, okReply, type Reply } from '@raftseal/interface';
import { parseInteger } from '../integer.ts';
import type { Value } from '../key-entry.ts';
import { noSuchKey, notAnInteger, syntaxError, wrongArguments } from '../replies.ts';
import { type Arguments, at, type Handler } from './handler.ts';

const LISTPACK_ENTRIES_MAX = 128;
const LISTPACK_VALUE_BYTES_MAX = 64;
const EMBSTR_BYTES_MAX = 44;

const del: Handler = (keyspace, args) => {
  let deleted = 0;
  for (let i = 1; i < args.length; i++) {
    const entry = keyspace.find(at(args, i));
    if (entry === undefined) continue;
    keyspace.remove(entry);
    deleted++;
  }
  return deleted;
};

const exists: Handler = (keyspace, args) => {
  let found = 0;
  for (let i = 1; i < args.length; i++) {
    if (keyspace.find(at(args, i)) !== undefined) found++;
  }
  return found;
};

export function typeOf(value: Value): 'string' | 'hash' {
  return typeof value === 'string' ? 'string' : 'hash';
}

const type: Handler = (keyspace, args) => {
  const value = keyspace.find(at(args, 1))?.value;
  return { kind: 'simple', text: value === undefined ? 'none' : typeOf(value) };
};

function rename(onlyIfAbsent: boolean): Handler {
  return (keyspace, args) => {
    const source = keyspace.find(at(args, 1));
    if (source === undefined || source.value === undefined) return noSuchKey;
    const done: Reply = onlyIfAbsent ? 1 : okReply;
    const target = at(args, 2);
    if (target === source.key) return onlyIfAbsent ? 0 : okReply;
    if (onlyIfAbsent && keyspace.find(target) !== undefined) return 0;
    const { value, expireAtMs } = source;
    keyspace.remove(source);
    keyspace.set(target, value, expireAtMs);
    return done;
  };
}

/** COPY's options; a reply where they are refused. Every shard has database 0 only. */
function parseCopy(args: Arguments): { replace: boolean } | { refused: Reply } {
  let replace = false;
  for (let i = 3; i < args.length; i++) {
    const word = at(args, i).toUpperCase();
    if (word === 'REPLACE') {
      replace = true;
    } else if (word === 'DB' && i + 1 < args.length) {
      const database = parseInteger(at(args, ++i));
      if (database === undefined) return { refused: notAnInteger };
      if (database !== 0) return { refused: errorReply('ERR DB index is out of range') };
    } else {
      return { refused: syntaxError };
    }
  }
  return { replace };
}

const copy: Handler = (keyspace, args) => {
  const options = parseCopy(args);
  if ('refused' in options) return options.refused;
  const target = at(args, 2);
  if (target === at(args, 1)) return errorReply('ERR source and destination objects are the same');
  const source = keyspace.find(at(args, 1));
  if (source === undefined || source.value === undefined) return 0;
  if (!options.replace && keyspace.find(target) !== undefined) return 0;
  const value = typeof source.value === 'string' ? source.value : source.value.clone();
  keyspace.set(target, value, source.expireAtMs);
  return 1;
};

/** What Redis would say; the representation here is another. */
function encodingOf(value: Value): string {
  if (typeof value === 'string') {
    if (parseInteger(value) !== undefined) return 'int';
    return value.length <= EMBSTR_BYTES_MAX ? 'embstr' : 'raw';
  }
  if (value.size > LISTPACK_ENTRIES_MAX) return 'hashtable';
  for (const [field, fieldValue] of value.entries()) {
    if (Math.max(field.length, fieldValue.length) > LISTPACK_VALUE_BYTES_MAX) return 'hashtable';
  }
  return 'listpack';
}

const objectHelp: Reply = [
  'OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:',
  'ENCODING <key>',
  '    Return the kind of internal representation used in order to store the value',
  '    associated with a <key>.',
  'FREQ <key>',
  '    Return the access frequency index of the <key>. The returned integer is',
  '    proportional to the logarithm of the recent access frequency of the key.',
  'IDLETIME <key>',
  '    Return the idle time of the <key>, that is the approximated number of',
  '    seconds elapsed since the last access to the key.',
  'REFCOUNT <key>',
  '    Return the number of references of the value associated with the specified',
  '    <key>.',
  'HELP',
  '    Print this help.',
].map((text): Reply => ({ kind: 'simple', text }));

const object: Handler = (keyspace, args) => {
  const name = at(args, 1).toLowerCase();
  if (name === 'help') return args.length === 2 ? objectHelp : wrongArguments('object|help');
  if (name !== 'encoding' && name !== 'refcount' && name !== 'idletime' && name !== 'freq') {
    return errorReply(`ERR unknown subcommand '${at(args, 1)}'. Try OBJECT HELP.`);
  }
  if (args.length !== 3) return wrongArguments(`object|${name}`);
  const value = keyspace.find(at(args, 2))?.value;
  if (value === undefined) return null;
  if (name === 'encoding') return encodingOf(value);
  if (name === 'refcount') return 1;
  if (name === 'idletime') return 0;
  return errorReply(
    'ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that ' +
      'when switching between policies at runtime LRU and LFU data will take some time to adjust.',
  );
};

const flush: Handler = (keyspace, args) => {
  const mode = args.length === 2 ? at(args, 1).toUpperCase() : 'SYNC';
  if (args.length > 2 || (mode !== 'SYNC' && mode !== 'ASYNC')) return syntaxError;
  keyspace.wipe();
  return okReply;
};

export const keyHandlers: Readonly<Record<string, Handler>> = {
  del,
  unlink: del,
  exists,
  touch: exists,
  type,
  rename: rename(false),
  renamenx: rename(true),
  copy,
  object,
  flushall: flush,
  flushdb: flush,
};
