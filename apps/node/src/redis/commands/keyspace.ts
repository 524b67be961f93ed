/**
 * Commands over the keys of all shards: DBSIZE, KEYS, SCAN and RANDOMKEY. In a cluster they go over
 * the shards that this node leads, as those of Redis Cluster go over the slots of one master: who
 * wants all keys asks every master.
 *
 * A shard that changes its leader while it is scanned ends the scan with an error, which tells the
 * client to start again. One that comes or goes before the scan has reached it is, or is not, part
 * of what is scanned.
 */
import type { ByteString, Reply } from '@raftseal/interface';
import { errorReply } from '@raftseal/interface';
import type { Client } from '../client.ts';
import { type ServerCommand, serverCommand } from '../command.ts';
import type { Shard } from '../keyspace.ts';
import { integerOf, notAnInteger, syntaxError } from '../reply-texts.ts';

/** A cursor is `shard index << 48 | cursor inside the shard`. */
const SHARD_SHIFT = 48n;
const SCAN_COUNT = 10;

function dbSize({ server: { router } }: Client): Reply {
  return router.servedShards.reduce((sum, shard) => sum + shard.size(), 0);
}

function keys({ server: { keyspace, router } }: Client, args: readonly ByteString[]): Reply {
  const nowMs = keyspace.nowMs();
  return router.servedShards.flatMap((shard) => shard.keys(args[1] ?? '', nowMs));
}

/** Each key is as likely as any other, as far as shards have it so. */
function randomKey({ server: { keyspace, router } }: Client): Reply {
  const shards = router.servedShards;
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

/** Where a scan goes on: in the middle of a shard, or at the start of the next that is served. */
function scanPlace(
  { server: { keyspace, router } }: Client,
  cursor: bigint,
): { shard: Shard | undefined; inner: bigint } {
  const index = Number(cursor >> SHARD_SHIFT);
  const inner = BigInt.asUintN(Number(SHARD_SHIFT), cursor);
  if (inner !== 0n) return { shard: keyspace.shards[index], inner };
  return { shard: router.servedShards.find(({ shardId }) => shardId >= index), inner };
}

function scan(client: Client, args: readonly ByteString[]): Reply {
  const { keyspace, router } = client.server;
  const cursor = cursorOf(args[1]);
  if (cursor === undefined) return errorReply('ERR invalid cursor');
  const request = scanRequest(args);
  if (typeof request === 'string') return errorReply(request);
  const { shard, inner } = scanPlace(client, cursor);
  if (shard === undefined) return ['0', []];
  const { shardId } = shard;
  if (inner !== 0n && !router.servedShards.includes(shard)) return errorReply(scanEnded(shardId));
  const page = shard.scan(inner, request, keyspace.nowMs());
  let next = page.cursor;
  if (next !== 0n) next |= BigInt(shardId) << SHARD_SHIFT;
  else if (shardId + 1 < keyspace.shards.length) next = BigInt(shardId + 1) << SHARD_SHIFT;
  return [`${next}`, page.keys];
}

function scanEnded(shardId: number): string {
  return (
    `ERR RAFTSEAL_SHARD_GROUP_NOT_LEADER: this node does not lead shard ${shardId}, which was ` +
    'scanned in part: start again, at every master'
  );
}

function scannedShards(client: Client, args: readonly ByteString[]): readonly Shard[] {
  const { shard } = scanPlace(client, cursorOf(args[1]) ?? 0n);
  return shard === undefined ? [] : [shard];
}

const servedShards = ({ server: { router } }: Client): readonly Shard[] => router.servedShards;

/** Turns what a shard refuses into an error reply. */
function refusable(run: (client: Client, args: readonly ByteString[]) => Reply) {
  return (client: Client, args: readonly ByteString[]): Reply => {
    try {
      return run(client, args);
    } catch (error) {
      return client.server.router.refusal(error, undefined);
    }
  };
}

export const keyspaceCommands: readonly ServerCommand[] = [
  serverCommand({
    name: 'dbsize',
    arity: 1,
    flags: 'readonly fast',
    reads: servedShards,
    run: refusable(dbSize),
  }),
  serverCommand({
    name: 'keys',
    arity: 2,
    flags: 'readonly',
    reads: servedShards,
    run: refusable(keys),
  }),
  serverCommand({
    name: 'scan',
    arity: -2,
    flags: 'readonly',
    reads: scannedShards,
    run: refusable(scan),
  }),
  serverCommand({
    name: 'randomkey',
    arity: 1,
    flags: 'readonly',
    reads: servedShards,
    run: refusable(randomKey),
  }),
];
