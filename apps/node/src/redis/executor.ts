/**
 * Decides what becomes of a request: refused, queued for EXEC, proposed to a shard, read from a
 * shard, or run by the front end itself. The order of the checks is that of Redis 7.
 */
import { type ByteString, errorReply, type RaftsealError, type Reply } from '@raftseal/interface';
import { arityMatches, type CommandSpec, encodeCommand } from '@raftseal/kv';
import { broadcast } from './broadcast.ts';
import type { Command } from './command.ts';
import type { CommandRegistry } from './command-registry.ts';
import { NO_KEY } from './command-slot.ts';
import type { Connection } from './connection.ts';
import type { Keyspace, Shard } from './keyspace.ts';
import {
  crossSlot,
  noAuth,
  noLeader,
  unknownCommand,
  unknownSubcommand,
  wrongArity,
} from './reply-texts.ts';
import type { Router } from './router.ts';
import { endTransaction } from './session.ts';
import type { RedisStatistics } from './statistics.ts';
import { queueCommand } from './transaction-queue.ts';

export interface ExecutorParts {
  readonly keyspace: Keyspace;
  readonly router: Router;
  readonly commands: CommandRegistry;
  readonly statistics: RedisStatistics;
  /** Told of a client that has to wait until a shard takes more. */
  readonly waitForPressure: (connection: Connection) => void;
}

const queuedReply: Reply = { kind: 'simple', text: 'QUEUED' };
const none: readonly Shard[] = [];

function takes(command: Command, args: readonly ByteString[]): boolean {
  return arityMatches(command as CommandSpec, args.length);
}

export class Executor {
  readonly #parts: ExecutorParts;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
  }

  /**
   * Executes one request.
   * @returns false where it has to wait for earlier ones, or for a shard: nothing was done.
   */
  execute(connection: Connection, args: ByteString[]): boolean {
    const { commands, router } = this.#parts;
    const command = commands.find(args[0]);
    const { session } = connection;
    const plain = session.authenticated && session.transaction === undefined;
    if (command?.kind === 'write' && plain && arityMatches(command, args.length)) {
      const slot = router.slotOf(command, args);
      const isHere = slot !== undefined && slot !== NO_KEY && !router.redirection(slot);
      if (isHere) return this.#write(connection, { command, slot, args });
    }
    if (connection.inFlight > 0) return false;
    if (command?.kind === 'read' && plain && arityMatches(command, args.length)) {
      return this.#read(connection, command, args);
    }
    const confirmation = connection.confirmReads(this.#shardsRead(connection, command, args));
    if (confirmation === 'awaited') return false;
    this.#begin(connection, command);
    const reply =
      confirmation === 'confirmed'
        ? this.#checked(connection, command, args)
        : this.#unconfirmed(connection, command, confirmation);
    if (reply !== undefined) connection.reply(reply);
    return true;
  }

  /** A data command that reads; its arity is checked. */
  #read(connection: Connection, command: CommandSpec, args: ByteString[]): boolean {
    const { router } = this.#parts;
    const slot = router.slotOf(command, args);
    const shard = router.shardOf(slot === NO_KEY ? undefined : slot);
    const confirmation =
      shard.confirmRead === undefined ? 'confirmed' : connection.confirmReads([shard]);
    if (confirmation === 'awaited') return false;
    this.#begin(connection, command);
    args[0] = command.name;
    if (slot === undefined) connection.reply(errorReply(crossSlot));
    else if (confirmation !== 'confirmed') connection.reply(router.unconfirmed(confirmation, slot));
    else connection.reply(this.#readReply(connection, { shard, slot, args }));
    return true;
  }

  #readReply(
    { session }: Connection,
    { shard, slot, args }: { shard: Shard; slot: number; args: readonly ByteString[] },
  ): Reply {
    const { keyspace, router } = this.#parts;
    const nowMs = keyspace.nowMs();
    try {
      // Without a key the state does not matter.
      if (slot === NO_KEY) return shard.queryStale(args, nowMs);
      const elsewhere = router.redirection(slot);
      if (elsewhere === undefined) return shard.query(args, nowMs);
      const isStale = session.readsStale && router.mayReadStale(slot);
      return isStale ? shard.queryStale(args, nowMs) : errorReply(elsewhere);
    } catch (error) {
      return router.refusal(error, slot);
    }
  }

  #write(
    connection: Connection,
    { command, slot, args }: { command: CommandSpec; slot: number; args: ByteString[] },
  ): boolean {
    const shard = this.#parts.router.shardOf(slot);
    if (shard.pressure) {
      this.#parts.waitForPressure(connection);
      return false;
    }
    this.#begin(connection, command);
    args[0] = command.name;
    connection.propose(shard, encodeCommand(args), slot);
    return true;
  }

  /** The shards that a command of the front end reads now, rather than when EXEC comes. */
  #shardsRead(
    connection: Connection,
    command: Command | undefined,
    args: readonly ByteString[],
  ): readonly Shard[] {
    if (command?.kind !== 'server' || command.reads === undefined) return none;
    const { authenticated, transaction } = connection.session;
    const runs = transaction === undefined || command.inTransaction === 'immediate';
    if (!authenticated || !runs || !takes(command, args)) return none;
    return command.reads(connection, args);
  }

  /** The log did not confirm that this node leads what the command reads. */
  #unconfirmed(connection: Connection, command: Command | undefined, error: RaftsealError): Reply {
    const { session } = connection;
    const { slot } = session;
    if (command?.name === 'exec') endTransaction(session);
    return this.#parts.router.unconfirmed(error, slot);
  }

  /** What every request does first, once. */
  #begin(connection: Connection, command: Command | undefined): void {
    const { session } = connection;
    this.#parts.statistics.commands++;
    session.skipsReply = session.skipsNextReply;
    session.skipsNextReply = false;
    if (command !== undefined) session.lastCommand = command.name;
  }

  /** Everything but the plain reads and writes: the checks in the order of Redis. */
  #checked(
    connection: Connection,
    found: Command | undefined,
    args: ByteString[],
  ): Reply | undefined {
    if (found === undefined) return this.#unknown(connection, args);
    const command = this.#parts.commands.resolve(args);
    const { session } = connection;
    if (command === undefined) return refuse(connection, unknownSubcommand(args));
    if (!takes(command, args)) {
      return refuse(connection, wrongArity(command.name), command);
    }
    const beforeAuth = command.kind === 'server' && command.beforeAuth;
    if (!session.authenticated && !beforeAuth) return refuse(connection, noAuth, command);
    if (session.transaction !== undefined) {
      const handling = command.kind === 'server' ? command.inTransaction : 'queued';
      if (handling === 'refused') {
        return refuse(connection, 'ERR Command not allowed inside a transaction');
      }
      if (handling === 'queued') return this.#queue(connection, command, args);
    }
    if (command.kind === 'server') {
      session.lastCommand = command.name;
      return command.run(connection, args);
    }
    return this.#unrouted(connection, command, args);
  }

  /** A write that goes to no single shard of this node: elsewhere, to several slots, or to all. */
  #unrouted(
    connection: Connection,
    command: CommandSpec,
    args: readonly ByteString[],
  ): Reply | undefined {
    const { router } = this.#parts;
    const slot = router.slotOf(command, args);
    if (slot === undefined) return errorReply(crossSlot);
    if (slot === NO_KEY) return broadcast(connection, args);
    return errorReply(router.redirection(slot) ?? noLeader);
  }

  #unknown(connection: Connection, args: readonly ByteString[]): Reply | undefined {
    // A browser, or a server tricked into posting to this port (CVE-2016-8339 and the like).
    const name = args[0]?.toLowerCase();
    if (name === 'post' || name === 'host:') {
      connection.server.report({
        level: 'warn',
        message: 'possible cross-protocol attack: an HTTP request came to the Redis port',
        client: connection.remote,
      });
      connection.close();
      return undefined;
    }
    return refuse(connection, unknownCommand(args));
  }

  #queue(connection: Connection, command: Command, args: readonly ByteString[]): Reply {
    const refusal = queueCommand(connection, { command, args });
    return refusal === undefined ? queuedReply : refuse(connection, refusal);
  }
}

/** A refused request spoils the transaction it was to be part of; a refused EXEC ends it. */
function refuse(connection: Connection, text: string, command?: Command): Reply {
  const { session } = connection;
  if (command?.name === 'exec') {
    endTransaction(session);
    return errorReply(`EXECABORT Transaction discarded because of: ${text.replace(/^ERR /, '')}`);
  }
  if (session.transaction !== undefined) session.transaction.aborted = true;
  return errorReply(text);
}
