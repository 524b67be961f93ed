import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RequestParser } from '../src/index.ts';
import { bytes, cut, parse, request } from './requests.ts';

const byteString = fc
  .uint8Array({ maxLength: 40 })
  .map((raw) => Buffer.from(raw).toString('latin1'));
const requests = fc.array(fc.array(byteString, { minLength: 1, maxLength: 6 }), { maxLength: 8 });
/** Garbage that gets past the first byte: pieces of the protocol in any order. */
const garbage = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '*',
        '$',
        '\r\n',
        '\r',
        '\n',
        '*1\r\n',
        '*2\r\n$1\r\na\r\n',
        '$3\r\n',
        '-1',
        '0',
      ),
      fc.constantFrom('PING\r\n', '"', "'", '\0', ' ', ':1\r\n', '*3\r\n$0\r\n\r\n', '99999999999'),
      byteString,
    ),
    { maxLength: 20 },
  )
  .map((parts) => bytes(parts.join('')));
const positions = fc.array(fc.nat(), { maxLength: 30 });

/**
 * A chunk that counts the bytes read out of it: by index, or by the methods that copy.
 * Independent of what the parser believes it does.
 */
function counted(chunk: Buffer, work: { bytes: number }): Buffer {
  return new Proxy(chunk, {
    get(target, name) {
      if (typeof name === 'string' && /^\d+$/.test(name)) {
        work.bytes++;
        return target[Number(name)];
      }
      if (name === 'copy') {
        return (to: Buffer, at: number, start: number, end: number) => {
          work.bytes += end - start;
          return target.copy(to, at, start, end);
        };
      }
      if (name === 'toString') {
        return (encoding: BufferEncoding, start: number, end: number) => {
          work.bytes += end - start;
          return target.toString(encoding, start, end);
        };
      }
      if (name === 'length') return target.length;
      throw new Error(`the parser uses ${String(name)}, which is not counted`);
    },
  });
}

function workOf(chunks: readonly Buffer[]): { bytes: number; requests: number } {
  const work = { bytes: 0 };
  const parsed = parse(chunks.map((chunk) => counted(chunk, work)));
  expect(parsed.error).toBeUndefined();
  return { bytes: work.bytes, requests: parsed.requests.length };
}

function chunksOf(stream: Buffer, length: number): Buffer[] {
  return Array.from({ length: Math.ceil(stream.length / length) }, (_, i) =>
    stream.subarray(i * length, (i + 1) * length),
  );
}

describe('chunking', () => {
  it('never changes what is parsed', () => {
    fc.assert(
      fc.property(requests, positions, (sent, at) => {
        const stream = Buffer.concat(sent.map((args) => request(...args)));
        expect(parse(cut(stream, at))).toEqual({ requests: sent });
      }),
    );
  });

  it('never changes what is parsed of garbage, nor the error it ends with', () => {
    fc.assert(
      fc.property(garbage, positions, (stream, at) => {
        const whole = parse([stream]);
        expect(parse(cut(stream, at))).toEqual(whole);
        expect(parse(chunksOf(stream, 1))).toEqual(whole);
      }),
      { numRuns: 2000 },
    );
  });

  it('may fall on every single byte of a stream', () => {
    const sent = [['SET', 'key', 'x'.repeat(300)], ['PING'], ['MSET', '', '', 'a\r\nb', '$3\r\n']];
    const stream = Buffer.concat([
      ...sent.map((args) => request(...args)),
      bytes('SET a "b c"\r\n'),
    ]);
    const expected = { requests: [...sent, ['SET', 'a', 'b c']] };
    for (let at = 0; at <= stream.length; at++) {
      expect(parse([stream.subarray(0, at), stream.subarray(at)])).toEqual(expected);
    }
  });

  it('does not matter where a reader takes requests late', () => {
    fc.assert(
      fc.property(requests, positions, fc.infiniteStream(fc.boolean()), (sent, at, take) => {
        const parser = new RequestParser();
        const got: string[][] = [];
        for (const chunk of cut(Buffer.concat(sent.map((args) => request(...args))), at)) {
          parser.feed(chunk);
          const args = take.next().value === true ? parser.next() : undefined;
          if (args !== undefined) got.push(args);
        }
        for (let args = parser.next(); args !== undefined; args = parser.next()) got.push(args);
        expect(got).toEqual(sent);
        expect(parser.heldBytes).toBeLessThan(128);
      }),
    );
  });
});

describe('work', () => {
  const cases = [
    [
      'one request of 16,000 arguments',
      request('MSET', ...Array.from({ length: 16_000 }, () => 'ab')),
    ],
    ['one argument of 4 MB', request('SET', 'k', 'x'.repeat(4 * 1024 * 1024))],
    [
      'a pipeline of 10,000 requests',
      Buffer.concat(Array(10_000).fill(request('SET', 'key', 'val'))),
    ],
    ['an inline line of 64 KB', bytes(`${'x'.repeat(65_000)}\r\n`)],
    ['10,000 inline lines', bytes('GET a\r\n'.repeat(10_000))],
  ] as const;

  it.each(cases)('of %s is linear in its bytes, whatever the chunks', (_name, stream) => {
    for (const length of [stream.length, 65_536, 1460, 7]) {
      if (stream.length / length > 200_000) continue;
      const work = workOf(chunksOf(stream, length));
      expect(work.bytes).toBeLessThan(3 * stream.length);
      expect(work.requests).toBeGreaterThan(0);
    }
  });
});
