/**
 * Turns the bytes of one client into requests. Two forms, as Redis 7 takes them:
 *
 * | form | bytes |
 * | --- | --- |
 * | array | `*<n>\r\n`, then n times `$<length>\r\n<bytes>\r\n`; n below 1 is skipped |
 * | inline | a line of words, see `inline-arguments.ts`; an empty line is skipped |
 *
 * Invariants:
 * - Every byte is looked at once and copied at most three times, however the stream is cut into
 *   chunks: what is unfinished is kept as state, never scanned again.
 * - Nothing is allocated for a length that was only announced: memory follows the bytes received.
 * - As in Redis, the two bytes that end a bulk string and the one after `\r` are not looked at, and
 *   a line that contains a NUL never ends.
 */
import type { ByteString } from '@raftseal/interface';
import { inlineArguments } from './inline-arguments.ts';
import { ProtocolError, type ProtocolErrorCode } from './protocol-error.ts';
import { type RequestLimits, requestLimits, unauthenticatedLimits } from './request-limits.ts';

const NUL = 0;
const LF = 10;
const CR = 13;
const DOLLAR = 36;
const STAR = 42;
const DIGIT_0 = 48;

/** What the next byte is part of. */
const START = 0;
const INLINE = 1;
const ARRAY_HEADER = 2;
const BULK_HEADER = 3;
const BULK = 4;
type Stage = typeof START | typeof INLINE | typeof ARRAY_HEADER | typeof BULK_HEADER | typeof BULK;

/** What an argument costs beside its bytes, for {@link RequestParser.heldBytes}. */
const ARGUMENT_OVERHEAD_BYTES = 32;
/** Smallest buffer for an unfinished part; larger ones are given back once they are read. */
const PART_BYTES_MIN = 64;

const empty: Buffer = Buffer.alloc(0);

export class RequestParser {
  /** While false, the limits of a client that has not authenticated apply as well. */
  authenticated = true;

  readonly #limits: RequestLimits;
  #chunk: Buffer = empty;
  #at = 0;
  /** Chunks after the current one, in order. */
  #later: Buffer[] = [];
  #laterAt = 0;
  #laterBytes = 0;

  #stage: Stage = START;
  /** The start of a line or bulk string that goes on in a later chunk. */
  #part: Buffer = empty;
  #partLength = 0;
  /** A line: its `\r` was seen, one more byte belongs to it. */
  #sawReturn = false;
  /** A line: it contains a NUL. */
  #sawNul = false;
  #args: ByteString[] = [];
  #argsMissing = 0;
  #argsBytes = 0;
  /** Length of the bulk string, and how many of its two closing bytes were passed. */
  #bulkLength = 0;
  #bulkClosed = 0;
  #failure: ProtocolError | undefined;

  constructor(limits: Partial<RequestLimits> = {}) {
    this.#limits = requestLimits(limits);
  }

  /** Bytes held for requests that were not returned yet: an estimate of what this client costs. */
  get heldBytes(): number {
    return (
      this.unreadBytes +
      this.#part.length +
      this.#argsBytes +
      this.#args.length * ARGUMENT_OVERHEAD_BYTES
    );
  }

  /** Bytes fed but not parsed yet. */
  get unreadBytes(): number {
    return this.#chunk.length - this.#at + this.#laterBytes;
  }

  /** Chunks fed but not parsed to their end. */
  get unreadChunks(): number {
    return this.#later.length - this.#laterAt + (this.#at < this.#chunk.length ? 1 : 0);
  }

  /** Hands over the next bytes of the stream. The chunk must stay unchanged; it is not copied. */
  feed(chunk: Buffer): void {
    if (this.#at >= this.#chunk.length && this.#laterBytes === 0) {
      this.#chunk = chunk;
      this.#at = 0;
    } else {
      this.#later.push(chunk);
      this.#laterBytes += chunk.length;
    }
  }

  /**
   * The next request: the command's name and its arguments, never empty; undefined where more
   * bytes are needed. The caller owns the array.
   * @throws ProtocolError where the stream cannot be followed; the same one ever after.
   */
  next(): ByteString[] | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    while (this.#at < this.#chunk.length || this.#advance()) {
      switch (this.#stage) {
        case START:
          this.#stage = this.#chunk[this.#at] === STAR ? ARRAY_HEADER : INLINE;
          break;
        case INLINE: {
          const args = this.#inline();
          if (args !== undefined && args.length > 0) return args;
          break;
        }
        case ARRAY_HEADER:
          this.#arrayHeader();
          break;
        case BULK_HEADER:
          this.#bulkHeader();
          break;
        case BULK:
          if (this.#bulk() && this.#argsMissing === 0) return this.#complete();
          break;
      }
    }
    return undefined;
  }

  #advance(): boolean {
    this.#chunk = empty;
    this.#at = 0;
    const next = this.#later[this.#laterAt];
    if (next === undefined) return false;
    this.#chunk = next;
    this.#laterBytes -= next.length;
    this.#laterAt++;
    if (this.#laterAt === this.#later.length) {
      this.#later = [];
      this.#laterAt = 0;
    }
    return true;
  }

  #fail(code: ProtocolErrorCode, text: string, expected: string, detail = ''): never {
    this.#failure = new ProtocolError(code, { text, expected, detail });
    this.#chunk = empty;
    this.#at = 0;
    this.#later = [];
    this.#laterAt = 0;
    this.#laterBytes = 0;
    this.#part = empty;
    this.#args = [];
    this.#argsBytes = 0;
    throw this.#failure;
  }

  #complete(): ByteString[] {
    const args = this.#args;
    this.#args = [];
    this.#argsBytes = 0;
    this.#stage = START;
    return args;
  }

  #inline(): ByteString[] | undefined {
    const line = this.#line(LF, 'RAFTSEAL_RESP_INLINE_TOO_LONG', 'too big inline request');
    if (line === undefined) return undefined;
    const args = inlineArguments(line.endsWith('\r') ? line.slice(0, -1) : line);
    if (args === undefined) {
      this.#fail(
        'RAFTSEAL_RESP_UNBALANCED_QUOTES',
        'unbalanced quotes in request',
        'every quote to be closed, and a blank after it',
      );
    }
    this.#stage = START;
    return args;
  }

  #arrayHeader(): void {
    let count = this.#shortLength(STAR);
    if (count < 0) {
      const line = this.#line(CR, 'RAFTSEAL_RESP_HEADER_TOO_LONG', 'too big mbulk count string');
      if (line === undefined) return;
      count = lengthOf(line.slice(1));
    }
    if (Number.isNaN(count) || count > this.#limits.argumentsMax) {
      this.#fail(
        'RAFTSEAL_RESP_ARRAY_LENGTH',
        'invalid multibulk length',
        `a whole number of at most ${this.#limits.argumentsMax}`,
      );
    }
    if (!this.authenticated && count > unauthenticatedLimits.argumentsMax) {
      this.#fail(
        'RAFTSEAL_RESP_UNAUTHENTICATED_LENGTH',
        'unauthenticated multibulk length',
        `at most ${unauthenticatedLimits.argumentsMax} arguments before AUTH`,
      );
    }
    this.#argsMissing = count;
    this.#stage = count > 0 ? BULK_HEADER : START;
  }

  #bulkHeader(): void {
    let length = this.#shortLength(DOLLAR);
    if (length < 0) {
      const line = this.#line(CR, 'RAFTSEAL_RESP_HEADER_TOO_LONG', 'too big bulk count string');
      if (line === undefined) return;
      if (!line.startsWith('$')) this.#failExpected(line.charAt(0));
      length = lengthOf(line.slice(1));
    }
    if (!(length >= 0 && length <= this.#limits.bulkBytesMax)) {
      this.#fail(
        'RAFTSEAL_RESP_BULK_LENGTH',
        'invalid bulk length',
        `a whole number of 0 to ${this.#limits.bulkBytesMax}`,
      );
    }
    if (!this.authenticated && length > unauthenticatedLimits.bulkBytesMax) {
      this.#fail(
        'RAFTSEAL_RESP_UNAUTHENTICATED_LENGTH',
        'unauthenticated bulk length',
        `at most ${unauthenticatedLimits.bulkBytesMax} bytes per argument before AUTH`,
      );
    }
    if (this.#argsBytes + length > this.#limits.requestBytesMax) {
      this.#fail(
        'RAFTSEAL_RESP_REQUEST_TOO_LARGE',
        'too big request',
        `arguments of at most ${this.#limits.requestBytesMax} bytes together`,
      );
    }
    this.#bulkLength = length;
    this.#bulkClosed = 0;
    this.#stage = BULK;
  }

  #failExpected(found: string): never {
    // Redis shows the byte; a line break in a reply becomes a blank.
    const shown = found === '\n' || found === '' ? ' ' : found;
    this.#fail('RAFTSEAL_RESP_BULK_EXPECTED', "expected '$'", "a '$'", `, got '${shown}'`);
  }

  /** Reads what is here of a bulk string; true once it is among the arguments. */
  #bulk(): boolean {
    const chunk = this.#chunk;
    const start = this.#at;
    const length = this.#bulkLength;
    if (this.#partLength === 0 && this.#bulkClosed === 0 && start + length + 2 <= chunk.length) {
      this.#at = start + length + 2;
      this.#push(
        length === 3 ? threeBytes(chunk, start) : chunk.toString('latin1', start, start + length),
      );
      return true;
    }
    const missing = length - this.#partLength;
    const end = Math.min(start + missing, chunk.length);
    this.#keep(start, end);
    const closing = Math.min(2 - this.#bulkClosed, chunk.length - end);
    this.#bulkClosed += closing;
    this.#at = end + closing;
    if (this.#bulkClosed < 2) return false;
    this.#push(this.#takePart());
    return true;
  }

  #push(arg: ByteString): void {
    this.#args.push(arg);
    this.#argsBytes += arg.length;
    this.#argsMissing--;
    this.#stage = BULK_HEADER;
  }

  /**
   * The length in a header that lies wholly in this chunk and is written in at most nine digits;
   * -1, and nothing read, where {@link #line} has to look.
   */
  #shortLength(marker: number): number {
    if (this.#partLength > 0 || this.#sawReturn) return -1;
    const chunk = this.#chunk;
    const first = this.#at + 1;
    // One byte after the `\r` must be here too.
    const end = Math.min(chunk.length - 1, first + 10);
    if (chunk[first - 1] !== marker) return -1;
    let value = 0;
    let at = first;
    for (; at < end; at++) {
      const digit = (chunk[at] as number) - DIGIT_0;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    if (at === first || at >= end || chunk[at] !== CR) return -1;
    if (chunk[first] === DIGIT_0 && at > first + 1) return -1;
    this.#at = at + 2;
    return value;
  }

  /** Reads what is here of a line; its text without the terminator once it has ended. */
  #line(
    terminator: typeof LF | typeof CR,
    code: 'RAFTSEAL_RESP_INLINE_TOO_LONG' | 'RAFTSEAL_RESP_HEADER_TOO_LONG',
    text: string,
  ): string | undefined {
    if (this.#sawReturn) {
      this.#at++;
      this.#sawReturn = false;
      return this.#takePart();
    }
    const chunk = this.#chunk;
    const start = this.#at;
    const bytesMax = this.#limits.inlineBytesMax;
    const end = Math.min(chunk.length, start + bytesMax - this.#partLength + 1);
    let at = start;
    while (at < end && chunk[at] !== terminator && !this.#sawNul) {
      if (chunk[at] === NUL) this.#sawNul = true;
      else at++;
    }
    if (this.#sawNul) at = end;
    this.#keep(start, at);
    if (this.#partLength > bytesMax) this.#fail(code, text, `a line of at most ${bytesMax} bytes`);
    this.#at = at;
    if (at === end) return undefined;
    this.#at = at + 1;
    if (terminator === LF) return this.#takePart();
    this.#sawReturn = true;
    return undefined;
  }

  /** Appends bytes of this chunk to the unfinished part; the buffer doubles as it fills. */
  #keep(start: number, end: number): void {
    const length = this.#partLength + end - start;
    if (length > this.#part.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.#part.length, PART_BYTES_MIN));
      this.#part.copy(grown, 0, 0, this.#partLength);
      this.#part = grown;
    }
    this.#chunk.copy(this.#part, this.#partLength, start, end);
    this.#partLength = length;
  }

  #takePart(): string {
    const text = this.#part.toString('latin1', 0, this.#partLength);
    this.#partLength = 0;
    if (this.#part.length > PART_BYTES_MIN) this.#part = empty;
    return text;
  }
}

/** Three-letter names (GET, SET, DEL) are the most frequent arguments: no call into C++ for them. */
function threeBytes(chunk: Buffer, at: number): ByteString {
  return String.fromCharCode(chunk[at] as number, chunk[at + 1] as number, chunk[at + 2] as number);
}

/** The number that a header announces; NaN where Redis' string2ll() refuses the text. */
function lengthOf(digits: string): number {
  if (!/^(0|-?[1-9][0-9]{0,18})$/.test(digits)) return Number.NaN;
  const value = BigInt(digits);
  return value < -(2n ** 63n) || value >= 2n ** 63n ? Number.NaN : Number(value);
}
