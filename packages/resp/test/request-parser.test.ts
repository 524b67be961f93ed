import { errorCodes } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { ProtocolError, RequestParser } from '../src/index.ts';
import { bytes, parse, request } from './requests.ts';

function errorOf(text: string, parser = new RequestParser()): ProtocolError {
  parser.feed(bytes(text));
  try {
    while (parser.next() !== undefined);
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error('expected a protocol error, found none');
}

describe('requests', () => {
  it('come as arrays of byte strings', () => {
    const every = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
    expect(parse([request('SET', 'k', every), request('GET', '')])).toEqual({
      requests: [
        ['SET', 'k', every],
        ['GET', ''],
      ],
    });
  });

  it('come inline and as arrays in one stream', () => {
    const stream = 'PING\r\n\r\n  \n*1\r\n$4\r\nQUIT\r\nSET a "b c"\n*0\r\n*-1\r\nGET a\r\n';
    expect(parse([bytes(stream)]).requests).toEqual([
      ['PING'],
      ['QUIT'],
      ['SET', 'a', 'b c'],
      ['GET', 'a'],
    ]);
  });

  it('skip an array of a length below one', () => {
    expect(parse([bytes('*-9223372036854775808\r\n*-17\r\n*0\r\nPING\r\n')]).requests).toEqual([
      ['PING'],
    ]);
  });

  it('are whole only with the two bytes after the last argument, whatever those are', () => {
    const parser = new RequestParser();
    parser.feed(bytes('*1\r\n$4\r\nPING'));
    expect(parser.next()).toBeUndefined();
    parser.feed(bytes('x'));
    expect(parser.next()).toBeUndefined();
    parser.feed(bytes('y'));
    expect(parser.next()).toEqual(['PING']);
  });

  it('are returned one by one, so that a reader can stop between them', () => {
    const parser = new RequestParser();
    parser.feed(Buffer.concat([request('A'), request('B')]));
    parser.feed(request('C'));
    expect(parser.next()).toEqual(['A']);
    expect(parser.unreadBytes).toBe(request('B').length + request('C').length);
    expect(parser.unreadChunks).toBe(2);
    parser.feed(request('D'));
    expect([parser.next(), parser.next(), parser.next(), parser.next()]).toEqual([
      ['B'],
      ['C'],
      ['D'],
      undefined,
    ]);
    expect(parser.unreadBytes).toBe(0);
    expect(parser.unreadChunks).toBe(0);
  });
});

describe('a malformed stream', () => {
  it.each([
    ['*x\r\n', 'invalid multibulk length', 'RAFTSEAL_RESP_ARRAY_LENGTH'],
    ['*\r\n', 'invalid multibulk length', 'RAFTSEAL_RESP_ARRAY_LENGTH'],
    ['*01\r\n', 'invalid multibulk length', 'RAFTSEAL_RESP_ARRAY_LENGTH'],
    ['*+1\r\n', 'invalid multibulk length', 'RAFTSEAL_RESP_ARRAY_LENGTH'],
    ['*1048577\r\n', 'invalid multibulk length', 'RAFTSEAL_RESP_ARRAY_LENGTH'],
    ['*2147483648\r\n', 'invalid multibulk length', 'RAFTSEAL_RESP_ARRAY_LENGTH'],
    ['*-9223372036854775809\r\n', 'invalid multibulk length', 'RAFTSEAL_RESP_ARRAY_LENGTH'],
    ['*99999999999999999999\r\n', 'invalid multibulk length', 'RAFTSEAL_RESP_ARRAY_LENGTH'],
    ['*1\r\n:5\r\n', "expected '$', got ':'", 'RAFTSEAL_RESP_BULK_EXPECTED'],
    ['*1\r\n*1\r\n', "expected '$', got '*'", 'RAFTSEAL_RESP_BULK_EXPECTED'],
    ['*1\r\n\r\n', "expected '$', got ' '", 'RAFTSEAL_RESP_BULK_EXPECTED'],
    ['*1\r\n$\r\n', 'invalid bulk length', 'RAFTSEAL_RESP_BULK_LENGTH'],
    ['*1\r\n$-1\r\n', 'invalid bulk length', 'RAFTSEAL_RESP_BULK_LENGTH'],
    ['*1\r\n$4x\r\n', 'invalid bulk length', 'RAFTSEAL_RESP_BULK_LENGTH'],
    ['*1\r\n$2000000000\r\n', 'invalid bulk length', 'RAFTSEAL_RESP_BULK_LENGTH'],
    ['*1\r\n$4294967296\r\n', 'invalid bulk length', 'RAFTSEAL_RESP_BULK_LENGTH'],
    ['SET a "b\r\n', 'unbalanced quotes in request', 'RAFTSEAL_RESP_UNBALANCED_QUOTES'],
    [`${'x'.repeat(65537)}`, 'too big inline request', 'RAFTSEAL_RESP_INLINE_TOO_LONG'],
    [`\0\n${'x'.repeat(65536)}`, 'too big inline request', 'RAFTSEAL_RESP_INLINE_TOO_LONG'],
    [`*${'1'.repeat(65536)}`, 'too big mbulk count string', 'RAFTSEAL_RESP_HEADER_TOO_LONG'],
    [`*1\r\n${'1'.repeat(65537)}`, 'too big bulk count string', 'RAFTSEAL_RESP_HEADER_TOO_LONG'],
  ])('%# is answered as Redis does, with a code', (stream, text, code) => {
    const error = errorOf(stream);
    expect(error.reply).toBe(`ERR Protocol error: ${text}`);
    expect(error.code).toBe(code);
    expect(Object.keys(errorCodes)).toContain(code);
    expect(parse([...bytes(stream)].map((byte) => Buffer.of(byte))).error).toBe(error.reply);
  });

  it('ends the parser: the same error comes for ever and nothing is held', () => {
    const parser = new RequestParser();
    const error = errorOf('*1\r\nx\r\nPING\r\n', parser);
    parser.feed(Buffer.alloc(0));
    expect(() => parser.next()).toThrow(error);
    expect(parser.heldBytes).toBe(0);
  });

  it('is named in the message without a byte of what was sent', () => {
    expect(errorOf('*1\r\nQ\r\n').message).not.toContain('Q');
  });
});

describe('limits', () => {
  it('take a line of exactly the longest length, and no longer one', () => {
    const limits = { inlineBytesMax: 10 };
    expect(parse([bytes('0123456789\n')], limits)).toEqual({ requests: [['0123456789']] });
    expect(parse([bytes('0123456789x\n')], limits).error).toMatch(/too big inline request/);
  });

  it('take a bulk string of exactly the longest length, and no longer one', () => {
    const limits = { bulkBytesMax: 5 };
    expect(parse([request('12345')], limits)).toEqual({ requests: [['12345']] });
    expect(parse([request('123456')], limits).error).toMatch(/invalid bulk length/);
  });

  it('count the arguments and the bytes of a whole request', () => {
    expect(parse([request('a', 'b', 'c')], { argumentsMax: 2 }).error).toMatch(/multibulk length/);
    const sum = { requestBytesMax: 6 };
    expect(parse([request('abc', 'def'), request('abc', 'def')], sum).requests).toHaveLength(2);
    expect(parse([request('abc', 'defg')], sum).error).toBe('ERR Protocol error: too big request');
  });

  it('are lower before authentication, and switch between two requests of one chunk', () => {
    const large = request('SET', 'k', 'x'.repeat(16 * 1024 + 1));
    const wide = request(...Array.from({ length: 11 }, () => 'a'));
    const closed = new RequestParser();
    closed.authenticated = false;
    expect(parse([large], {}, closed).error).toBe(
      'ERR Protocol error: unauthenticated bulk length',
    );
    const other = new RequestParser();
    other.authenticated = false;
    expect(parse([wide], {}, other).error).toBe(
      'ERR Protocol error: unauthenticated multibulk length',
    );
    const parser = new RequestParser();
    parser.authenticated = false;
    parser.feed(Buffer.concat([request('AUTH', 'x'), large, wide]));
    expect(parser.next()).toEqual(['AUTH', 'x']);
    parser.authenticated = true;
    expect(parser.next()).toHaveLength(3);
    expect(parser.next()).toHaveLength(11);
  });

  it('are checked when the parser is made', () => {
    expect(() => new RequestParser({ bulkBytesMax: 0 })).toThrow(RangeError);
    expect(() => new RequestParser({ argumentsMax: 1.5 })).toThrow(RangeError);
    expect(() => new RequestParser({ bulkBytesMax: 2 ** 31 })).toThrow(RangeError);
  });

  it('HAZARD: an announced length allocates nothing before its bytes are here', () => {
    const parser = new RequestParser();
    parser.feed(bytes('*1048576\r\n$536870000\r\nabc'));
    expect(parser.next()).toBeUndefined();
    expect(parser.heldBytes).toBeLessThan(1024);
  });
});
