/**
 * A command: it reads and changes the key space, and answers. It is called with as many arguments
 * as its arity asks for, the name first; a refusal is a reply and leaves the key space as it was.
 */
import type { ByteString, Reply } from '@raftseal/interface';
import type { HashValue } from '../hash-value.ts';
import type { KeyEntry } from '../key-entry.ts';
import type { Keyspace } from '../keyspace.ts';

export type Arguments = readonly ByteString[];
export type Handler = (keyspace: Keyspace, args: Arguments) => Reply;

/** Longest string, in bytes: what V8 holds in one string, 24 bytes below Redis' 512 MiB. */
export const STRING_BYTES_MAX = 0x1fff_ffe8;

/** The argument at a position that the arity guarantees. */
export function at(args: Arguments, position: number): ByteString {
  return args[position] ?? '';
}

/** The string of a key; undefined where it is absent, `null` where it is of another type. */
export function stringAt(keyspace: Keyspace, key: ByteString): ByteString | undefined | null {
  const value = keyspace.find(key)?.value;
  return value === undefined || typeof value === 'string' ? value : null;
}

/** An entry that holds a hash; undefined where it is absent, `null` where it is of another type. */
export type HashEntry = KeyEntry & { value: HashValue };

export function hashEntryAt(keyspace: Keyspace, key: ByteString): HashEntry | undefined | null {
  const entry = keyspace.find(key);
  if (entry === undefined) return undefined;
  return isHashEntry(entry) ? entry : null;
}

function isHashEntry(entry: KeyEntry): entry is HashEntry {
  return entry.value !== undefined && typeof entry.value !== 'string';
}
