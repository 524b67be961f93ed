/** Random commands that meet each other: few keys, edge values, options right and wrong. */
import type { ByteString } from '@raftseal/interface';
import fc from 'fast-check';

const key = fc.constantFrom('a', 'b', 'c', 'h', 'g', 'k:{t}');
const hashKey = fc.constantFrom('h', 'g', 'h', 'g', 'a');
const field = fc.constantFrom('f1', 'f2', 'f3', '', 'long-field-name', '7');
const bytes = fc
  .uint8Array({ maxLength: 24 })
  .map((array) => Buffer.from(array).toString('latin1'));
const integer = fc.oneof(
  fc.constantFrom('0', '1', '-1', '10', '9223372036854775807', '-9223372036854775808'),
  fc.constantFrom(
    '9223372036854775806',
    '4611686018427387904',
    '9007199254740993',
    '999999999999999',
  ),
  fc.constantFrom(
    '9223372036854775808',
    '-9223372036854775809',
    '01',
    '+1',
    ' 1',
    '1 ',
    '-0',
    '',
    'x',
    '1.5',
  ),
  fc.integer({ min: -50, max: 50 }).map(String),
);
const float = fc.oneof(
  fc.constantFrom(
    '0',
    '1.1',
    '-0.1',
    '3.0e3',
    '1e17',
    '-5e-10',
    '1.23456789012345678901',
    '0.000000000000000001',
  ),
  fc.constantFrom(
    'inf',
    '-inf',
    'nan',
    '',
    ' 1',
    '1 ',
    'x',
    '0x1p3',
    '.5',
    '5.',
    '1e4000',
    '1e5000',
    '1e-5000',
  ),
  fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e12, max: 1e12 }).map(String),
  fc.integer({ min: -1000, max: 1000 }).map((n) => String(n / 8)),
);
const value = fc.oneof(
  bytes,
  integer,
  float,
  fc.constantFrom('x'.repeat(45), 'y'.repeat(70), 'abcabcabc', 'ohmytext', 'mynewtext'),
);
const position = fc.oneof(
  fc.integer({ min: -12, max: 12 }).map(String),
  fc.constantFrom('0', '-1', '100', '9223372036854775807', '-9223372036854775808', 'x'),
);
const bitOffset = fc.oneof(
  fc.integer({ min: 0, max: 90 }).map(String),
  fc.constantFrom('-1', 'x', '4294967296'),
);
/** Far ahead, or long past: what the two clocks agree on. */
const seconds = fc.constantFrom(
  '10000',
  '20000',
  '30000',
  '0',
  '-1',
  'x',
  '9223372036854775807',
  '9223372036854775',
);
const unixSeconds = fc.constantFrom(
  '1',
  '33177117420',
  '33177117430',
  '0',
  '-5',
  'y',
  '9223372036854775807',
);
const unixMs = fc.constantFrom('1', '33177117420000', '33177117430001', '0', '-5', 'y');
const word = (text: string) => fc.constantFrom(text, text.toLowerCase());

const setOptions = fc
  .array(
    fc.oneof(
      fc.constantFrom(['NX'], ['XX'], ['GET'], ['KEEPTTL'], ['nx'], ['Get'], ['junk'], ['EX']),
      fc.tuple(fc.constantFrom('EX', 'PX', 'ex'), seconds),
      fc.tuple(fc.constantFrom('EXAT'), unixSeconds),
      fc.tuple(fc.constantFrom('PXAT'), unixMs),
    ),
    { maxLength: 3 },
  )
  .map((options) => options.flat());
const getexOptions = fc.oneof(
  fc.constant<string[]>([]),
  fc.constantFrom(['PERSIST'], ['persist'], ['NX'], ['EX'], ['PERSIST', 'EX', '10']),
  fc.tuple(fc.constantFrom('EX', 'PX'), seconds),
  fc.tuple(fc.constant('EXAT'), unixSeconds),
  fc.tuple(fc.constant('PXAT'), unixMs),
);
const expireOptions = fc.oneof(
  fc.constant<string[]>([]),
  fc.array(fc.constantFrom('NX', 'XX', 'GT', 'LT', 'gt', 'junk'), { maxLength: 2 }),
);
const range = fc.oneof(
  fc.constant<string[]>([]),
  fc.tuple(position),
  fc.tuple(position, position),
  fc.tuple(position, position, fc.constantFrom('BYTE', 'BIT', 'bit', 'x')),
);

type Arbitrary = fc.Arbitrary<readonly ByteString[]>;
const command = (name: string, ...parts: fc.Arbitrary<string | readonly string[]>[]): Arbitrary =>
  fc.tuple(word(name), ...parts).map((words) => words.flat() as string[]);
const pairs = fc.array(fc.tuple(key, value), { minLength: 1, maxLength: 3 }).map((p) => p.flat());
const fieldPairs = fc
  .array(fc.tuple(field, value), { minLength: 1, maxLength: 3 })
  .map((p) => p.flat());
const keys = fc.array(key, { minLength: 1, maxLength: 3 });
const fields = fc.array(field, { minLength: 1, maxLength: 3 });

const strings: Arbitrary[] = [
  command('GET', key),
  command('SET', key, value),
  command('SET', key, value, setOptions),
  command('SETNX', key, value),
  command('SETEX', key, seconds, value),
  command('PSETEX', key, seconds, value),
  command('GETSET', key, value),
  command('GETDEL', key),
  command('GETEX', key, getexOptions),
  command('MGET', keys),
  command('MSET', pairs),
  command('MSETNX', pairs),
  command('MSET', pairs, key),
  command('APPEND', key, value),
  command('STRLEN', key),
  command('GETRANGE', key, position, position),
  command('SUBSTR', key, position, position),
  command('SETRANGE', key, fc.oneof(bitOffset, fc.constant('600000000')), value),
  command('INCR', key),
  command('DECR', key),
  command('INCRBY', key, integer),
  command('DECRBY', key, integer),
  command('INCRBYFLOAT', key, float),
  command('INCRBYFLOAT', key, float),
  command('SETBIT', key, bitOffset, fc.constantFrom('0', '1', '2', 'x')),
  command('GETBIT', key, bitOffset),
  command('BITCOUNT', key, range),
  command('BITPOS', key, fc.constantFrom('0', '1', '2', 'x'), range),
  command('LCS', key, key),
  command('LCS', key, key, fc.subarray(['IDX', 'LEN', 'WITHMATCHLEN'])),
  command('LCS', key, key, fc.constantFrom(['IDX', 'MINMATCHLEN', '2'], ['IDX', 'MINMATCHLEN'])),
];
const generic: Arbitrary[] = [
  command('DEL', keys),
  command('UNLINK', keys),
  command('EXISTS', keys),
  command('TOUCH', keys),
  command('TYPE', key),
  command('RENAME', key, key),
  command('RENAMENX', key, key),
  command('COPY', key, key, fc.constantFrom([], [], ['REPLACE'], ['DB', '0'], ['DB', 'x'], ['DB'])),
  command('OBJECT', fc.constantFrom(['nope'], ['HELP'], ['FREQ']), key),
  command('EXPIRE', key, seconds, expireOptions),
  command('PEXPIRE', key, fc.constantFrom('10000000', '20000000', '0', '-1', 'x'), expireOptions),
  command('EXPIREAT', key, unixSeconds, expireOptions),
  command('PEXPIREAT', key, unixMs, expireOptions),
  command('TTL', key),
  command('PTTL', key),
  command('EXPIRETIME', key),
  command('PEXPIRETIME', key),
  command('PERSIST', key),
];
const hashes: Arbitrary[] = [
  command('HSET', hashKey, fieldPairs),
  command('HSET', hashKey, fieldPairs, field),
  command('HMSET', hashKey, fieldPairs),
  command('HSETNX', hashKey, field, value),
  command('HGET', hashKey, field),
  command('HMGET', hashKey, fields),
  command('HGETALL', hashKey),
  command('HKEYS', hashKey),
  command('HVALS', hashKey),
  command('HDEL', hashKey, fields),
  command('HEXISTS', hashKey, field),
  command('HLEN', hashKey),
  command('HSTRLEN', hashKey, field),
  command('HINCRBY', hashKey, field, integer),
  command('HINCRBYFLOAT', hashKey, field, float),
  command(
    'HRANDFIELD',
    hashKey,
    fc.constantFrom('100', '0', 'x'),
    fc.constantFrom([], ['WITHVALUES'], ['x']),
  ),
  command(
    'HSCAN',
    hashKey,
    fc.constantFrom('0', 'x'),
    fc.constantFrom(
      [],
      ['COUNT', '100'],
      ['MATCH', 'f*', 'COUNT', '50'],
      ['COUNT', '0'],
      ['COUNT'],
    ),
  ),
];
/** Too few or too many arguments for whatever it is. */
const misshapen = fc
  .tuple(
    fc.constantFrom('get', 'set', 'hset', 'incr', 'expire', 'rename', 'hdel', 'object'),
    fc.array(key, { maxLength: 2 }),
  )
  .map(([name, words]) => [name, ...words]);

export const anyCommand: Arbitrary = fc.oneof(
  { weight: 31, arbitrary: fc.oneof(...strings) },
  { weight: 18, arbitrary: fc.oneof(...generic) },
  { weight: 17, arbitrary: fc.oneof(...hashes) },
  { weight: 1, arbitrary: misshapen },
  { weight: 1, arbitrary: fc.constantFrom(['FLUSHALL'], ['FLUSHDB', 'ASYNC'], ['FLUSHALL', 'x']) },
);
