/**
 * Commands of the front end itself. Data commands are those of `commandTable` of @raftseal/kv: the
 * front end only routes them.
 */
import type { ByteString, Reply } from '@raftseal/interface';
import type { CommandSpec } from '@raftseal/kv';
import type { Client } from './client.ts';
import type { Shard } from './keyspace.ts';

export interface ServerCommand {
  readonly kind: 'server';
  /** Lower case; of a subcommand with its parent in front, such as `client|id`. */
  readonly name: string;
  /** Number of arguments including the name; negative: at least that many. */
  readonly arity: number;
  /** As COMMAND reports them. `no_auth`: allowed before authentication. */
  readonly flags: readonly string[];
  readonly beforeAuth: boolean;
  /** What happens to it between MULTI and EXEC. */
  readonly inTransaction: 'queued' | 'immediate' | 'refused';
  /** By lower-case second argument. */
  readonly subcommands: ReadonlyMap<string, ServerCommand> | undefined;
  readonly firstKey: number;
  readonly lastKey: number;
  readonly keyStep: number;
  /**
   * The shards from whose state it answers. Where the log confirms reads, it has confirmed these
   * before `run` is called.
   */
  readonly reads: ((client: Client, args: readonly ByteString[]) => readonly Shard[]) | undefined;
  /**
   * Runs once every earlier request of the client is answered.
   * @param args the name first; their number matches the arity.
   * @returns the reply; undefined where there is none, or it comes later (`Client.suspend`).
   */
  run(client: Client, args: readonly ByteString[]): Reply | undefined;
}

export type Command = CommandSpec | ServerCommand;

interface ServerCommandSource {
  readonly name: string;
  readonly arity: number;
  /** Separated by blanks. */
  readonly flags?: string;
  readonly inTransaction?: ServerCommand['inTransaction'];
  readonly subcommands?: readonly ServerCommand[];
  /** First key, last key, step. */
  readonly keys?: readonly [number, number, number];
  readonly reads?: ServerCommand['reads'];
  readonly run: ServerCommand['run'];
}

export function serverCommand(source: ServerCommandSource): ServerCommand {
  const { name, arity, run, inTransaction = 'queued', subcommands, reads } = source;
  const { keys = [0, 0, 0] } = source;
  const flags = source.flags === undefined ? [] : source.flags.split(' ');
  return {
    kind: 'server',
    name,
    arity,
    flags,
    beforeAuth: flags.includes('no_auth'),
    inTransaction,
    subcommands:
      subcommands &&
      new Map(subcommands.map((command) => [command.name.slice(name.length + 1), command])),
    firstKey: keys[0],
    lastKey: keys[1],
    keyStep: keys[2],
    reads,
    run,
  };
}

/** The HELP subcommand of a container command, in the shape Redis gives it. */
export function helpSubcommand(parent: string, lines: readonly string[]): ServerCommand {
  const upper = parent.toUpperCase();
  const text = [
    `${upper} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:`,
    ...lines,
    'HELP',
    '    Prints this help.',
  ].map((line): Reply => ({ kind: 'simple', text: line }));
  return serverCommand({
    name: `${parent}|help`,
    arity: 2,
    flags: 'loading stale',
    run: () => text,
  });
}
