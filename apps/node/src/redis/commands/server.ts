/** TIME, WAIT, ROLE and the commands that are answered so that tools and libraries get along. */
import type { ByteString, Reply } from '@raftseal/interface';
import { errorReply, okReply } from '@raftseal/interface';
import type { Client } from '../client.ts';
import { helpSubcommand, type ServerCommand, serverCommand } from '../command.ts';
import { integerOf, notAnInteger, syntaxError } from '../reply-texts.ts';
import { ownMaster } from '../slot-map.ts';

function time({ server }: Client): Reply {
  const nowMs = server.keyspace.nowMs();
  return [`${Math.floor(nowMs / 1000)}`, `${(nowMs % 1000) * 1000}`];
}

/** A node that leads nothing is a replica; how far it is behind is not told in Redis' offsets. */
function role({ server: { keyspace } }: Client): Reply {
  const master = ownMaster(keyspace.topology, keyspace.shards);
  if (master === undefined) return ['master', 0, []];
  return ['slave', master.host, master.port, 'connected', 0];
}

/**
 * There are no Redis replicas: what was answered is already as durable as it gets, so the answer
 * is 0 and comes at once.
 */
function wait(_client: Client, args: readonly ByteString[]): Reply {
  const timeoutMs = integerOf(args[2]);
  if (integerOf(args[1]) === undefined) return errorReply(notAnInteger);
  if (timeoutMs === undefined) {
    return errorReply('ERR timeout is not an integer or out of range');
  }
  return timeoutMs < 0n ? errorReply('ERR timeout is negative') : 0;
}

function functionFlush(_client: Client, args: readonly ByteString[]): Reply {
  const mode = args[2]?.toLowerCase();
  if (args.length > 3) {
    return errorReply(
      `ERR unknown subcommand or wrong number of arguments for '${args[1]}'. Try FUNCTION HELP.`,
    );
  }
  if (mode !== undefined && mode !== 'sync' && mode !== 'async') {
    return errorReply('ERR FUNCTION FLUSH only supports SYNC|ASYNC option');
  }
  return okReply;
}

const functionSubcommands: readonly ServerCommand[] = [
  serverCommand({
    name: 'function|flush',
    arity: -2,
    flags: 'write noscript',
    run: functionFlush,
  }),
  serverCommand({ name: 'function|list', arity: -2, flags: 'noscript', run: () => [] }),
  helpSubcommand('function', [
    'FLUSH [ASYNC|SYNC]',
    '    Do nothing: there are no libraries.',
    'LIST',
    '    Return an empty list.',
  ]),
];

/** Commands that are there to be refused in words that help. */
const refusals: readonly (readonly [name: string, arity: number, text: string])[] = [
  [
    'shutdown',
    -1,
    'ERR SHUTDOWN is not for clients: stop the raftseal process, it ends all it has begun',
  ],
  ['save', 1, 'ERR SAVE is not needed: an answered write is durable already'],
  ['bgsave', -1, 'ERR BGSAVE is not needed: an answered write is durable already'],
  ['bgrewriteaof', 1, 'ERR BGREWRITEAOF is not needed: the log is compacted by itself'],
  ['debug', -2, 'ERR DEBUG command not allowed: raftseal has none'],
];

const refusedInTransaction: readonly string[] = ['shutdown', 'save'];

export const serverCommands: readonly ServerCommand[] = [
  serverCommand({ name: 'time', arity: 1, flags: 'loading stale fast', run: time }),
  serverCommand({ name: 'wait', arity: 3, flags: 'noscript', run: wait }),
  serverCommand({
    name: 'role',
    arity: 1,
    flags: 'noscript loading stale fast',
    run: role,
  }),
  serverCommand({
    name: 'function',
    arity: -2,
    subcommands: functionSubcommands,
    run: () => errorReply(syntaxError),
  }),
  ...refusals.map(([name, arity, text]) =>
    serverCommand({
      name,
      arity,
      flags: 'admin noscript loading stale',
      inTransaction: refusedInTransaction.includes(name) ? 'refused' : 'queued',
      run: () => errorReply(text),
    }),
  ),
];
