/**
 * MULTI, EXEC, DISCARD, WATCH and UNWATCH. The data commands of a transaction travel as one log
 * entry, together with the versions of the watched keys: whether those still hold is decided where
 * the entry is applied, so no write of anyone can come between the check and the commands.
 *
 * Commands of the front end (PING, DBSIZE) that stand in a transaction run once its entry is
 * applied; their replies stand at their place.
 */
import type { ByteString, Reply } from '@raftseal/interface';
import { errorReply, nullArrayReply, okReply } from '@raftseal/interface';
import { encodeTransaction, slotOf } from '@raftseal/kv';
import type { Client } from '../client.ts';
import { type ServerCommand, serverCommand } from '../command.ts';
import type { Shard } from '../keyspace.ts';
import { crossSlot, internalError } from '../reply-texts.ts';
import { endTransaction, type QueuedCommand, type Session } from '../session.ts';
import { shardErrorText } from '../shard-errors.ts';

function shardOf(client: Client, slot: number | undefined): Shard {
  const { keyspace } = client.server;
  const shard = slot === undefined ? keyspace.shards[0] : keyspace.shardOf(slot);
  if (shard === undefined) throw new Error('the key space has no shard');
  return shard;
}

function multi({ session }: Client): Reply {
  if (session.transaction !== undefined) return errorReply('ERR MULTI calls can not be nested');
  session.transaction = { commands: [], aborted: false, bytes: 0 };
  return okReply;
}

function discard({ session }: Client): Reply {
  if (session.transaction === undefined) return errorReply('ERR DISCARD without MULTI');
  endTransaction(session);
  return okReply;
}

function watch(client: Client, args: readonly ByteString[]): Reply {
  const { session, server } = client;
  if (session.transaction !== undefined) return errorReply('ERR WATCH inside MULTI is not allowed');
  const keys = args.slice(1);
  if (server.keyspace.shards.length > 1) {
    const slot = session.slot ?? slotOf(keys[0] ?? '');
    if (keys.some((key) => slotOf(key) !== slot)) return errorReply(crossSlot);
    session.slot = slot;
  }
  const shard = shardOf(client, session.slot);
  const nowMs = server.keyspace.nowMs();
  for (const key of keys) {
    if (!session.watched.has(key)) session.watched.set(key, shard.versionOf(key, nowMs));
  }
  return okReply;
}

function unwatch({ session }: Client): Reply {
  session.watched.clear();
  if (session.transaction === undefined) session.slot = undefined;
  return okReply;
}

/** Runs the front end's own commands of a transaction, and puts all replies in order. */
function assemble(
  client: Client,
  queued: readonly QueuedCommand[],
  dataReplies: readonly Reply[],
): Reply {
  const { session, server } = client;
  let at = 0;
  session.runsTransaction = true;
  try {
    return queued.map(({ command, args }): Reply => {
      if (command.kind !== 'server') return dataReplies[at++] ?? null;
      return command.run(client, args) ?? null;
    });
  } catch (error) {
    // The data commands are applied: the client must hear of something, and then of nothing more.
    server.report({ level: 'error', message: 'a command of a transaction failed', error });
    client.closeAfterReplies();
    return errorReply(internalError);
  } finally {
    session.runsTransaction = false;
  }
}

function watchedHold(shard: Shard, session: Session, nowMs: number): boolean {
  for (const [key, version] of session.watched) {
    if (shard.versionOf(key, nowMs) !== version) return false;
  }
  return true;
}

function exec(client: Client): Reply | undefined {
  const { session, server } = client;
  const { transaction } = session;
  if (transaction === undefined) return errorReply('ERR EXEC without MULTI');
  if (transaction.aborted) {
    endTransaction(session);
    return errorReply('EXECABORT Transaction discarded because of previous errors.');
  }
  const { commands } = transaction;
  const shard = shardOf(client, session.slot);
  const dataCommands = commands.filter(({ command }) => command.kind !== 'server');
  if (dataCommands.length === 0) {
    const holds = watchedHold(shard, session, server.keyspace.nowMs());
    endTransaction(session);
    return holds ? assemble(client, commands, []) : nullArrayReply;
  }
  const entry = encodeTransaction({
    commands: dataCommands.map(({ args }) => args),
    watched: [...session.watched].map(([key, version]) => ({ key, version })),
  });
  endTransaction(session);
  const resume = client.suspend();
  shard.propose(entry, (error, reply) => {
    if (error !== null) resume(errorReply(shardErrorText(error) ?? internalError));
    else resume(Array.isArray(reply) ? assemble(client, commands, reply) : reply);
  });
  return undefined;
}

const fast = 'noscript loading stale fast';

export const transactionCommands: readonly ServerCommand[] = [
  serverCommand({ name: 'multi', arity: 1, flags: fast, inTransaction: 'immediate', run: multi }),
  serverCommand({
    name: 'exec',
    arity: 1,
    flags: 'noscript loading stale skip_slowlog',
    inTransaction: 'immediate',
    run: exec,
  }),
  serverCommand({
    name: 'discard',
    arity: 1,
    flags: fast,
    inTransaction: 'immediate',
    run: discard,
  }),
  serverCommand({
    name: 'watch',
    arity: -2,
    flags: fast,
    inTransaction: 'immediate',
    keys: [1, -1, 1],
    run: watch,
  }),
  serverCommand({ name: 'unwatch', arity: 1, flags: fast, run: unwatch }),
];
