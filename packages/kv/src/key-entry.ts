/** One key in memory: a change not yet on disk, or a copy of what is. */
import type { ByteString } from '@raftseal/interface';
import type { HashValue } from './hash-value.ts';

export type Value = ByteString | HashValue;

/** `expireAtMs` of a key that does not expire. */
export const NO_EXPIRY = 0;

/** `generation` of a key that memory and disk agree on. */
export const CLEAN = 0;
/** `generation` of a key whose change is in a checkpoint that is being committed. */
export const CAPTURED = -1;

/** What the store holds for a key, as far as is known without looking. */
export const STORED_UNKNOWN = 0;
export const STORED_ABSENT = 1;
export const STORED_PRESENT = 2;
/** Present, and in the expiry index. */
export const STORED_EXPIRING = 3;

/** What one entry costs beside key and value, about: the object and its place in the map. */
const ENTRY_OVERHEAD_BYTES = 200;

export class KeyEntry {
  readonly key: ByteString;
  /** Undefined: the key was deleted, or is known to be absent. */
  value: Value | undefined = undefined;
  /** Milliseconds since the Unix epoch, or NO_EXPIRY. */
  expireAtMs: number = NO_EXPIRY;
  /** Index of the latest change. */
  version: bigint = 0n;
  /** What the entry counts for in the memory bounds. */
  bytes = 0;
  /** The checkpoint that will write it, or CLEAN, or CAPTURED. */
  generation: number = CLEAN;
  stored: number = STORED_UNKNOWN;
  /** Read since the eviction hand last passed. */
  visited = false;

  constructor(key: ByteString) {
    this.key = key;
  }

  measure(): number {
    const { value } = this;
    const valueBytes =
      value === undefined ? 0 : typeof value === 'string' ? value.length : value.bytes;
    return ENTRY_OVERHEAD_BYTES + this.key.length + valueBytes;
  }
}

/** What `stored` becomes once an entry with this content is committed. */
export function storedAs(value: Value | undefined, expireAtMs: number): number {
  if (value === undefined) return STORED_ABSENT;
  return expireAtMs === NO_EXPIRY ? STORED_PRESENT : STORED_EXPIRING;
}
