/** Commands over the keys of all shards: DBSIZE, KEYS, SCAN and RANDOMKEY. */
import type { ByteString, Reply } from '@raftseal/interface';
import { errorReply } from '@raftseal/interface';
import type { Client } from '../client.ts';
import { type ServerCommand, serverCommand } from '../command.ts';
import { integerOf, notAnInteger, syntaxError } from '../reply-texts.ts';
import { shardErrorText } from '../shard-errors.ts';

/** A cursor is `shard index << 48 | cursor inside the shard`. */
const SHARD_SHIFT = 48n;
const SCAN_COUNT = 10;

function dbSize({ server }: Client): Reply {
  return server.keyspace.shards.reduce((sum, shard) => sum + shard.size(), 0);
}

function keys({ server: { keyspace } }: Client, args: readonly ByteString[]): Reply {
  const nowMs = keyspace.nowMs();
  return keyspace.shards.flatMap((shard) => shard.keys(args[1] ?? '', nowMs));
}

/** Each key is as likely as any other, as far as shards have it so. */
function randomKey({ server: { keyspace } }: Client): Reply {
  const { shards } = keyspace;
  const nowMs = keyspace.nowMs();
  let at = Math.random() * shards.reduce((sum, shard) => sum + shard.size(), 0);
  let first = shards.findIndex((shard) => {
    at -= shard.size();
    return at < 0;
  });
  if (first < 0) first = 0;
  for (let i = 0; i < shards.length; i++) {
    const key = shards[(first + i) % shards.length]?.randomKey(nowMs) ?? null;
    if (key !== null) return key;
  }
  return null;
}

interface ScanRequest {
  count: number;
  match?: ByteString;
  type?: ByteString;
}

function scanRequest(args: readonly ByteString[]): ScanRequest | string {
  const request: ScanRequest = { count: SCAN_COUNT };
  for (let at = 2; at < args.length; at += 2) {
    const value = args[at + 1];
    if (value === undefined) return syntaxError;
    switch (args[at]?.toLowerCase() ?? '') {
      case 'count': {
        const count = integerOf(value);
        if (count === undefined) return notAnInteger;
        if (count < 1n) return syntaxError;
        request.count = Number(count);
        break;
      }
      case 'match':
        request.match = value;
        break;
      case 'type':
        request.type = value.toLowerCase();
        break;
      default:
        return syntaxError;
    }
  }
  return request;
}

/** A cursor as C's strtoul() reads it: a minus wraps around. */
function cursorOf(text: ByteString | undefined): bigint | undefined {
  const digits = /^([+-]?)([0-9]{1,20})$/.exec(text ?? '');
  if (digits === null) return undefined;
  const cursor = BigInt(digits[2] ?? '');
  if (BigInt.asUintN(64, cursor) !== cursor) return undefined;
  return digits[1] === '-' ? BigInt.asUintN(64, -cursor) : cursor;
}

function scan({ server: { keyspace } }: Client, args: readonly ByteString[]): Reply {
  const cursor = cursorOf(args[1]);
  if (cursor === undefined) return errorReply('ERR invalid cursor');
  const request = scanRequest(args);
  if (typeof request === 'string') return errorReply(request);
  const index = Number(cursor >> SHARD_SHIFT);
  const shard = keyspace.shards[index];
  if (shard === undefined) return ['0', []];
  const inner = BigInt.asUintN(Number(SHARD_SHIFT), cursor);
  const page = shard.scan(inner, request, keyspace.nowMs());
  let next = page.cursor;
  if (next !== 0n) next |= BigInt(index) << SHARD_SHIFT;
  else if (index + 1 < keyspace.shards.length) next = BigInt(index + 1) << SHARD_SHIFT;
  return [`${next}`, page.keys];
}

/** Turns what a shard refuses into an error reply. */
function refusable(run: (client: Client, args: readonly ByteString[]) => Reply) {
  return (client: Client, args: readonly ByteString[]): Reply => {
    try {
      return run(client, args);
    } catch (error) {
      const text = shardErrorText(error);
      if (text === undefined) throw error;
      return errorReply(text);
    }
  };
}

export const keyspaceCommands: readonly ServerCommand[] = [
  serverCommand({ name: 'dbsize', arity: 1, flags: 'readonly fast', run: refusable(dbSize) }),
  serverCommand({ name: 'keys', arity: 2, flags: 'readonly', run: refusable(keys) }),
  serverCommand({ name: 'scan', arity: -2, flags: 'readonly', run: refusable(scan) }),
  serverCommand({ name: 'randomkey', arity: 1, flags: 'readonly', run: refusable(randomKey) }),
];
