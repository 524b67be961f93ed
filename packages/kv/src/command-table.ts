/**
 * The data commands: what they are called, how many arguments they take and where their keys are.
 * Commands of the connection (PING, MULTI) and of the whole key space (SCAN, DBSIZE) belong to the
 * front-end. Arity, key positions and flags are those of `COMMAND INFO` of Redis 7.0.
 *
 * Invariant: an opcode stands in logs. It is never given to another command and never reused.
 */
import type { ByteString } from '@raftseal/interface';

export interface CommandSpec {
  /** Lower case. */
  readonly name: string;
  /** What stands for the name in the log: 1..239. */
  readonly opcode: number;
  /** Number of arguments including the name; negative: at least that many. */
  readonly arity: number;
  readonly kind: 'read' | 'write';
  /** Position of the first key, the name being 0; 0 where there is no key. */
  readonly firstKey: number;
  /** Position of the last key; negative counts from the end. */
  readonly lastKey: number;
  readonly keyStep: number;
  /** As `COMMAND` reports them. */
  readonly flags: readonly string[];
}

/** Every opcode is below this; what is at or above it is another kind of log command. */
export const OPCODE_LIMIT = 240;

type Row = readonly [
  opcode: number,
  name: string,
  arity: number,
  keys: readonly [first: number, last: number, step: number],
  flags: string,
];

const one = [1, 1, 1] as const;
const two = [1, 2, 1] as const;
const all = [1, -1, 1] as const;
const pairs = [1, -1, 2] as const;
const second = [2, 2, 1] as const;
const none = [0, 0, 0] as const;

const rows: readonly Row[] = [
  [1, 'get', 2, one, 'readonly fast'],
  [2, 'set', -3, one, 'write denyoom'],
  [3, 'setnx', 3, one, 'write denyoom fast'],
  [4, 'setex', 4, one, 'write denyoom'],
  [5, 'psetex', 4, one, 'write denyoom'],
  [6, 'getset', 3, one, 'write denyoom fast'],
  [7, 'getdel', 2, one, 'write fast'],
  [8, 'getex', -2, one, 'write fast'],
  [9, 'mget', -2, all, 'readonly fast'],
  [10, 'mset', -3, pairs, 'write denyoom'],
  [11, 'msetnx', -3, pairs, 'write denyoom'],
  [12, 'append', 3, one, 'write denyoom fast'],
  [13, 'strlen', 2, one, 'readonly fast'],
  [14, 'getrange', 4, one, 'readonly'],
  [15, 'substr', 4, one, 'readonly'],
  [16, 'setrange', 4, one, 'write denyoom'],
  [17, 'incr', 2, one, 'write denyoom fast'],
  [18, 'decr', 2, one, 'write denyoom fast'],
  [19, 'incrby', 3, one, 'write denyoom fast'],
  [20, 'decrby', 3, one, 'write denyoom fast'],
  [21, 'incrbyfloat', 3, one, 'write denyoom fast'],
  [22, 'setbit', 4, one, 'write denyoom'],
  [23, 'getbit', 3, one, 'readonly fast'],
  [24, 'bitcount', -2, one, 'readonly'],
  [25, 'bitpos', -3, one, 'readonly'],
  [26, 'lcs', -3, two, 'readonly'],
  [40, 'del', -2, all, 'write'],
  [41, 'unlink', -2, all, 'write fast'],
  [42, 'exists', -2, all, 'readonly fast'],
  [43, 'type', 2, one, 'readonly fast'],
  [44, 'rename', 3, two, 'write'],
  [45, 'renamenx', 3, two, 'write fast'],
  [46, 'copy', -3, two, 'write denyoom'],
  [47, 'touch', -2, all, 'readonly fast'],
  [48, 'object', -2, second, 'readonly'],
  [49, 'flushall', -1, none, 'write'],
  [50, 'flushdb', -1, none, 'write'],
  [60, 'expire', -3, one, 'write fast'],
  [61, 'pexpire', -3, one, 'write fast'],
  [62, 'expireat', -3, one, 'write fast'],
  [63, 'pexpireat', -3, one, 'write fast'],
  [64, 'ttl', 2, one, 'readonly fast'],
  [65, 'pttl', 2, one, 'readonly fast'],
  [66, 'expiretime', 2, one, 'readonly fast'],
  [67, 'pexpiretime', 2, one, 'readonly fast'],
  [68, 'persist', 2, one, 'write fast'],
  [80, 'hset', -4, one, 'write denyoom fast'],
  [81, 'hsetnx', 4, one, 'write denyoom fast'],
  [82, 'hmset', -4, one, 'write denyoom fast'],
  [83, 'hget', 3, one, 'readonly fast'],
  [84, 'hmget', -3, one, 'readonly fast'],
  [85, 'hgetall', 2, one, 'readonly'],
  [86, 'hdel', -3, one, 'write fast'],
  [87, 'hexists', 3, one, 'readonly fast'],
  [88, 'hlen', 2, one, 'readonly fast'],
  [89, 'hkeys', 2, one, 'readonly'],
  [90, 'hvals', 2, one, 'readonly'],
  [91, 'hincrby', 4, one, 'write denyoom fast'],
  [92, 'hincrbyfloat', 4, one, 'write denyoom fast'],
  [93, 'hstrlen', 3, one, 'readonly fast'],
  [94, 'hrandfield', -2, one, 'readonly'],
  [95, 'hscan', -3, one, 'readonly'],
];

function specOf([opcode, name, arity, keys, flags]: Row): CommandSpec {
  const [firstKey, lastKey, keyStep] = keys;
  const flagList = flags.split(' ');
  const kind = flagList.includes('write') ? 'write' : 'read';
  return { name, opcode, arity, kind, firstKey, lastKey, keyStep, flags: flagList };
}

/** By lower-case name. */
export const commandTable: ReadonlyMap<string, CommandSpec> = new Map(
  rows.map((row) => [row[1], specOf(row)]),
);

/** Whether `count` arguments, the name included, are as many as the command takes. */
export function arityMatches(spec: CommandSpec, count: number): boolean {
  return spec.arity < 0 ? count >= -spec.arity : count === spec.arity;
}

/**
 * The keys among the arguments.
 * @param args the name first; their number matches the arity.
 */
export function commandKeys(spec: CommandSpec, args: readonly ByteString[]): ByteString[] {
  const keys: ByteString[] = [];
  if (spec.firstKey === 0) return keys;
  const last = spec.lastKey < 0 ? args.length + spec.lastKey : spec.lastKey;
  for (let position = spec.firstKey; position <= last; position += spec.keyStep) {
    const key = args[position];
    if (key !== undefined) keys.push(key);
  }
  return keys;
}
