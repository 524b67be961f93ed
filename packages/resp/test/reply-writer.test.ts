import type { Reply } from '@raftseal/interface';
import { errorReply, nullArrayReply, okReply } from '@raftseal/interface';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReplyWriter, type RespVersion } from '../src/index.ts';
import { ReplyReader } from './reply-reader.ts';

function encode(version: RespVersion, ...replies: Reply[]): string {
  const writer = new ReplyWriter();
  writer.version = version;
  for (const reply of replies) writer.reply(reply);
  expect(writer.length).toBe(writer.take().length);
  writer.release();
  for (const reply of replies) writer.reply(reply);
  return writer.take().toString('latin1');
}

const map: Reply = { kind: 'map', entries: [['a', 1]] };
const pairs: Reply = { kind: 'pairs', entries: [['a', 1]] };
const set: Reply = { kind: 'set', items: ['a'] };
const verbatim: Reply = { kind: 'verbatim', format: 'txt', text: 'some\ntext' };

describe('encoding', () => {
  it.each<[Reply, string, string]>([
    [okReply, '+OK\r\n', '+OK\r\n'],
    [errorReply('ERR no'), '-ERR no\r\n', '-ERR no\r\n'],
    [errorReply('ERR a\r\n+OK'), '-ERR a  +OK\r\n', '-ERR a  +OK\r\n'],
    ['', '$0\r\n\r\n', '$0\r\n\r\n'],
    ['\xff\0\r\n', '$4\r\n\xff\0\r\n\r\n', '$4\r\n\xff\0\r\n\r\n'],
    [0, ':0\r\n', ':0\r\n'],
    [9, ':9\r\n', ':9\r\n'],
    [-1, ':-1\r\n', ':-1\r\n'],
    [1234567, ':1234567\r\n', ':1234567\r\n'],
    [9223372036854775807n, ':9223372036854775807\r\n', ':9223372036854775807\r\n'],
    [2n ** 64n, '$20\r\n18446744073709551616\r\n', '(18446744073709551616\r\n'],
    [null, '$-1\r\n', '_\r\n'],
    [nullArrayReply, '*-1\r\n', '_\r\n'],
    [true, ':1\r\n', '#t\r\n'],
    [false, ':0\r\n', '#f\r\n'],
    [[], '*0\r\n', '*0\r\n'],
    [
      ['a', [1, null]],
      '*2\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n',
      '*2\r\n$1\r\na\r\n*2\r\n:1\r\n_\r\n',
    ],
    [map, '*2\r\n$1\r\na\r\n:1\r\n', '%1\r\n$1\r\na\r\n:1\r\n'],
    [pairs, '*2\r\n$1\r\na\r\n:1\r\n', '*1\r\n*2\r\n$1\r\na\r\n:1\r\n'],
    [set, '*1\r\n$1\r\na\r\n', '~1\r\n$1\r\na\r\n'],
    [{ kind: 'double', text: '1.5' }, '$3\r\n1.5\r\n', ',1.5\r\n'],
    [verbatim, '$9\r\nsome\ntext\r\n', '=13\r\ntxt:some\ntext\r\n'],
  ])('%# is that of RESP2 and of RESP3', (reply, resp2, resp3) => {
    expect(encode(2, reply)).toBe(resp2);
    expect(encode(3, reply)).toBe(resp3);
  });

  it('refuses numbers that are no safe integers', () => {
    expect(() => encode(2, 1.5)).toThrow(RangeError);
    expect(() => encode(3, 2 ** 53)).toThrow(RangeError);
  });

  it('is read back by an independent decoder', () => {
    const text = fc.uint8Array({ maxLength: 30 }).map((raw) => Buffer.from(raw).toString('latin1'));
    const line = text.map((raw) => raw.replace(/[\r\n]/g, ''));
    const { reply } = fc.letrec<{ reply: Reply; item: Reply }>((tie) => ({
      reply: fc.oneof(
        { maxDepth: 4 },
        text,
        fc.maxSafeInteger(),
        fc.constantFrom<Reply>(null, true, false, okReply, ''),
        line.map(errorReply),
        line.map((value): Reply => ({ kind: 'simple', text: value })),
        line.map((value): Reply => ({ kind: 'double', text: value })),
        text.map((value): Reply => ({ kind: 'verbatim', format: 'mkd', text: value })),
        fc.bigInt({ min: 2n ** 53n, max: 2n ** 80n }),
        fc.array(tie('item'), { maxLength: 5 }),
        fc.array(tie('item'), { maxLength: 5 }).map((items): Reply => ({ kind: 'set', items })),
        fc
          .array(fc.tuple(text, tie('item')), { maxLength: 5 })
          .map((entries): Reply => ({ kind: 'map', entries })),
      ),
      item: tie('reply'),
    }));
    fc.assert(
      fc.property(fc.array(reply, { maxLength: 6 }), (replies) => {
        const writer = new ReplyWriter();
        writer.version = 3;
        for (const one of replies) writer.reply(one);
        const reader = new ReplyReader(writer.take());
        expect(replies.map(() => reader.read())).toEqual(replies);
        expect(reader.atEnd).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe('the buffer', () => {
  it('of taken bytes is left alone until it is released, and used again after that', () => {
    const writer = new ReplyWriter();
    writer.bulk('first');
    const first = writer.take();
    writer.bulk('second');
    expect(first.toString()).toBe('$5\r\nfirst\r\n');
    expect(() => writer.take()).toThrow(/not released/);
    writer.release();
    expect(writer.take().toString()).toBe('$6\r\nsecond\r\n');
    writer.release();
    const capacity = writer.capacity;
    for (let i = 0; i < 1000; i++) {
      writer.integer(i);
      writer.take();
      writer.release();
    }
    expect(writer.capacity).toBe(capacity);
  });

  it('grows with its content and is given back when large', () => {
    const writer = new ReplyWriter();
    for (let i = 0; i < 100; i++) writer.bulk('x'.repeat(10_000));
    expect(writer.length).toBe(100 * 10_010);
    expect(writer.take().subarray(-12).toString()).toBe(`${'x'.repeat(10)}\r\n`);
    writer.release();
    expect(writer.capacity).toBe(0);
  });

  it('forgets what is discarded', () => {
    const writer = new ReplyWriter();
    writer.simple('lost');
    writer.discard();
    writer.simple('kept');
    expect(writer.take().toString()).toBe('+kept\r\n');
  });
});
