/**
 * Reads of one shard's log: pages of entries, and at the tail a watch of what is put there.
 *
 * A page is a snapshot of etcd at one revision, and the watch goes on right after it, so nothing
 * lies between them, however old the page is. The log is dense, so every index is checked: what a
 * watch has left out is read again as a page, and what is not there either, at the revision of a
 * write, is lost. A reader that does not keep up loses its watch and goes on with pages.
 */
import type { LogEntry, ReadRequest } from '@raftseal/interface';
import { kindOf } from './call-error.ts';
import { decodeEntry } from './entry-codec.ts';
import { closedError, corruptError, truncatedError } from './errors.ts';
import { type BoundsParts, findBounds, readFloor, syncRevision } from './log-bounds.ts';
import type { RangeResponse } from './messages.ts';
import { TailWatch } from './tail-watch.ts';
import type { WatchHub } from './watch-hub.ts';

export interface ReaderParts extends BoundsParts {
  readonly hub: WatchHub;
  /** Aborted once the engine is closed. */
  readonly closed: AbortSignal;
  /** A guess at the head, from below. */
  readonly headHint: () => bigint;
}

interface Page {
  readonly entries: readonly LogEntry[];
  /** Of the snapshot of etcd that it was taken from. */
  readonly revision: bigint;
  /** There are entries after it. */
  readonly hasMore: boolean;
}

const PAGE_BYTES = 1024 * 1024;
const PAGE_ENTRIES_MAX = 128;
const FIRST_PAGE_ENTRIES = 8;

export class EntryReader {
  readonly #parts: ReaderParts;
  /** Aborted when the read is to end. */
  readonly #stop = new AbortController();
  readonly #request: ReadRequest;
  #next: bigint;
  #pageEntries = FIRST_PAGE_ENTRIES;

  constructor(parts: ReaderParts, request: ReadRequest) {
    if (request.from < 1n) throw new RangeError(`indexes start at 1, not ${request.from}`);
    this.#parts = parts;
    this.#request = request;
    this.#next = request.from;
  }

  async *read(): AsyncGenerator<readonly LogEntry[], void, void> {
    const { closed } = this.#parts;
    const { signal, follow } = this.#request;
    const end = (): void => this.#stop.abort();
    if (closed.aborted || signal?.aborted) end();
    closed.addEventListener('abort', end);
    signal?.addEventListener('abort', end);
    try {
      yield* follow ? this.#follow() : this.#readToHead();
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    } finally {
      closed.removeEventListener('abort', end);
      signal?.removeEventListener('abort', end);
    }
  }

  async *#readToHead(): AsyncGenerator<readonly LogEntry[], void, void> {
    const signal = this.#stop.signal;
    const { headHint } = this.#parts;
    let end: bigint | undefined;
    while (!signal.aborted) {
      const bounds = await findBounds(this.#parts, { hint: headHint(), signal });
      end ??= bounds.head;
      try {
        while (this.#next <= end && !signal.aborted) {
          const { entries } = await this.#page(bounds.revision);
          if (entries.length === 0) throw this.#missing();
          yield this.#take(entries);
        }
        return;
      } catch (error) {
        // The snapshot is gone: the next one has what is left of it.
        if (kindOf(error) !== 'compacted') throw error;
      }
    }
  }

  async *#follow(): AsyncGenerator<readonly LogEntry[], void, void> {
    const signal = this.#stop.signal;
    let revision: bigint | undefined;
    while (!signal.aborted) {
      const page = await this.#page(revision).catch((error: unknown) => {
        if (kindOf(error) === 'compacted') return undefined;
        throw error;
      });
      revision = undefined;
      if (page === undefined) continue;
      if (page.entries.length > 0) yield this.#take(page.entries);
      if (page.hasMore) continue;
      yield* this.#watch(page.revision + 1n);
      // What the watch has left out is looked for in a page that is not out of date.
      if (!signal.aborted) revision = await syncRevision(this.#parts, { signal });
    }
  }

  /** Ends when the read is to end, or when pages are to go on. */
  async *#watch(from: bigint): AsyncGenerator<readonly LogEntry[], void, void> {
    const tail = new TailWatch(this.#parts, { next: this.#next, from });
    try {
      for (;;) {
        const entries = await tail.take(this.#stop.signal);
        if (entries === undefined) return;
        yield this.#take(entries);
      }
    } finally {
      tail.end();
    }
  }

  #take(entries: readonly LogEntry[]): readonly LogEntry[] {
    this.#next += BigInt(entries.length);
    return entries;
  }

  /**
   * The next entries, without a gap; none where the log ends.
   * @throws RAFTSEAL_ENGINE_TRUNCATED, RAFTSEAL_ENGINE_CORRUPT (fatal)
   */
  async #page(atRevision?: bigint): Promise<Page> {
    const { client, keys, shardId } = this.#parts;
    const key = keys.entry(shardId, this.#next);
    const request = { key, rangeEnd: keys.entriesEnd(shardId), limit: this.#pageEntries };
    const at = atRevision === undefined ? {} : { revision: atRevision.toString() };
    const signal = this.#stop.signal;
    const response = await client.persist('KV.Range', { ...request, ...at }, { signal });
    const entries = this.#decode(response);
    const revision = atRevision ?? BigInt(response.header.revision);
    if (entries.length > 0) {
      return { entries, revision, hasMore: response.more || entries.length < response.kvs.length };
    }
    const floor = await readFloor(this.#parts, revision, { signal });
    if (floor >= this.#next) throw truncatedError(shardId, this.#next, floor + 1n);
    if (response.kvs.length === 0) return { entries, revision, hasMore: false };
    if (atRevision !== undefined) throw this.#missing();
    return this.#page(await syncRevision(this.#parts, { signal }));
  }

  /** Decodes up to the first gap, or to the first damage where something stands before it. */
  #decode({ kvs }: RangeResponse): LogEntry[] {
    const { keys, shardId } = this.#parts;
    const entries: LogEntry[] = [];
    let byteLength = 0;
    for (const { key, value } of kvs) {
      const index = keys.indexOf(key);
      if (index !== undefined && index !== this.#next + BigInt(entries.length)) break;
      try {
        if (index === undefined) {
          throw corruptError(shardId, `${keys.nameOf(key)} stands among its entries and is none`);
        }
        entries.push(decodeEntry(shardId, index, value));
      } catch (error) {
        if (entries.length === 0) throw error;
        break;
      }
      byteLength += value.byteLength;
    }
    if (entries.length > 0) {
      const fitting = Math.floor((PAGE_BYTES * entries.length) / byteLength);
      this.#pageEntries = Math.max(1, Math.min(PAGE_ENTRIES_MAX, fitting));
    }
    return entries;
  }

  #missing(): Error {
    return corruptError(this.#parts.shardId, `entry ${this.#next} is missing in the middle`);
  }
}

/** @throws RAFTSEAL_ENGINE_CLOSED where the engine is closed already. */
export async function* readEntries(
  parts: ReaderParts,
  request: ReadRequest,
): AsyncGenerator<readonly LogEntry[], void, void> {
  if (parts.closed.aborted) throw closedError();
  yield* new EntryReader(parts, request).read();
}
