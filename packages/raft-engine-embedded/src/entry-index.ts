/**
 * Where each entry of one shard stands: 12 bytes per entry, in chunks that go when the log is
 * truncated. An index without a place (segment 0) is one whose entry is missing.
 */
const CHUNK_ENTRIES = 1024;
const CELLS = 3;

/** Where a record stands: from its header on, `byteLength` bytes, header included. */
export interface RecordPlace {
  readonly segment: number;
  readonly offset: number;
  readonly byteLength: number;
}

export class EntryIndex {
  readonly #chunks: Map<number, Uint32Array> = new Map();
  #firstChunk = 0;

  set(index: number, segment: number, offset: number, byteLength: number): void {
    const number = Math.floor(index / CHUNK_ENTRIES);
    let chunk = this.#chunks.get(number);
    if (chunk === undefined) {
      chunk = new Uint32Array(CHUNK_ENTRIES * CELLS);
      if (this.#chunks.size === 0) this.#firstChunk = number;
      else this.#firstChunk = Math.min(this.#firstChunk, number);
      this.#chunks.set(number, chunk);
    }
    const cell = (index % CHUNK_ENTRIES) * CELLS;
    chunk[cell] = segment;
    chunk[cell + 1] = offset;
    chunk[cell + 2] = byteLength;
  }

  /** The place of an entry; undefined where it has none. */
  get(index: number): RecordPlace | undefined {
    const chunk = this.#chunks.get(Math.floor(index / CHUNK_ENTRIES));
    if (chunk === undefined) return undefined;
    const cell = (index % CHUNK_ENTRIES) * CELLS;
    const segment = chunk[cell] ?? 0;
    if (segment === 0) return undefined;
    return { segment, offset: chunk[cell + 1] ?? 0, byteLength: chunk[cell + 2] ?? 0 };
  }

  /** Lowest index of `first..last` without a place; undefined where all have one. */
  firstMissing(first: number, last: number): number | undefined {
    for (let index = first; index <= last; index++) {
      const chunk = this.#chunks.get(Math.floor(index / CHUNK_ENTRIES));
      if (chunk?.[(index % CHUNK_ENTRIES) * CELLS] || 0) continue;
      return index;
    }
    return undefined;
  }

  /** Forgets chunks that only hold entries below `first`. */
  dropBelow(first: number): void {
    const keep = Math.floor(first / CHUNK_ENTRIES);
    if (this.#chunks.size === 0 || keep <= this.#firstChunk) return;
    for (const number of this.#chunks.keys()) {
      if (number < keep) this.#chunks.delete(number);
    }
    this.#firstChunk = keep;
  }
}
