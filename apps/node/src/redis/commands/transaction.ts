/**
 * MULTI, EXEC, DISCARD, WATCH and UNWATCH. The data commands of a transaction travel as one log
 * entry, together with the versions of the watched keys: whether those still hold is decided where
 * the entry is applied, so no write of anyone can come between the check and the commands. One that
 * only reads leaves the log alone: check and commands run here, in one step.
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

/** Unlike a read, it is for the leader alone: a version from the past would guard nothing. */
function watch(client: Client, args: readonly ByteString[]): Reply {
  const { session, server } = client;
  const { router } = server;
  if (session.transaction !== undefined) return errorReply('ERR WATCH inside MULTI is not allowed');
  const keys = args.slice(1);
  const slot = router.bySlot ? slotOf(keys[0] ?? '') : undefined;
  if (slot !== undefined) {
    if (keys.some((key) => slotOf(key) !== slot)) return errorReply(crossSlot);
    const elsewhere = router.redirection(slot);
    if (elsewhere !== undefined) return errorReply(elsewhere);
    if ((session.slot ?? slot) !== slot) return errorReply(crossSlot);
  }
  const shard = router.shardOf(slot);
  const nowMs = server.keyspace.nowMs();
  try {
    for (const key of keys) {
      if (!session.watched.has(key)) session.watched.set(key, shard.versionOf(key, nowMs));
    }
  } catch (error) {
    return router.refusal(error, slot);
  }
  session.slot = slot;
  return okReply;
}

function watchedShards({ server: { router } }: Client, args: readonly ByteString[]): Shard[] {
  return [router.shardOf(router.bySlot ? slotOf(args[1] ?? '') : undefined)];
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

/** What EXEC runs: taken out of the session, which is free for the next transaction. */
interface Execution {
  readonly commands: readonly QueuedCommand[];
  readonly dataCommands: readonly QueuedCommand[];
  readonly watched: ReadonlyMap<ByteString, bigint>;
  readonly slot: number | undefined;
  /** Nothing that is queued writes. */
  readonly onlyReads: boolean;
  /** The client takes reads from the past. */
  readonly readsStale: boolean;
}

function executionOf(session: Session, commands: readonly QueuedCommand[]): Execution {
  const { slot, readsStale } = session;
  const dataCommands = commands.filter(({ command }) => command.kind !== 'server');
  const onlyReads = dataCommands.every(({ command }) => command.kind === 'read');
  const watched = new Map(session.watched);
  return { commands, dataCommands, watched, slot, onlyReads, readsStale };
}

/** In one step: nothing is applied between the check of the watched keys and the last command. */
function readAll(client: Client, shard: Shard, execution: Execution): Reply {
  const { commands, dataCommands, watched, slot, readsStale } = execution;
  const { router } = client.server;
  const nowMs = client.server.keyspace.nowMs();
  for (const [key, version] of watched) {
    if (shard.versionOf(key, nowMs) !== version) return nullArrayReply;
  }
  const isStale = readsStale && slot !== undefined && router.mayReadStale(slot);
  const replies = dataCommands.map(({ command, args }) => {
    const request = [command.name, ...args.slice(1)];
    return isStale ? shard.queryStale(request, nowMs) : shard.query(request, nowMs);
  });
  return assemble(client, commands, replies);
}

function proposeAll(client: Client, shard: Shard, execution: Execution): undefined {
  const { commands, dataCommands, watched, slot } = execution;
  const entry = encodeTransaction({
    commands: dataCommands.map(({ args }) => args),
    watched: [...watched].map(([key, version]) => ({ key, version })),
  });
  const resume = client.suspend();
  shard.propose(entry, (error, reply) => {
    if (error !== null) {
      resume(errorReply(client.server.router.errorText(error, slot) ?? internalError));
    } else resume(Array.isArray(reply) ? assemble(client, commands, reply) : reply);
  });
}

function exec(client: Client): Reply | undefined {
  const { session } = client;
  const { router } = client.server;
  const { transaction } = session;
  if (transaction === undefined) return errorReply('ERR EXEC without MULTI');
  const execution = executionOf(session, transaction.commands);
  endTransaction(session);
  if (transaction.aborted) {
    return errorReply('EXECABORT Transaction discarded because of previous errors.');
  }
  const { slot, onlyReads, watched, readsStale } = execution;
  const readsHere = onlyReads && readsStale && watched.size === 0;
  const elsewhere = slot === undefined || readsHere ? undefined : router.redirection(slot);
  if (elsewhere !== undefined) return errorReply(elsewhere);
  const shard = router.shardOf(slot);
  if (!onlyReads) return proposeAll(client, shard, execution);
  try {
    return readAll(client, shard, execution);
  } catch (error) {
    return router.refusal(error, slot);
  }
}

/** The shard of a transaction that only reads, and those of the front end's commands in it. */
function executedShards(client: Client): readonly Shard[] {
  const { session, server } = client;
  const { transaction } = session;
  if (transaction === undefined || transaction.aborted) return [];
  const { commands } = transaction;
  const shards = new Set(
    commands.flatMap(({ command, args }) =>
      command.kind === 'server' ? (command.reads?.(client, args) ?? []) : [],
    ),
  );
  const onlyReads = commands.every(({ command }) => command.kind !== 'write');
  const reads = session.watched.size > 0 || commands.some(({ command }) => command.kind === 'read');
  if (onlyReads && reads) shards.add(server.router.shardOf(session.slot));
  return [...shards];
}

const fast = 'noscript loading stale fast';

export const transactionCommands: readonly ServerCommand[] = [
  serverCommand({ name: 'multi', arity: 1, flags: fast, inTransaction: 'immediate', run: multi }),
  serverCommand({
    name: 'exec',
    arity: 1,
    flags: 'noscript loading stale skip_slowlog',
    inTransaction: 'immediate',
    reads: executedShards,
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
    reads: watchedShards,
    run: watch,
  }),
  serverCommand({ name: 'unwatch', arity: 1, flags: fast, run: unwatch }),
];
