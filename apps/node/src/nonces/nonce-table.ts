/**
 * A hash table of nonces in one array of numbers, 24 bytes for each place in it: at ten million
 * nonces a Map of objects would take more than a gigabyte. Open addressing with linear probing, a
 * quarter of the places empty at least.
 *
 * | word | field |
 * | --- | --- |
 * | 0 | range, from 1; 0: the place is empty |
 * | 1, 2 | counter, high and low |
 * | 3, 4 | the first bytes of the tag |
 * | 5 | source |
 */
const WORDS = 6;
const PLACES_MIN = 4096;

/** A nonce and who sealed with it; every field an unsigned number of 32 bits. */
export interface TableRecord {
  /** Number of the range, which stands for DEK, writer and epoch; from 1. */
  range: number;
  high: number;
  low: number;
  tagHigh: number;
  tagLow: number;
  source: number;
}

export class NonceTable {
  readonly #recordsMax: number;
  /** The hash of a record, by its fields: it is not kept. */
  readonly #hashOf: (range: number, high: number, low: number) => number;
  #words: Uint32Array = new Uint32Array(PLACES_MIN * WORDS);
  #places = PLACES_MIN;
  #size = 0;

  constructor(recordsMax: number, hashOf: (range: number, high: number, low: number) => number) {
    this.#recordsMax = recordsMax;
    this.#hashOf = hashOf;
  }

  get isFull(): boolean {
    return this.#size >= this.#recordsMax;
  }

  clear(): void {
    this.#words.fill(0);
    this.#size = 0;
  }

  /**
   * Adds a record, unless its nonce is there.
   * @returns `added`, `copy` where the same seal is there, or the source of another seal.
   */
  add(record: TableRecord, hash: number): 'added' | 'copy' | number {
    if (4 * (this.#size + 1) > 3 * this.#places) this.#grow();
    const { range, high, low, tagHigh, tagLow, source } = record;
    const words = this.#words;
    const at = this.#find(range, high, low, hash);
    if (words[at] === 0) {
      words[at] = range;
      words[at + 1] = high;
      words[at + 2] = low;
      words[at + 3] = tagHigh;
      words[at + 4] = tagLow;
      words[at + 5] = source;
      this.#size++;
      return 'added';
    }
    if (words[at + 3] === tagHigh && words[at + 4] === tagLow) return 'copy';
    return words[at + 5] ?? 0;
  }

  /** Where the nonce is, or the empty place where it belongs. */
  #find(range: number, high: number, low: number, hash: number): number {
    const words = this.#words;
    const mask = this.#places - 1;
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const at = place * WORDS;
      const found = words[at];
      if (found === 0) return at;
      if (found === range && words[at + 1] === high && words[at + 2] === low) return at;
    }
  }

  #grow(): void {
    const old = this.#words;
    this.#places *= 2;
    this.#words = new Uint32Array(this.#places * WORDS);
    for (let from = 0; from < old.length; from += WORDS) {
      const [range = 0, high = 0, low = 0] = [old[from], old[from + 1], old[from + 2]];
      if (range === 0) continue;
      const at = this.#find(range, high, low, this.#hashOf(range, high, low));
      this.#words.set(old.subarray(from, from + WORDS), at);
    }
  }
}
