/** What one log command does to the state of a shard. */
import { nullArrayReply, type Reply } from '@raftseal/interface';
import { CommandReader, EXPIRY, malformed, TRANSACTION } from './command-codec.ts';
import { arityMatches } from './command-table.ts';
import { commandsByOpcode } from './commands/handlers.ts';
import type { Keyspace } from './keyspace.ts';
import { wrongArguments } from './replies.ts';

/** Bytes of the smallest watched key, command and expired key in a log command. */
const WATCHED_BYTES_MIN = 12;
const NESTED_BYTES_MIN = 9;
const EXPIRED_BYTES_MIN = 12;

/** @throws RAFTSEAL_KV_COMMAND_MALFORMED (fatal), RAFTSEAL_KV_ROW_CORRUPT */
export function applyCommand(keyspace: Keyspace, bytes: Buffer, start: number, end: number): Reply {
  const reader = new CommandReader(bytes, start, end);
  const opcode = reader.opcode();
  if (opcode === TRANSACTION) return applyTransaction(keyspace, reader);
  if (opcode === EXPIRY) return applyExpiry(keyspace, reader);
  return applyPlain(keyspace, opcode, reader);
}

function applyPlain(keyspace: Keyspace, opcode: number, reader: CommandReader): Reply {
  const command = commandsByOpcode[opcode];
  if (command === undefined) throw malformed();
  const args = reader.args(command.spec.name);
  if (!arityMatches(command.spec, args.length)) return wrongArguments(command.spec.name);
  return command.handler(keyspace, args);
}

function applyTransaction(keyspace: Keyspace, reader: CommandReader): Reply {
  let unchanged = true;
  for (let left = reader.countOf(WATCHED_BYTES_MIN); left > 0; left--) {
    const key = reader.bytes();
    const version = keyspace.find(key)?.version ?? 0n;
    if (reader.u64() !== version) unchanged = false;
  }
  if (!unchanged) return nullArrayReply;
  const replies: Reply[] = [];
  for (let left = reader.countOf(NESTED_BYTES_MIN); left > 0; left--) {
    const nested = reader.nested();
    replies.push(applyPlain(keyspace, nested.opcode(), nested));
  }
  reader.finish();
  return replies;
}

function applyExpiry(keyspace: Keyspace, reader: CommandReader): Reply {
  let deleted = 0;
  for (let left = reader.countOf(EXPIRED_BYTES_MIN); left > 0; left--) {
    const expireAtMs = Number(reader.u64());
    const entry = keyspace.lookup(reader.bytes());
    if (entry?.value === undefined || entry.expireAtMs !== expireAtMs) continue;
    if (keyspace.isLive(entry)) continue;
    keyspace.remove(entry);
    deleted++;
  }
  reader.finish();
  return deleted;
}
