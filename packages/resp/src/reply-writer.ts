/**
 * Encodes replies into one growing buffer per connection, so that all replies of a tick leave in
 * one write. RESP2 has no maps, sets, doubles, booleans or verbatim strings: they become flat
 * arrays, arrays, bulk strings, the integers 1 and 0, and bulk strings, as Redis does it.
 *
 * Invariant: bytes handed out by `take()` are not written to again before `release()`.
 */
import type { ByteString, Reply, TaggedReply } from '@raftseal/interface';

export type RespVersion = 2 | 3;

const CR = 13;
const LF = 10;
const DOLLAR = 36;
const MINUS = 45;
const DIGIT_0 = 48;
const COLON = 58;

/** Size of the first buffer of a writer; made with the first reply. */
const BYTES_MIN = 1024;
/** A larger buffer is given back once its bytes were sent. */
const KEPT_BYTES_MAX = 64 * 1024;
/** Longer strings are written by a call into C++, shorter ones char by char. */
const SHORT_LENGTH = 16;
/** `$` or `*`, a length of up to ten digits, `\r\n`, and the `\r\n` after the bytes. */
const FRAME_BYTES_MAX = 16;

/** What the two versions encode differently. */
type CollectionReply = Exclude<TaggedReply, { kind: 'simple' | 'error' }>;

const empty: Buffer = Buffer.alloc(0);

export class ReplyWriter {
  /** The version that replies are encoded in from now on. */
  version: RespVersion = 2;

  #buffer: Buffer = empty;
  #length = 0;
  #taken: Buffer | undefined;

  /** Encoded bytes that were not taken. */
  get length(): number {
    return this.#length;
  }

  /** Bytes of memory held. */
  get capacity(): number {
    return this.#buffer.length + (this.#taken?.length ?? 0);
  }

  /** Encodes one reply of any kind. Throws RangeError for a number that is no safe integer. */
  reply(reply: Reply): void {
    if (typeof reply === 'string') this.bulk(reply);
    else if (typeof reply === 'number') this.integer(reply);
    else if (reply === null) this.null();
    else if (typeof reply === 'bigint') this.#bigInteger(reply);
    else if (typeof reply === 'boolean') this.#boolean(reply);
    else if ('kind' in reply) this.#tagged(reply);
    else {
      this.#head('*', reply.length);
      for (const item of reply) this.reply(item);
    }
  }

  /** `+<text>`; line breaks in the text become blanks. */
  simple(text: string): void {
    this.#text(`+${oneLine(text)}\r\n`);
  }

  /** `-<text>`; `text` starts with the error's code word. */
  error(text: string): void {
    this.#text(`-${oneLine(text)}\r\n`);
  }

  /** Throws RangeError for a number that is no safe integer. */
  integer(value: number): void {
    if (!Number.isSafeInteger(value)) {
      throw new RangeError(`an integer reply must be a safe integer, found ${value}`);
    }
    if (value >= 0 && value <= 9) {
      this.#reserve(4);
      const buffer = this.#buffer;
      buffer[this.#length++] = COLON;
      buffer[this.#length++] = DIGIT_0 + value;
      buffer[this.#length++] = CR;
      buffer[this.#length++] = LF;
      return;
    }
    this.#text(`:${value}\r\n`);
  }

  /** A bulk string: one byte per char code. */
  bulk(value: ByteString): void {
    const length = value.length;
    this.#reserve(length + FRAME_BYTES_MAX);
    this.#buffer[this.#length++] = DOLLAR;
    this.#decimal(length);
    this.#chars(value);
    this.#lineEnd();
  }

  /** The null bulk string of RESP2, the null of RESP3. */
  null(): void {
    if (this.version === 3) {
      this.#text('_\r\n');
      return;
    }
    this.#reserve(5);
    const buffer = this.#buffer;
    buffer[this.#length++] = DOLLAR;
    buffer[this.#length++] = MINUS;
    buffer[this.#length++] = DIGIT_0 + 1;
    buffer[this.#length++] = CR;
    buffer[this.#length++] = LF;
  }

  /**
   * All encoded bytes, in order. They stay as they are until `release()`; what is encoded
   * meanwhile goes elsewhere. Throws while bytes taken before are not released.
   */
  take(): Buffer {
    if (this.#taken !== undefined) throw new Error('the bytes taken before were not released');
    const bytes = this.#buffer.subarray(0, this.#length);
    this.#taken = this.#buffer;
    this.#buffer = empty;
    this.#length = 0;
    return bytes;
  }

  /** Gives the taken bytes back for reuse: nobody reads them any more. */
  release(): void {
    const taken = this.#taken;
    this.#taken = undefined;
    if (taken === undefined || taken.length > KEPT_BYTES_MAX) return;
    if (this.#length === 0) this.#buffer = taken;
  }

  /** Drops what was encoded but not taken. */
  discard(): void {
    this.#length = 0;
    if (this.#buffer.length > KEPT_BYTES_MAX) this.#buffer = empty;
  }

  #tagged(reply: TaggedReply): void {
    if (reply.kind === 'simple') this.simple(reply.text);
    else if (reply.kind === 'error') this.error(reply.text);
    else if (this.version === 3) this.#tagged3(reply);
    else this.#tagged2(reply);
  }

  #tagged2(reply: CollectionReply): void {
    switch (reply.kind) {
      case 'null-array':
        this.#text('*-1\r\n');
        break;
      case 'double':
      case 'verbatim':
        this.bulk(reply.text);
        break;
      case 'set':
        this.reply(reply.items);
        break;
      case 'map':
      case 'pairs':
        this.#head('*', reply.entries.length * 2);
        this.#pairs(reply.entries);
        break;
    }
  }

  #tagged3(reply: CollectionReply): void {
    switch (reply.kind) {
      case 'null-array':
        this.#text('_\r\n');
        break;
      case 'double':
        this.#text(`,${oneLine(reply.text)}\r\n`);
        break;
      case 'verbatim':
        this.#head('=', reply.text.length + 4);
        this.#text(`${reply.format}:${reply.text}\r\n`);
        break;
      case 'set':
        this.#head('~', reply.items.length);
        for (const item of reply.items) this.reply(item);
        break;
      case 'map':
        this.#head('%', reply.entries.length);
        this.#pairs(reply.entries);
        break;
      case 'pairs':
        this.#head('*', reply.entries.length);
        for (const pair of reply.entries) this.reply(pair);
        break;
    }
  }

  #pairs(entries: readonly (readonly [Reply, Reply])[]): void {
    for (const [key, value] of entries) {
      this.reply(key);
      this.reply(value);
    }
  }

  #boolean(value: boolean): void {
    if (this.version === 3) this.#text(value ? '#t\r\n' : '#f\r\n');
    else this.integer(value ? 1 : 0);
  }

  #bigInteger(value: bigint): void {
    const fits = BigInt.asIntN(64, value) === value;
    if (!fits && this.version === 2) this.bulk(`${value}`);
    else this.#text(`${fits ? ':' : '('}${value}\r\n`);
  }

  #head(type: string, count: number): void {
    this.#text(`${type}${count}\r\n`);
  }

  #text(text: string): void {
    this.#reserve(text.length);
    this.#chars(text);
  }

  /** Room must be reserved. */
  #chars(text: string): void {
    const length = text.length;
    if (length > SHORT_LENGTH) {
      this.#length += this.#buffer.write(text, this.#length, length, 'latin1');
      return;
    }
    const buffer = this.#buffer;
    let at = this.#length;
    for (let i = 0; i < length; i++) buffer[at++] = text.charCodeAt(i);
    this.#length = at;
  }

  /** A length and its `\r\n`; room must be reserved. */
  #decimal(value: number): void {
    if (value >= 1000) {
      this.#chars(`${value}`);
    } else {
      if (value >= 100) this.#buffer[this.#length++] = DIGIT_0 + Math.floor(value / 100);
      if (value >= 10) this.#buffer[this.#length++] = DIGIT_0 + (Math.floor(value / 10) % 10);
      this.#buffer[this.#length++] = DIGIT_0 + (value % 10);
    }
    this.#lineEnd();
  }

  #lineEnd(): void {
    this.#buffer[this.#length++] = CR;
    this.#buffer[this.#length++] = LF;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#buffer.length, BYTES_MIN));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}

/** Keeps a text from ending its line early, as Redis does. */
function oneLine(text: string): string {
  return /[\r\n]/.test(text) ? text.replace(/[\r\n]/g, ' ') : text;
}
