/**
 * The core of a nonce audit: is told of every envelope, and finds each nonce that two different
 * ones share. The same envelope in two places is one seal: a store that was filled by a snapshot has
 * the rows of another, and a log carries entries from one segment to the next.
 *
 * Exact, in bounded memory: each nonce is kept with eight bytes of its envelope's tag in a table of
 * so many records at most. Where there are more, the nonces are divided into parts, and whoever
 * feeds the ledger feeds it once for each.
 */
import { assert } from '@raftseal/interface';
import { hashOf } from './nonce-record.ts';
import { NonceTable } from './nonce-table.ts';

/** 96 MiB, and half of that again while the table grows; with room for what is under way. */
const RECORDS_MAX: number = 3 * 2 ** 20 - 2 ** 13;
const REUSES_LISTED_MAX = 100;
/** What a registration adds to a random counter, and no count reaches. */
const RANDOM_HIGH_MIN = 0x8000_0000;

/** What was sealed under one DEK by one writer in one epoch. */
export interface NonceRange {
  readonly dekId: number;
  readonly writerId: number;
  readonly nonceEpoch: number;
  /** Different envelopes with a counter that was counted. */
  readonly counted: number;
  /** Different envelopes with a random counter: registrations. */
  readonly random: number;
  /** Of the counted ones, 0 where there are none; not exact above 2^53, where no count reaches. */
  readonly lowest: number;
  readonly highest: number;
  /** Numbers of the sources in which it was found. */
  readonly sources: ReadonlySet<number>;
}

/** One nonce, two envelopes. */
export interface NonceReuse {
  readonly dekId: number;
  readonly writerId: number;
  readonly nonceEpoch: number;
  readonly counter: bigint;
  /** Of the envelope that came first, and of this one. */
  readonly sources: readonly [number, number];
}

interface MutableRange {
  readonly dekId: number;
  /** Writer id and epoch in one number. */
  readonly writer: number;
  counted: number;
  random: number;
  lowest: number;
  highest: number;
  latestSource: number | undefined;
  readonly sources: Set<number>;
}

export class NonceLedger {
  readonly #table: NonceTable;
  /** By dekId, then by writer id and epoch in one number. */
  readonly #numbers = new Map<number, Map<number, number>>();
  readonly #ranges: MutableRange[] = [];
  readonly #reuses: NonceReuse[] = [];
  readonly #record = { range: 0, high: 0, low: 0, tagHigh: 0, tagLow: 0, source: 0 };
  /** Of the range of the latest record, which the next one often has too. */
  #latestNumber = 0;
  #read = 0;
  #copies = 0;
  #reuseCount = 0;

  constructor({ recordsMax = RECORDS_MAX }: { readonly recordsMax?: number } = {}) {
    this.#table = new NonceTable(recordsMax, (range, high, low) => {
      const { dekId = 0, writer = 0 } = this.#ranges[range - 1] ?? {};
      return hashOf(dekId, writer, high, low);
    });
  }

  /** Envelopes so far, copies included. */
  get read(): number {
    return this.#read;
  }

  /** Those that were found before, in the same or another place. */
  get copies(): number {
    return this.#copies;
  }

  /** More may be there than this table can hold: divide the nonces into more parts. */
  get isFull(): boolean {
    return this.#table.isFull;
  }

  /** Envelopes whose nonce another one had before. */
  get reuseCount(): number {
    return this.#reuseCount;
  }

  /** The first hundred of them. */
  get reuses(): readonly NonceReuse[] {
    return this.#reuses;
  }

  /** By DEK, writer and epoch, ascending. */
  ranges(): readonly NonceRange[] {
    return this.#ranges
      .toSorted((a, b) => a.dekId - b.dekId || a.writer - b.writer)
      .map(({ dekId, writer, counted, random, lowest, highest, sources }) => ({
        dekId,
        writerId: writer >>> 16,
        nonceEpoch: writer & 0xffff,
        counted,
        random,
        lowest,
        highest,
        sources,
      }));
  }

  /** Goes over to another part: no nonce that came so far will come again. */
  nextPart(): void {
    this.#table.clear();
  }

  /**
   * @param chunk holds a record (nonce-record.ts) of an envelope at `offset`
   * @param source the caller's number of the place where it was found
   */
  add(chunk: Buffer, offset: number, source: number): void {
    const dekId = chunk.readUInt32BE(offset);
    const writer = chunk.readUInt32BE(offset + 4);
    const record = this.#record;
    record.high = chunk.readUInt32BE(offset + 8);
    record.low = chunk.readUInt32BE(offset + 12);
    record.tagHigh = chunk.readUInt32BE(offset + 16);
    record.tagLow = chunk.readUInt32BE(offset + 20);
    record.range = this.#numberOf(dekId, writer);
    record.source = source;
    this.#read++;
    const found = this.#table.add(record, hashOf(dekId, writer, record.high, record.low));
    const range = this.#ranges[record.range - 1];
    assert(range, 'a range that has a number is there');
    if (range.latestSource !== source) range.sources.add(source);
    range.latestSource = source;
    if (found === 'copy') {
      this.#copies++;
      return;
    }
    count(range, record);
    if (found !== 'added') this.#reused(range, found);
  }

  #numberOf(dekId: number, writer: number): number {
    const latest = this.#ranges[this.#latestNumber - 1];
    if (latest?.dekId === dekId && latest.writer === writer) return this.#latestNumber;
    const ofDek = this.#numbers.get(dekId) ?? new Map<number, number>();
    this.#numbers.set(dekId, ofDek);
    const known = ofDek.get(writer);
    const number = known ?? this.#ranges.push(newRange(dekId, writer));
    if (known === undefined) ofDek.set(writer, number);
    this.#latestNumber = number;
    return number;
  }

  #reused({ dekId, writer }: MutableRange, first: number): void {
    this.#reuseCount++;
    if (this.#reuses.length === REUSES_LISTED_MAX) return;
    const { high, low, source } = this.#record;
    const counter = (BigInt(high) << 32n) | BigInt(low);
    const sources = [first, source] as const;
    this.#reuses.push({
      dekId,
      writerId: writer >>> 16,
      nonceEpoch: writer & 0xffff,
      counter,
      sources,
    });
  }
}

function newRange(dekId: number, writer: number): MutableRange {
  return {
    dekId,
    writer,
    counted: 0,
    random: 0,
    lowest: 0,
    highest: 0,
    latestSource: undefined,
    sources: new Set(),
  };
}

function count(range: MutableRange, { high, low }: { high: number; low: number }): void {
  if (high >= RANDOM_HIGH_MIN) {
    range.random++;
    return;
  }
  const counter = high * 2 ** 32 + low;
  if (range.counted === 0 || counter < range.lowest) range.lowest = counter;
  if (counter > range.highest) range.highest = counter;
  range.counted++;
}
