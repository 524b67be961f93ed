/**
 * What the commands of a history do to their keys, one after the other: the specification that a
 * history is compared with. Only what the workload sends is here; an unknown command is a fault of
 * the rig.
 */
import type { Command, Reply } from './operation.ts';

type Value = string | ReadonlyMap<string, string>;

/** The keys that exist. Never changed: a step makes another one. */
export type Keys = ReadonlyMap<string, Value>;

export interface Step {
  readonly reply: Reply;
  readonly keys: Keys;
}

export const noKeys: Keys = new Map();

const wrongType = {
  error: 'WRONGTYPE Operation against a key holding the wrong kind of value',
} as const;
const notAnInteger = { error: 'ERR value is not an integer or out of range' } as const;

/** Every command that reads and changes nothing: an unknown outcome of it says nothing. */
const readers: ReadonlySet<string> = new Set(['GET', 'HGET', 'EXISTS', 'STRLEN', 'HLEN']);

export function isReadOnly(commands: readonly Command[]): boolean {
  return commands.every(([name]) => readers.has(name));
}

export function stepOf(keys: Keys, command: Command): Step {
  const [name, key = '', ...args] = command;
  const value = keys.get(key);
  const unchanged = (reply: Reply): Step => ({ reply, keys });
  const changed = (reply: Reply, next: Value | undefined): Step => ({
    reply,
    keys: withValue(keys, key, next),
  });
  switch (name) {
    case 'SET':
      return changed('OK', args[0] ?? '');
    case 'DEL':
      return value === undefined ? unchanged(0) : changed(1, undefined);
    case 'EXISTS':
      return unchanged(value === undefined ? 0 : 1);
    case 'SETNX':
      return value === undefined ? changed(1, args[0] ?? '') : unchanged(0);
    case 'HSET':
    case 'HDEL':
    case 'HGET':
    case 'HLEN':
      if (typeof value === 'string') return unchanged(wrongType);
      return hashStep(name, value ?? new Map(), args, unchanged, changed);
    default:
      if (typeof value === 'object') return unchanged(wrongType);
      return stringStep(name, value, args, unchanged, changed);
  }
}

type Unchanged = (reply: Reply) => Step;
type Changed = (reply: Reply, next: Value | undefined) => Step;

function stringStep(
  name: string,
  value: string | undefined,
  [argument = '']: readonly string[],
  unchanged: Unchanged,
  changed: Changed,
): Step {
  switch (name) {
    case 'GET':
      return unchanged(value ?? null);
    case 'STRLEN':
      return unchanged((value ?? '').length);
    case 'GETSET':
      return changed(value ?? null, argument);
    case 'APPEND': {
      const next = (value ?? '') + argument;
      return changed(next.length, next);
    }
    case 'INCR': {
      if (value !== undefined && !/^(0|-?[1-9][0-9]{0,14})$/.test(value)) {
        return unchanged(notAnInteger);
      }
      const next = Number(value ?? 0) + 1;
      return changed(next, `${next}`);
    }
    default:
      throw new RangeError(`the model has no command ${name}`);
  }
}

function hashStep(
  name: 'HSET' | 'HDEL' | 'HGET' | 'HLEN',
  hash: ReadonlyMap<string, string>,
  [field = '', fieldValue = '']: readonly string[],
  unchanged: Unchanged,
  changed: Changed,
): Step {
  switch (name) {
    case 'HGET':
      return unchanged(hash.get(field) ?? null);
    case 'HLEN':
      return unchanged(hash.size);
    case 'HSET':
      return changed(hash.has(field) ? 0 : 1, new Map(hash).set(field, fieldValue));
    case 'HDEL': {
      if (!hash.has(field)) return unchanged(0);
      const next = new Map(hash);
      next.delete(field);
      return changed(1, next.size === 0 ? undefined : next);
    }
  }
}

function withValue(keys: Keys, key: string, value: Value | undefined): Keys {
  const next = new Map(keys);
  if (value === undefined) next.delete(key);
  else next.set(key, value);
  return next;
}

/** Equal texts for equal states, whatever the order in which they came about. */
export function textOfKeys(keys: Keys): string {
  const rows = [...keys].map(([key, value]) => [
    key,
    typeof value === 'string' ? value : [...value].sort(byFirst),
  ]);
  return JSON.stringify(rows.sort((a, b) => byFirst(a as [string], b as [string])));
}

function byFirst(
  [a]: readonly [string, ...unknown[]],
  [b]: readonly [string, ...unknown[]],
): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function isSameReply(a: Reply | undefined, b: Reply | undefined): boolean {
  if (a === b) return a !== undefined;
  return isError(a) && isError(b) && a.error === b.error;
}

function isError(reply: Reply | undefined): reply is { readonly error: string } {
  return typeof reply === 'object' && reply !== null;
}
