/**
 * Reads the few msgpack tokens that key-lifecycle entries and the replicated key state are made of:
 * arrays, unsigned integers, text, byte strings and nil (msgpack specification, "Formats").
 *
 * A general decoder builds what nobody sent on purpose (RegExp, Error, Set, record readers made
 * with `new Function`) and leaves the schema to be checked afterwards. Here the caller asks for
 * each token by type and bounds, so that nothing else can come into being: maps, extensions,
 * floats, booleans and negative numbers are refused as they are met, every length is checked
 * against its bound and against the input before anything is allocated, and depth is the caller's.
 */
export interface Bounds<Quantity> {
  readonly min: Quantity;
  readonly max: Quantity;
}

/** The error for what was found in `what`, where something else was expected. */
export type Refusal = (what: string, found: string) => Error;

const U64_MAX = 0xffff_ffff_ffff_ffffn;

/** By first byte: how many bytes of an unsigned integer follow. int 64 carries small bigints. */
const integerSizes: ReadonlyMap<number, number> = new Map([
  [0xcc, 1],
  [0xcd, 2],
  [0xce, 4],
  [0xcf, 8],
  [0xd3, 8],
]);

/** By first byte: how many bytes of a length follow. */
type LengthSizes = ReadonlyMap<number, 1 | 2 | 4>;
const arraySizes: LengthSizes = new Map([
  [0xdc, 2],
  [0xdd, 4],
]);
const textSizes: LengthSizes = new Map([
  [0xd9, 1],
  [0xda, 2],
  [0xdb, 4],
]);
const byteStringSizes: LengthSizes = new Map([
  [0xc4, 1],
  [0xc5, 2],
  [0xc6, 4],
]);

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A cursor over one document. Every method throws what `refuse` makes. */
export class PlainReader {
  readonly #bytes: Uint8Array;
  readonly #refuse: Refusal;
  readonly #view: DataView;
  #at = 0;

  /** @param bytes only read; what the methods return is copied out of it. */
  constructor(bytes: Uint8Array, refuse: Refusal) {
    this.#bytes = bytes;
    this.#refuse = refuse;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The length of an array whose elements come next. */
  arrayLength(what: string, { min, max }: Bounds<number>): number {
    const byte = this.#byte(what);
    const fixed = byte >= 0x90 && byte <= 0x9f ? byte - 0x90 : undefined;
    const length = fixed ?? this.#length(what, arraySizes.get(byte));
    if (length < min || length > max) {
      throw this.#refuse(what, `${length} elements where ${min} to ${max} are allowed`);
    }
    return length;
  }

  /** An array of exactly `length` elements, so that none is unknown or missing. */
  tuple(what: string, length: number): void {
    this.arrayLength(what, { min: length, max: length });
  }

  list<Element>(what: string, bounds: Bounds<number>, read: () => Element): Element[] {
    const elements: Element[] = [];
    for (let left = this.arrayLength(what, bounds); left > 0; left--) elements.push(read());
    return elements;
  }

  u64(what: string, { min, max }: Bounds<bigint> = { min: 0n, max: U64_MAX }): bigint {
    const byte = this.#byte(what);
    const value = byte <= 0x7f ? BigInt(byte) : this.#integer(what, integerSizes.get(byte));
    if (byte === 0xd3 && value > 0x7fff_ffff_ffff_ffffn)
      throw this.#refuse(what, 'a negative number');
    if (value < min || value > max) {
      throw this.#refuse(what, `${value} where ${min} to ${max} are allowed`);
    }
    return value;
  }

  /** `max` at most 2^53 - 1. */
  integer(what: string, { min, max }: Bounds<number>): number {
    return Number(this.u64(what, { min: BigInt(min), max: BigInt(max) }));
  }

  /** Text whose UTF-8 form has at most `byteLengthMax` bytes. */
  text(what: string, byteLengthMax: number): string {
    const byte = this.#byte(what);
    const fixed = byte >= 0xa0 && byte <= 0xbf ? byte - 0xa0 : undefined;
    const length = fixed ?? this.#length(what, textSizes.get(byte));
    const bytes = this.#take(what, length, { min: 0, max: byteLengthMax });
    try {
      return utf8.decode(bytes);
    } catch {
      throw this.#refuse(what, 'text that is no UTF-8');
    }
  }

  /** @returns a copy that the caller owns. */
  byteString(what: string, bounds: Bounds<number>): Uint8Array {
    const length = this.#length(what, byteStringSizes.get(this.#byte(what)));
    return Uint8Array.from(this.#take(what, length, bounds));
  }

  /** True, and past it, where nil comes next. */
  nil(): boolean {
    if (this.#bytes[this.#at] !== 0xc0) return false;
    this.#at += 1;
    return true;
  }

  /** Nothing may follow. */
  end(): void {
    const left = this.#bytes.length - this.#at;
    if (left > 0) throw this.#refuse('the whole', `${left} bytes after the end`);
  }

  #byte(what: string): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw this.#refuse(what, 'the end of the input');
    this.#at += 1;
    return byte;
  }

  #take(what: string, length: number, { min, max }: Bounds<number>): Uint8Array {
    if (length < min || length > max) {
      throw this.#refuse(what, `${length} bytes where ${min} to ${max} are allowed`);
    }
    if (length > this.#bytes.length - this.#at) throw this.#refuse(what, 'the end of the input');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #length(what: string, size: 1 | 2 | 4 | undefined): number {
    return Number(this.#integer(what, size));
  }

  #integer(what: string, size: number | undefined): bigint {
    if (size === undefined) throw this.#refuse(what, 'a value of another type');
    if (size > this.#bytes.length - this.#at) throw this.#refuse(what, 'the end of the input');
    let value = 0n;
    for (let end = this.#at + size; this.#at < end; this.#at++) {
      value = (value << 8n) | BigInt(this.#view.getUint8(this.#at));
    }
    return value;
  }
}
