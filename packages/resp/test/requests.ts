/** Requests as clients send them, and what a parser makes of a stream. */
import type { ByteString } from '@raftseal/interface';
import { ProtocolError, type RequestLimits, RequestParser } from '../src/index.ts';

/** The array form of one request. */
export function request(...args: readonly ByteString[]): Buffer {
  const bulks = args.map((arg) => `$${arg.length}\r\n${arg}\r\n`).join('');
  return bytes(`*${args.length}\r\n${bulks}`);
}

export function bytes(text: ByteString): Buffer {
  return Buffer.from(text, 'latin1');
}

/** Cuts a stream at the given positions. */
export function cut(stream: Buffer, positions: readonly number[]): Buffer[] {
  const sorted = [...new Set(positions.map((at) => at % (stream.length + 1)))].sort(
    (a, b) => a - b,
  );
  const bounds = [0, ...sorted, stream.length];
  return bounds.slice(1).map((end, i) => stream.subarray(bounds[i], end));
}

export interface Parsed {
  readonly requests: ByteString[][];
  /** The error's reply, if the stream ended in one. */
  readonly error?: string;
}

/** Feeds chunks and takes every request as soon as it is whole. */
export function parse(
  chunks: readonly Buffer[],
  limits?: Partial<RequestLimits>,
  parser: RequestParser = new RequestParser(limits),
): Parsed {
  const requests: ByteString[][] = [];
  try {
    for (const chunk of chunks) {
      parser.feed(chunk);
      for (let args = parser.next(); args !== undefined; args = parser.next()) requests.push(args);
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { requests, error: error.reply };
  }
  return { requests };
}
