/**
 * The keys of a shard: changes that are not on disk yet, and copies of what is, over a store.
 *
 * Invariants:
 * - A key in the map is newer than, or equal to, its row; only a key that is not in the map is
 *   looked up in the store. A changed key stays in the map until a checkpoint that holds the change
 *   is committed.
 * - A checkpoint writes the state of ONE index. What changes while it runs is kept as it was
 *   (`preimages`) until it has been written.
 * - `liveKeys` counts every key, as if each unresolved one had been in the store already; resolving
 *   one that was not adds it.
 *
 * `nowMs`, `index` and `random` are set by the caller before each command: nothing here reads a
 * clock. A key whose time has passed is absent to commands; it goes when the log says so.
 */
import type { ByteString } from '@raftseal/interface';
import { ExpiryQueue } from './expiry-queue.ts';
import {
  CAPTURED,
  CLEAN,
  KeyEntry,
  NO_EXPIRY,
  STORED_ABSENT,
  STORED_EXPIRING,
  STORED_PRESENT,
  STORED_UNKNOWN,
  storedAs,
  type Value,
} from './key-entry.ts';
import type { KeyRecord } from './row-codec.ts';
import type { Store } from './store.ts';

/** How far the eviction hand may move for each entry that has come to the cache. */
const EVICTION_STEPS = 16;

/** The changes between two checkpoints. */
export interface Generation {
  readonly id: number;
  readonly entries: KeyEntry[];
  bytes: number;
}

/** A generation that is being written. */
export interface CheckpointSet extends Generation {
  /** Entries before this one are in the batch. */
  captured: number;
  /** Entries that changed before they were captured, as they were; undefined: deleted. */
  readonly preimages: Map<KeyEntry, KeyRecord | undefined>;
  /** Whether the store is to be emptied first. */
  readonly wipe: boolean;
  readonly wipeCount: number;
}

export interface KeyspaceOptions {
  readonly store: Store;
  readonly cacheBytesMax: number;
  /** Where generation numbers start: any small integer above 0. */
  readonly firstGeneration: number;
}

export class Keyspace {
  nowMs = 0;
  index = 0n;
  /** A number in [0, 1); in a log command it must follow from the log alone. */
  random: () => number = Math.random;

  store: Store;
  readonly expiries: ExpiryQueue = new ExpiryQueue((entry) => this.#map.get(entry.key) === entry);
  readonly #cacheBytesMax: number;
  #map = new Map<ByteString, KeyEntry>();
  #hand: Iterator<KeyEntry> | undefined;
  #handSteps = 0;
  #cacheBytes = 0;
  #cacheKeys = 0;
  #current: Generation;
  #running: CheckpointSet | undefined;
  #uncommitted = false;
  #liveKeys: number;
  /** Entries of `#current` before this one are resolved. */
  #resolved = 0;
  #wiped = false;
  #wipeCount = 0;
  /** No key that is missing from the map is in the store. */
  #storeEmpty: boolean;

  constructor(options: KeyspaceOptions) {
    this.store = options.store;
    this.#cacheBytesMax = options.cacheBytesMax;
    this.#current = { id: options.firstGeneration, entries: [], bytes: 0 };
    this.#liveKeys = options.store.rowCount;
    this.#storeEmpty = this.#liveKeys === 0;
  }

  get dirtyBytes(): number {
    return this.#current.bytes + (this.#running?.bytes ?? 0);
  }

  get dirtyKeys(): number {
    return this.#current.entries.length + (this.#running?.entries.length ?? 0);
  }

  /** Whether a checkpoint has anything to write. */
  get dirty(): boolean {
    return this.#wiped || this.#current.entries.length > 0;
  }

  get cacheBytes(): number {
    return this.#cacheBytes;
  }

  get cacheKeys(): number {
    return this.#cacheKeys;
  }

  /** Whether the rows of the store are void: FLUSHALL was applied and is not committed. */
  get wiped(): boolean {
    return this.#wiped;
  }

  /** Whether `stored` of entries is ahead of the store: a checkpoint is on its way. */
  get uncommitted(): boolean {
    return this.#uncommitted;
  }

  /** Oldest first: the generations whose entries may not be in the store. */
  get generations(): readonly Generation[] {
    return this.#running === undefined ? [this.#current] : [this.#running, this.#current];
  }

  /** The entry of a key in memory, whatever its state. */
  peek(key: ByteString): KeyEntry | undefined {
    return this.#map.get(key);
  }

  /** Whether the entry stands for a key that is there at `nowMs`. */
  isLive(entry: KeyEntry): boolean {
    return entry.value !== undefined && !this.#isPast(entry.expireAtMs);
  }

  /**
   * The entry of a key, there or not, in its time or past it.
   * @throws RAFTSEAL_KV_ROW_CORRUPT
   */
  lookup(key: ByteString): KeyEntry | undefined {
    return this.#map.get(key) ?? this.#load(key);
  }

  /**
   * The entry of a key that is there; its value is not undefined.
   * @throws RAFTSEAL_KV_ROW_CORRUPT
   */
  find(key: ByteString): KeyEntry | undefined {
    const entry = this.#map.get(key) ?? this.#load(key);
    if (entry === undefined || entry.value === undefined) return undefined;
    if (this.#isPast(entry.expireAtMs)) return undefined;
    if (!entry.visited) entry.visited = true;
    return entry;
  }

  /**
   * Brings a key into memory, or the knowledge that it is absent: a command that is applied soon
   * then has no need of the store.
   * @throws RAFTSEAL_KV_ROW_CORRUPT
   */
  prepare(key: ByteString): void {
    const entry = this.#map.get(key);
    if (entry !== undefined) {
      if (!entry.visited) entry.visited = true;
    } else if (!this.#storeEmpty && this.#load(key) === undefined) {
      const absent = new KeyEntry(key);
      absent.stored = STORED_ABSENT;
      this.#keep(absent);
    }
  }

  /** Sets a key, whatever it was. */
  set(key: ByteString, value: Value, expireAtMs: number): void {
    let entry = this.#map.get(key);
    if (entry === undefined) {
      entry = new KeyEntry(key);
      if (this.#storeEmpty) {
        entry.stored = STORED_ABSENT;
        this.#liveKeys++;
      }
      this.#map.set(key, entry);
    } else if (entry.value === undefined) {
      this.#liveKeys++;
    }
    this.touch(entry);
    entry.value = value;
    this.#expireAt(entry, expireAtMs);
    this.resized(entry);
  }

  /** Replaces the value of an entry that {@link find} returned; its expiry stays. */
  replace(entry: KeyEntry, value: Value): void {
    this.touch(entry);
    entry.value = value;
    this.resized(entry);
  }

  setExpiry(entry: KeyEntry, expireAtMs: number): void {
    this.touch(entry);
    this.#expireAt(entry, expireAtMs);
  }

  /** Deletes an entry that {@link find} returned, or one that is past its time. */
  remove(entry: KeyEntry): void {
    this.touch(entry);
    entry.value = undefined;
    entry.expireAtMs = NO_EXPIRY;
    this.#liveKeys--;
    this.resized(entry);
  }

  /** To be called before an entry, or the hash in it, is changed. */
  touch(entry: KeyEntry): void {
    const current = this.#current;
    if (entry.generation !== current.id) this.#enlist(entry, current);
    entry.version = this.index;
  }

  /** Puts an entry on the list of the current generation, as it is before its change. */
  #enlist(entry: KeyEntry, current: Generation): void {
    if (entry.generation === CLEAN) {
      if (entry.bytes !== 0) {
        this.#cacheBytes -= entry.bytes;
        this.#cacheKeys--;
      }
    } else if (entry.generation === this.#running?.id) {
      this.#running.preimages.set(entry, frozen(recordOf(entry)));
    }
    entry.generation = current.id;
    current.entries.push(entry);
    current.bytes += entry.bytes;
  }

  /** To be called after the value of an entry has changed size. */
  resized(entry: KeyEntry): void {
    const bytes = entry.measure();
    this.#current.bytes += bytes - entry.bytes;
    entry.bytes = bytes;
  }

  /** FLUSHALL. */
  wipe(): void {
    this.#map = new Map();
    this.#hand = undefined;
    this.#cacheBytes = 0;
    this.#cacheKeys = 0;
    this.#current = { id: this.#current.id, entries: [], bytes: 0 };
    this.#resolved = 0;
    this.#liveKeys = 0;
    this.#wiped = true;
    this.#wipeCount++;
    this.#storeEmpty = true;
    this.expiries.clear();
  }

  /** Forgets everything: the store holds the state of another index. Not while a checkpoint runs. */
  restart(store: Store): void {
    this.wipe();
    this.store = store;
    this.#current = { id: this.#current.id + 1, entries: [], bytes: 0 };
    this.#wiped = false;
    this.#liveKeys = store.rowCount;
    this.#storeEmpty = this.#liveKeys === 0;
  }

  /** The number of keys, exactly; those past their time count until they are deleted. */
  size(): number {
    const { entries } = this.#current;
    for (; this.#resolved < entries.length; this.#resolved++) {
      const entry = entries[this.#resolved];
      if (entry !== undefined) this.resolve(entry);
    }
    const running = this.#running;
    for (let i = running?.captured ?? 0; i < (running?.entries.length ?? 0); i++) {
      const entry = running?.entries[i];
      if (entry !== undefined) this.resolve(entry);
    }
    return this.#liveKeys;
  }

  /** Finds out whether the store has a row for the entry. */
  resolve(entry: KeyEntry): void {
    if (entry.stored !== STORED_UNKNOWN) return;
    const orphan = this.#map.get(entry.key) !== entry;
    entry.stored = this.store.probe(entry.key);
    if (entry.stored === STORED_ABSENT && !orphan) this.#liveKeys++;
  }

  /** Starts a checkpoint of the state as it is. One at a time. */
  beginCheckpoint(): CheckpointSet {
    const running: CheckpointSet = {
      ...this.#current,
      captured: 0,
      preimages: new Map(),
      wipe: this.#wiped,
      wipeCount: this.#wipeCount,
    };
    this.#running = running;
    this.#uncommitted = true;
    const id = running.id + 1;
    this.#current = { id, entries: [], bytes: 0 };
    this.#resolved = 0;
    return running;
  }

  /**
   * The next entry of the checkpoint, with what is to be written for it, as of the checkpoint's
   * index; undefined behind the last. What the store holds is resolved.
   */
  capture(running: CheckpointSet): Captured | undefined {
    const entry = running.entries[running.captured];
    if (entry === undefined) return undefined;
    if (running.wipe) entry.stored = STORED_ABSENT;
    else this.resolve(entry);
    const { stored } = entry;
    running.captured++;
    const unchanged = entry.generation === running.id;
    const record = unchanged ? recordOf(entry) : running.preimages.get(entry);
    if (unchanged) entry.generation = CAPTURED;
    else running.preimages.delete(entry);
    entry.stored = storedAs(record?.value, record?.expireAtMs ?? NO_EXPIRY);
    return { key: entry.key, record, stored };
  }

  /** To be called once the checkpoint is committed; entries are then settled one by one. */
  endCheckpoint(running: CheckpointSet): void {
    if (running.wipe && running.wipeCount === this.#wipeCount) this.#wiped = false;
    this.#storeEmpty = this.#wiped || this.store.rowCount === 0;
    this.#uncommitted = false;
    running.bytes = 0;
  }

  /** Makes entries of a committed checkpoint clean; returns false when all are. */
  settle(running: CheckpointSet, count: number): boolean {
    for (let i = 0; i < count; i++) {
      const entry = running.entries.pop();
      if (entry === undefined) {
        this.#running = undefined;
        return false;
      }
      if (entry.generation !== CAPTURED || this.#map.get(entry.key) !== entry) continue;
      entry.generation = CLEAN;
      if (entry.value === undefined) {
        this.#map.delete(entry.key);
      } else {
        this.#cacheBytes += entry.bytes;
        this.#cacheKeys++;
        this.#handSteps += EVICTION_STEPS;
      }
    }
    this.trim();
    return true;
  }

  /**
   * Evicts what the cache holds over its bound. To be called between commands: one that runs holds
   * entries, and a change of an evicted entry would be lost.
   *
   * CLOCK over the map's own order, which is that of insertion: a hit only sets a bit, nothing is
   * moved. The iterator of a Map goes on over insertions and deletions.
   */
  trim(): void {
    while (this.#cacheBytes > this.#cacheBytesMax && this.#handSteps > 0) {
      this.#handSteps--;
      this.#hand ??= this.#map.values();
      const { done, value: entry } = this.#hand.next();
      if (done) {
        this.#hand = undefined;
      } else if (entry.generation === CLEAN) {
        if (entry.visited) {
          entry.visited = false;
        } else {
          this.#map.delete(entry.key);
          this.#cacheBytes -= entry.bytes;
          this.#cacheKeys--;
        }
      }
    }
  }

  #isPast(expireAtMs: number): boolean {
    return expireAtMs !== NO_EXPIRY && expireAtMs < this.nowMs;
  }

  #load(key: ByteString): KeyEntry | undefined {
    if (this.#storeEmpty) return undefined;
    const record = this.store.read(key);
    if (record === undefined) return undefined;
    const entry = new KeyEntry(key);
    entry.value = record.value;
    entry.expireAtMs = record.expireAtMs;
    entry.version = record.version;
    entry.stored = record.expireAtMs === NO_EXPIRY ? STORED_PRESENT : STORED_EXPIRING;
    this.#keep(entry);
    return entry;
  }

  /** Takes an entry that is as the store has it into the cache. */
  #keep(entry: KeyEntry): void {
    entry.bytes = entry.measure();
    this.#map.set(entry.key, entry);
    this.#cacheBytes += entry.bytes;
    this.#cacheKeys++;
    this.#handSteps += EVICTION_STEPS;
  }

  #expireAt(entry: KeyEntry, expireAtMs: number): void {
    if (entry.expireAtMs === expireAtMs) return;
    entry.expireAtMs = expireAtMs;
    if (expireAtMs !== NO_EXPIRY) this.expiries.add(entry);
  }
}

/** What a checkpoint writes for one key. */
export interface Captured {
  readonly key: ByteString;
  /** Undefined: the key is to be removed. */
  readonly record: KeyRecord | undefined;
  /** What the store holds. */
  readonly stored: number;
}

function recordOf(entry: KeyEntry): KeyRecord | undefined {
  const { key, value, expireAtMs, version } = entry;
  return value === undefined ? undefined : { key, value, expireAtMs, version };
}

/** A record that a change of its entry does not reach. */
function frozen(record: KeyRecord | undefined): KeyRecord | undefined {
  if (record === undefined || typeof record.value === 'string') return record;
  return { ...record, value: record.value.clone() };
}
