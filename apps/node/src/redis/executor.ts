/**
 * Decides what becomes of a request: refused, queued for EXEC, proposed to a shard, read from a
 * shard, or run by the front end itself. The order of the checks is that of Redis 7.
 */
import type { ByteString, Reply } from '@raftseal/interface';
import { errorReply } from '@raftseal/interface';
import { arityMatches, type CommandSpec, encodeCommand } from '@raftseal/kv';
import type { Command } from './command.ts';
import type { CommandRegistry } from './command-registry.ts';
import { commandSlot } from './command-slot.ts';
import type { Connection } from './connection.ts';
import type { Keyspace, Shard } from './keyspace.ts';
import { crossSlot, noAuth, unknownCommand, unknownSubcommand, wrongArity } from './reply-texts.ts';
import { endTransaction } from './session.ts';
import { shardErrorText } from './shard-errors.ts';
import type { RedisStatistics } from './statistics.ts';
import { queueCommand } from './transaction-queue.ts';

export interface ExecutorParts {
  readonly keyspace: Keyspace;
  readonly commands: CommandRegistry;
  readonly statistics: RedisStatistics;
  /** Told of a client that has to wait until a shard takes more. */
  readonly waitForPressure: (connection: Connection) => void;
}

const queuedReply: Reply = { kind: 'simple', text: 'QUEUED' };

export class Executor {
  readonly #parts: ExecutorParts;
  readonly #onlyShard: Shard | undefined;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
    const { shards } = parts.keyspace;
    this.#onlyShard = shards.length === 1 ? shards[0] : undefined;
  }

  /**
   * Executes one request.
   * @returns false where it has to wait for earlier ones, or for a shard: nothing was done.
   */
  execute(connection: Connection, args: ByteString[]): boolean {
    const command = this.#parts.commands.find(args[0]);
    const { session } = connection;
    const plain = session.authenticated && session.transaction === undefined;
    if (command?.kind === 'write' && plain && arityMatches(command, args.length)) {
      const shard = this.#shardFor(command, args);
      if (shard !== undefined) return this.#write(connection, { command, shard, args });
    }
    if (connection.inFlight > 0) return false;
    this.#begin(connection, command);
    if (command?.kind === 'read' && plain && arityMatches(command, args.length)) {
      args[0] = command.name;
      connection.reply(this.#read(command, args));
      return true;
    }
    const reply = this.#checked(connection, command, args);
    if (reply !== undefined) connection.reply(reply);
    return true;
  }

  /** Runs a data command that reads; its arity is checked. Never throws for what a shard refuses. */
  #read(command: CommandSpec, args: readonly ByteString[]): Reply {
    const shard = this.#shardFor(command, args);
    if (shard === undefined) return errorReply(crossSlot);
    try {
      return shard.query(args, this.#parts.keyspace.nowMs());
    } catch (error) {
      const text = shardErrorText(error);
      if (text === undefined) throw error;
      return errorReply(text);
    }
  }

  #write(
    connection: Connection,
    { command, shard, args }: { command: CommandSpec; shard: Shard; args: ByteString[] },
  ): boolean {
    if (shard.pressure) {
      this.#parts.waitForPressure(connection);
      return false;
    }
    this.#begin(connection, command);
    args[0] = command.name;
    connection.propose(shard, encodeCommand(args));
    return true;
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
    if (!arityMatches(command as CommandSpec, args.length)) {
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
    if (command.kind === 'read') return this.#read(command, args);
    // A write without a shard of its own: keys of different slots, or no key at all.
    return command.firstKey === 0 ? this.#broadcast(connection, args) : errorReply(crossSlot);
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

  /** One command to every shard; the first error, or else the reply of the last. */
  #broadcast(connection: Connection, args: readonly ByteString[]): undefined {
    const { shards } = this.#parts.keyspace;
    const resume = connection.suspend();
    const command = encodeCommand(args);
    let missing = shards.length;
    let failure: Reply | undefined;
    for (const shard of shards) {
      shard.propose(command, (error, reply) => {
        if (error !== null) failure ??= errorReply(shardErrorText(error) ?? 'ERR internal error');
        missing--;
        if (missing === 0) resume(failure ?? reply);
      });
    }
    return undefined;
  }

  /** The shard of all keys of a command; undefined where they are of several slots, or none. */
  #shardFor(command: CommandSpec, args: readonly ByteString[]): Shard | undefined {
    if (this.#onlyShard !== undefined) return this.#onlyShard;
    const slot = commandSlot(command, args);
    return slot === undefined ? undefined : this.#parts.keyspace.shardOf(slot);
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
