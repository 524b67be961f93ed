/**
 * SCAN, KEYS and RANDOMKEY over memory and disk.
 *
 * SCAN walks three parts, in this order: changes in memory, rows in the clear, sealed rows. A key
 * only ever moves forward through them, so one that is there all the time is met at least once. In
 * memory a cursor is a place in the list of changes of one generation; a generation that is gone
 * has been committed, and its keys are met on disk. On disk a cursor is the first bits of the row
 * key, so it outlives every change of the rows.
 *
 * Cursor, 48 bits: `part u2 | place u46`, a place in memory being `generation u14 | position u32`.
 */
import type { ByteString } from '@raftseal/interface';
import { typeOf } from './commands/keys.ts';
import { matchesGlob } from './glob.ts';
import { type KeyEntry, NO_EXPIRY, STORED_ABSENT, type Value } from './key-entry.ts';
import type { Keyspace } from './keyspace.ts';
import type { ScanOptions, ScanPage } from './options.ts';
import type { KeyRecord } from './row-codec.ts';

const PLACE_BITS = 46n;
const PLACE_MASK = (1n << PLACE_BITS) - 1n;
const PART_MEMORY = 1n;
/** Parts on disk follow: the store's depth is added. */
const PART_STORE = 2n;
export const GENERATION_LIMIT: number = 1 << 14;
const POSITION_LIMIT = 2 ** 32;
const RANDOM_ATTEMPTS = 64;

interface MemoryPlace {
  generation: number;
  position: number;
}

export class KeyWalk {
  readonly #keyspace: Keyspace;

  constructor(keyspace: Keyspace) {
    this.#keyspace = keyspace;
  }

  /** @throws RAFTSEAL_KV_ROW_CORRUPT */
  scan(cursor: bigint, options: ScanOptions): ScanPage {
    const part = (cursor >> PLACE_BITS) & 3n;
    const place = Number(cursor & PLACE_MASK);
    const keys: ByteString[] = [];
    const visit = (key: ByteString, value: Value): void => {
      if (options.type !== undefined && typeOf(value) !== options.type) return;
      if (options.match !== undefined && !matchesGlob(options.match, key)) return;
      keys.push(key);
    };
    const count = Math.max(1, options.count);
    const next =
      part < PART_STORE
        ? this.#scanMemory(part === PART_MEMORY ? place : undefined, count, visit)
        : this.#scanStore(Number(part - PART_STORE), place, count, visit);
    return { cursor: next, keys };
  }

  /** Every key that matches. @throws RAFTSEAL_KV_ROW_CORRUPT */
  keys(pattern: ByteString): ByteString[] {
    const options: ScanOptions =
      pattern === '*' ? { count: 1000 } : { count: 1000, match: pattern };
    const found = new Set<ByteString>();
    let cursor = 0n;
    do {
      const page = this.scan(cursor, options);
      for (const key of page.keys) found.add(key);
      cursor = page.cursor;
    } while (cursor !== 0n);
    return [...found];
  }

  /** Any key; null where there is none. */
  randomKey(): ByteString | null {
    const keyspace = this.#keyspace;
    for (let attempt = 0; attempt < RANDOM_ATTEMPTS; attempt++) {
      const rows = keyspace.wiped ? 0 : keyspace.store.rowCount;
      const chosen = Math.random() * (rows + keyspace.dirtyKeys);
      const key = chosen < rows ? this.#randomRow() : this.#randomChange();
      if (key !== undefined) return key;
    }
    let cursor = 0n;
    do {
      const page = this.scan(cursor, { count: 100 });
      if (page.keys[0] !== undefined) return page.keys[0];
      cursor = page.cursor;
    } while (cursor !== 0n);
    return null;
  }

  #randomRow(): ByteString | undefined {
    const position = Math.floor(Math.random() * 2 ** 46);
    const depth = Math.random() < 0.5 ? 0 : 1;
    const { records } = this.#keyspace.store.scan({ depth, position }, 1);
    const record = records[Math.floor(Math.random() * records.length)];
    return record !== undefined && this.#liveValue(record) !== undefined ? record.key : undefined;
  }

  #randomChange(): ByteString | undefined {
    const lists = this.#keyspace.generations;
    const list = lists[Math.floor(Math.random() * lists.length)]?.entries ?? [];
    const entry = list[Math.floor(Math.random() * list.length)];
    return entry !== undefined && this.#isCurrent(entry) ? entry.key : undefined;
  }

  /** The value of a row's key as it is: what is in memory counts. */
  #liveValue(record: KeyRecord): Value | undefined {
    const entry = this.#keyspace.peek(record.key);
    if (entry !== undefined) return this.#keyspace.isLive(entry) ? entry.value : undefined;
    const past = record.expireAtMs !== NO_EXPIRY && record.expireAtMs < this.#keyspace.nowMs;
    return past ? undefined : record.value;
  }

  #isCurrent(entry: KeyEntry): boolean {
    return this.#keyspace.isLive(entry) && this.#keyspace.peek(entry.key) === entry;
  }

  #startOf(place: number | undefined): MemoryPlace {
    const { generations } = this.#keyspace;
    const oldest = { generation: generations[0]?.id ?? 0, position: 0 };
    if (place === undefined) return oldest;
    const wanted = Math.floor(place / POSITION_LIMIT);
    const found = generations.find(({ id }) => id % GENERATION_LIMIT === wanted);
    return found === undefined
      ? oldest
      : { generation: found.id, position: place % POSITION_LIMIT };
  }

  #scanMemory(
    place: number | undefined,
    count: number,
    visit: (key: ByteString, value: Value) => void,
  ): bigint {
    const start = this.#startOf(place);
    let left = count;
    for (const { id, entries } of this.#keyspace.generations) {
      if (id < start.generation) continue;
      let position = id === start.generation ? start.position : 0;
      for (; position < entries.length && left > 0; position++, left--) {
        const entry = entries[position];
        if (entry !== undefined) this.#visitChange(entry, visit);
      }
      if (position < entries.length) {
        const at = (id % GENERATION_LIMIT) * POSITION_LIMIT + position;
        return (PART_MEMORY << PLACE_BITS) | BigInt(at);
      }
    }
    return this.#keyspace.wiped || this.#keyspace.store.rowCount === 0
      ? 0n
      : PART_STORE << PLACE_BITS;
  }

  /** A change of a key that is on disk too, for certain, is left to the walk there. */
  #visitChange(entry: KeyEntry, visit: (key: ByteString, value: Value) => void): void {
    if (!this.#isCurrent(entry) || entry.value === undefined) return;
    const { wiped, uncommitted } = this.#keyspace;
    if (!wiped && !uncommitted) {
      this.#keyspace.resolve(entry);
      if (entry.stored !== STORED_ABSENT) return;
    }
    visit(entry.key, entry.value);
  }

  #scanStore(
    depth: number,
    position: number,
    count: number,
    visit: (key: ByteString, value: Value) => void,
  ): bigint {
    if (this.#keyspace.wiped) return 0n;
    const { records, next } = this.#keyspace.store.scan({ depth, position }, count);
    for (const record of records) {
      const value = this.#liveValue(record);
      if (value !== undefined) visit(record.key, value);
    }
    if (next === undefined) return 0n;
    return ((PART_STORE + BigInt(next.depth)) << PLACE_BITS) | BigInt(next.position);
  }
}
