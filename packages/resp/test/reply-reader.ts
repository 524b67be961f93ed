/** A strict decoder of RESP2 and RESP3 replies, so that the writer is read back by other code. */
import type { Reply } from '@raftseal/interface';

export class ReplyReader {
  #at = 0;
  readonly #text: string;

  constructor(bytes: Buffer) {
    this.#text = bytes.toString('latin1');
  }

  get atEnd(): boolean {
    return this.#at === this.#text.length;
  }

  read(): Reply {
    const type = this.#text.charAt(this.#at++);
    if (type === '$' || type === '=') return this.#bulk(type);
    const line = this.#line();
    switch (type) {
      case '+':
        return { kind: 'simple', text: line };
      case '-':
        return { kind: 'error', text: line };
      case ':':
        return whole(line);
      case '(':
        return BigInt(line);
      case ',':
        return { kind: 'double', text: line };
      case '#':
        return line === 't' || (line === 'f' ? false : fail(`boolean ${line}`));
      case '_':
        return null;
      case '*':
        return line === '-1' ? { kind: 'null-array' } : this.#items(Number(line));
      case '~':
        return { kind: 'set', items: this.#items(Number(line)) };
      case '%':
        return {
          kind: 'map',
          entries: Array.from({ length: Number(line) }, () => [this.read(), this.read()] as const),
        };
      default:
        return fail(`type ${JSON.stringify(type)} at ${this.#at - 1}`);
    }
  }

  #items(count: number): Reply[] {
    return Array.from({ length: count }, () => this.read());
  }

  #bulk(type: '$' | '='): Reply {
    const length = Number(this.#line());
    if (length === -1) return null;
    const text = this.#text.slice(this.#at, this.#at + length);
    if (text.length !== length) fail('the end inside a bulk string');
    this.#at += length;
    if (this.#line() !== '') fail('bytes after a bulk string');
    if (type === '$') return text;
    return {
      kind: 'verbatim',
      format: text.startsWith('mkd') ? 'mkd' : 'txt',
      text: text.slice(4),
    };
  }

  #line(): string {
    const end = this.#text.indexOf('\r\n', this.#at);
    if (end < 0) fail('the end inside a line');
    const line = this.#text.slice(this.#at, end);
    this.#at = end + 2;
    return line;
  }
}

function whole(line: string): number | bigint {
  const value = BigInt(line);
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function fail(found: string): never {
  throw new Error(`malformed reply: ${found}`);
}
