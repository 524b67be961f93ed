/**
 * The same bytes to Redis 7 and to the front end; the same bytes back. Runs over the commands that
 * the front end answers itself, and over a few data commands that carry them.
 */
import type { ByteString } from '@raftseal/interface';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exchange, request } from './raw-client.ts';
import { type RedisReference, redisReference } from './redis-reference.ts';
import { serve } from './serving.ts';

let reference: RedisReference;
let guarded: RedisReference;

beforeAll(async () => {
  reference = await redisReference();
  guarded = await redisReference('--requirepass', 'secret');
}, 20_000);

afterAll(() => {
  reference?.stop();
  guarded?.stop();
});

/** Client ids differ from server to server. */
function normalized(replies: ByteString): ByteString {
  return replies.replaceAll(/\$2\r\nid\r\n:\d+/g, '$2\r\nid\r\n:0');
}

/** What both say to a stream on a connection of its own, over an empty key space. */
async function both(
  stream: ByteString,
  ports: { redis: number; own: number },
): Promise<{ redis: ByteString; own: ByteString }> {
  const [redis, own] = await Promise.all([
    exchange(ports.redis, stream),
    exchange(ports.own, stream),
  ]);
  return { redis: normalized(redis), own: normalized(own) };
}

async function expectSame(streams: readonly ByteString[], password?: string): Promise<void> {
  const { port: own } = await serve(password === undefined ? {} : { password });
  const { port } = password === undefined ? reference : guarded;
  for (const commands of streams) {
    const stream = `FLUSHALL\r\n${commands}`;
    const replies = await both(stream, { redis: port, own });
    expect(replies.own, JSON.stringify(stream)).toBe(replies.redis);
  }
}

const lines = (text: string): ByteString =>
  text
    .trim()
    .split(/\s*\n\s*/)
    .join('\r\n')
    .concat('\r\n');

describe('the same as Redis 7', () => {
  it('is what commands of the connection answer', async () => {
    await expectSame(
      [
        'PING\nPING a\nping a b\nECHO\nECHO a\nECHO a b\nPiNg',
        'SELECT 0\nSELECT 1\nSELECT -1\nSELECT abc\nSELECT 99999999999\nSELECT',
        'HELLO\nHELLO 2\nHELLO 4\nHELLO x\nHELLO 2 foo\nHELLO 2 SETNAME\nHELLO 2 SETNAME n\nCLIENT GETNAME',
        'HELLO 3\nGET missing\nHELLO 3 SETNAME "a b"\nCLIENT GETNAME\nHELLO 2\nGET missing\nHELLO 3 AUTH a b',
        'HELLO 3 AUTH default x SETNAME y\nCLIENT GETNAME\nHELLO 3 AUTH default\nCONFIG GET maxmemory-policy',
        'AUTH x\nAUTH a b\nAUTH default x\nAUTH a b c\nAUTH',
        'CLIENT\nCLIENT FOO\nCLIENT ID x\nCLIENT SETNAME\nCLIENT SETNAME "a b"\nCLIENT SETNAME ab\nCLIENT GETNAME',
        'CLIENT SETNAME ""\nCLIENT GETNAME\nCLIENT GETREDIR\nCLIENT UNBLOCK x\nCLIENT UNBLOCK 999999',
        'CLIENT KILL\nCLIENT KILL x\nCLIENT KILL ID x\nCLIENT KILL ID 0\nCLIENT KILL TYPE foo\nCLIENT KILL FOO bar',
        'CLIENT KILL ID 999999\nCLIENT KILL SKIPME maybe\nCLIENT KILL USER nobody\nCLIENT KILL ID',
        'CLIENT LIST ID x\nCLIENT LIST TYPE foo\nCLIENT LIST FOO\nCLIENT LIST ID\nCLIENT LIST TYPE pubsub\nCLIENT INFO x',
        'CLIENT REPLY\nCLIENT REPLY x\nCLIENT REPLY SKIP\nPING a\nPING b\nCLIENT REPLY OFF\nPING c\nSET k v\nFOO\nCLIENT REPLY ON\nPING d',
        'CLIENT REPLY SKIP\nCLIENT REPLY SKIP\nPING a\nPING b\nCLIENT REPLY OFF\nCLIENT REPLY SKIP\nPING\nCLIENT REPLY ON',
        'SET a 1\nCLIENT REPLY SKIP\nSET a 2\nGET a\nCLIENT REPLY OFF\nSET a 3\nSET a 4\nCLIENT REPLY ON\nGET a',
        'RESET\nRESET x\nHELLO 3\nCLIENT SETNAME n\nRESET\nCLIENT GETNAME\nGET missing\nCLIENT REPLY OFF\nRESET\nPING',
        'QUIT\nPING',
        'QUIT a b\nPING',
        'SET a 1\nQUIT\nSET a 2',
      ].map(lines),
    );
  });

  it('is what commands of the server answer', async () => {
    await expectSame(
      [
        'WAIT 0 0\nWAIT x 0\nWAIT 0 x\nWAIT 0 -1\nWAIT 0\nTIME x\nROLE\nROLE x',
        'FUNCTION FLUSH\nFUNCTION FLUSH ASYNC\nFUNCTION FLUSH x\nFUNCTION FLUSH SYNC x\nFUNCTION LIST\nFUNCTION\nFUNCTION FOO',
        'CONFIG GET\nCONFIG GET nosuch\nCONFIG GET maxmemory\nCONFIG GET MAXMEMORY\nCONFIG GET save\nCONFIG GET databases\nCONFIG',
        'CONFIG SET foo bar\nCONFIG SET a b c\nCONFIG SET a\nCONFIG REWRITE\nCONFIG RESETSTAT\nCONFIG RESETSTAT x\nCONFIG FOO',
        'CONFIG SET list-max-listpack-size 5\nCONFIG GET list-max-listpack-size\nCONFIG SET list-max-listpack-size -2',
        'COMMAND FOO\nCOMMAND COUNT x\nCOMMAND INFO nosuch\nCOMMAND DOCS nosuch\nCOMMAND LIST FILTERBY foo bar\nCOMMAND LIST FILTERBY pattern xyzzy*',
        'COMMAND LIST FILTERBY PATTERN GE[T]\nCOMMAND LIST FILTERBY pattern p?ng\nCOMMAND LIST FILTERBY MODULE x',
        'COMMAND GETKEYS get\nCOMMAND GETKEYS nosuch a\nCOMMAND GETKEYS ping x y\nCOMMAND GETKEYS set a b\nCOMMAND GETKEYS set a\nCOMMAND GETKEYS mset a b c d',
      ]
        .concat(['READONLY\nREADWRITE\nASKING\nREADONLY x\nINFO nosuch\nINFO cluster'])
        .concat([
          'CLUSTER\nCLUSTER INFO\nCLUSTER INFO x\nCLUSTER MEET\nCLUSTER MEET a b\nCLUSTER FOO',
        ])
        .concat(['MULTI\nCLUSTER SLOTS\nREADONLY\nASKING\nEXEC\nCONFIG GET cluster-enabled'])
        .concat(['DBSIZE x\nKEYS\nRANDOMKEY x'])
        .concat([
          'FLUSHALL\nDBSIZE\nSET a 1\nDBSIZE\nKEYS a\nKEYS b\nRANDOMKEY\nFLUSHALL\nRANDOMKEY',
        ])
        .concat(['FLUSHALL\nSET a 1\nSCAN 0\nSCAN foo\nSCAN 1x\nSCAN 9999999999999999999999'])
        .concat([
          'SCAN -1\nSCAN 0 COUNT 0\nSCAN 0 COUNT x\nSCAN 0 foo 1\nSCAN 0 MATCH\nSCAN\nFLUSHDB',
        ])
        .map(lines),
    );
  });

  it('is what unknown commands and wrong numbers of arguments answer', async () => {
    const long = 'x'.repeat(200);
    await expectSame([
      ...['foo', 'foo a b c', 'GET', 'GET a b', 'SET a', 'client|id', 'exec x'].map(lines),
      request('foo"bar', "a'b", ''),
      request(long, long, long),
      request('foo', 'a'.repeat(60), 'b'.repeat(60), 'c'.repeat(60)),
      request('fo\0o', 'a\0b', 'c'),
      request('a\r\nb', 'c\nd'),
      request('', ''),
      request('\xff\xfe', '\x80'),
      request('client', 'f\0oo'),
      request('client', 'a\r\nb'),
    ]);
  });

  it('is how transactions go', async () => {
    await expectSame(
      [
        'EXEC\nDISCARD\nMULTI\nMULTI\nEXEC\nMULTI\nDISCARD\nDISCARD',
        'MULTI x\nMULTI\nSET a 1\nINCR a\nGET a\nPING\nECHO x\nDBSIZE\nEXEC\nFLUSHALL',
        'MULTI\nFOO\nSET a 1\nEXEC\nGET a',
        'MULTI\nSET a\nSET a 1\nEXEC\nGET a\nEXEC',
        'MULTI\nWATCH a\nSET a 1\nEXEC\nWATCH\nFLUSHALL',
        'MULTI\nSHUTDOWN\nSET a 1\nEXEC',
        'MULTI\nSET a 1\nEXEC x\nGET a\nEXEC',
        'WATCH a\nSET a 1\nMULTI\nGET a\nEXEC\nMULTI\nGET a\nEXEC\nFLUSHALL',
        'WATCH a\nDEL a\nMULTI\nSET a 2\nEXEC\nFLUSHALL',
        'SET a 1\nWATCH a\nSET a 2\nUNWATCH\nMULTI\nGET a\nEXEC\nFLUSHALL',
        'SET a 1\nWATCH a\nMULTI\nINCR a\nINCR a\nEXEC\nMULTI\nGET a\nEXEC\nFLUSHALL',
        'SET a 1\nWATCH a\nSET a 2\nMULTI\nEXEC\nMULTI\nEXEC\nFLUSHALL',
        'SET a 1\nWATCH a\nSET a 2\nMULTI\nPING\nEXEC\nFLUSHALL',
        'SET a 1\nWATCH a\nSET a 2\nMULTI\nDISCARD\nMULTI\nGET a\nEXEC\nFLUSHALL',
        'SET a 1\nWATCH a\nFLUSHALL\nMULTI\nPING\nEXEC',
        'WATCH a\nFLUSHALL\nMULTI\nPING\nEXEC',
        'MULTI\nUNWATCH\nSELECT 0\nSELECT 1\nCLIENT GETNAME\nAUTH x\nTIME x\nEXEC',
        'MULTI\nSET a 1\nRESET\nEXEC\nGET a',
        'MULTI\nSET a 1\nQUIT\nEXEC',
        'HELLO 3\nMULTI\nGET missing\nSET a 1\nEXEC\nWATCH a\nSET a 2\nMULTI\nEXEC\nFLUSHALL',
        'SET a x\nMULTI\nINCR a\nSET b 1\nEXEC\nGET b\nFLUSHALL',
        'MULTI\nCLIENT FOO\nEXEC\nMULTI\nCLIENT\nEXEC\nMULTI\nOBJECT\nEXEC',
      ].map(lines),
    );
  });

  it('is what a client may do before it has authenticated', async () => {
    await expectSame(
      [
        'PING\nGET a\nSET a 1\nMULTI\nWATCH a\nEXEC\nCOMMAND COUNT\nINFO\nCONFIG GET x\nCLIENT ID\nSELECT 0',
        'FOO\nGET\nCLIENT FOO\nHELLO\nHELLO 3\nHELLO 9\nRESET\nQUIT',
        'AUTH secret\nPING\nRESET\nPING',
        'AUTH default secret\nGET a\nAUTH wrong\nGET a',
        'AUTH wrong\nPING\nAUTH other secret\nPING\nAUTH default\nAUTH a b c',
        'HELLO 3 AUTH default secret SETNAME x\nCLIENT GETNAME',
        'HELLO 2 AUTH default wrong\nPING\nHELLO 2 AUTH nobody secret\nPING',
        'AUTH secret\nMULTI\nAUTH wrong\nAUTH secret\nPING\nEXEC\nPING',
        'AUTH secret\nMULTI\nRESET\nEXEC\nPING',
      ].map(lines),
      'secret',
    );
    const many = Array.from({ length: 11 }, () => 'a');
    await expectSame(
      [request(...many), request('AUTH', 'x'.repeat(16_385)), '*10\r\n$16384\r\n'],
      'secret',
    );
  });

  it('is how broken protocol ends', async () => {
    await expectSame([
      '*x\r\n',
      '*\r\n',
      '*01\r\n',
      '*+1\r\n',
      '*2147483648\r\n',
      '*-9223372036854775809\r\n',
      '*1\r\n:5\r\n',
      '*1\r\n*1\r\n$1\r\n',
      '*1\r\n\r\n',
      '*1\r\n\nx\r\n',
      '*1\r\n\0\r\n',
      '*1\r\n$\r\n',
      '*1\r\n$-1\r\n',
      '*1\r\n$4x\r\n',
      '*1\r\n$536870913\r\n',
      '*1\r\n$007\r\n',
      'SET a "b\r\n',
      "SET a 'b\r\n",
      'SET a "b"c\r\n',
      'PING\r\n*1\r\nx\r\nPING\r\n',
      'PING\nPING \r\n\r\n  PING\t\r\n',
      '*0\r\n*-1\r\n*-5\r\nPING\r\n',
      '*1\r\n$4\r\nPINGxyPING\r\n',
      '*1\rx$4\r\nPING\r\n',
      'ECHO "\\x41\\n\\""\r\n',
      'PING\0\r\nPING\r\n',
      'SET a 1\r\n*1\r\n!\r\n',
      `SET a ${'x'.repeat(70_000)}`,
      `*${'1'.repeat(70_000)}`,
      `*1\r\n$${'1'.repeat(70_000)}`,
    ]);
  });

  // Nothing here deletes: a key that was absent when it was watched, then set, then deleted, is the
  // same again to the front end, while Redis aborts.
  it('is what random sequences of commands answer', async () => {
    const key = fc.constantFrom('a', 'b');
    const command = fc.oneof(
      { weight: 6, arbitrary: fc.tuple(fc.constant('SET'), key, fc.nat(9).map(String)) },
      { weight: 6, arbitrary: fc.tuple(fc.constantFrom('GET', 'INCR', 'EXISTS'), key) },
      { weight: 4, arbitrary: fc.constant(['MULTI']) },
      { weight: 4, arbitrary: fc.constant(['EXEC']) },
      { weight: 3, arbitrary: fc.tuple(fc.constant('WATCH'), key) },
      {
        weight: 6,
        arbitrary: fc.constantFrom(
          ['DISCARD'],
          ['UNWATCH'],
          ['PING'],
          ['ECHO', 'x'],
          ['FOO', 'x'],
          ['GET'],
          ['RESET'],
          ['MGET', 'a', 'b'],
          ['CLIENT', 'GETNAME'],
          ['CLIENT', 'SETNAME', 'n'],
          ['WATCH'],
          ['EXEC', 'x'],
          ['MSET', 'a', '1', 'b', '2'],
          ['SELECT', '1'],
        ),
      },
    );
    const { port: own } = await serve();
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('2', '3'),
        fc.array(command, { maxLength: 25 }),
        async (version, commands) => {
          const stream = [['FLUSHALL'], ['HELLO', version], ...commands].map((c) => request(...c));
          const replies = await both(stream.join(''), { redis: reference.port, own });
          expect(replies.own).toBe(replies.redis);
        },
      ),
      { numRuns: 300 },
    );
  }, 20_000);

  it('is what random pieces of the protocol answer', async () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '*1\r\n',
        '*2\r\n',
        '$4\r\nPING\r\n',
        '$1\r\na\r\n',
        '\r\n',
        '\r',
        '\n',
        '"',
        "'",
      ),
      fc.constantFrom(
        'PING\r\n',
        'ECHO a\r\n',
        '*',
        '$',
        '-1',
        '0',
        '1',
        ' ',
        '\0',
        ':1\r\n',
        '*0\r\n',
      ),
      fc.constantFrom(request('ECHO', 'x'), request('SET', 'a', '1'), request('GET', 'a')),
      fc.uint8Array({ maxLength: 6 }).map((raw) => Buffer.from(raw).toString('latin1')),
    );
    const { port: own } = await serve();
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 15 }), async (pieces) => {
        const replies = await both(`FLUSHALL\r\n${pieces.join('')}`, {
          redis: reference.port,
          own,
        });
        expect(replies.own).toBe(replies.redis);
      }),
      { numRuns: 500 },
    );
  }, 20_000);
});
