/**
 * CONFIG: what clients and tools ask of a Redis configuration, answered with what holds here.
 * Nothing that matters can be set: options are given at the start of the node. Thresholds of Redis'
 * in-memory encodings, which have no counterpart here, are taken and given back.
 */
import type { ByteString, Reply } from '@raftseal/interface';
import { errorReply, okReply } from '@raftseal/interface';
import { matchesGlob } from '@raftseal/kv';
import type { Client, Server } from '../client.ts';
import { helpSubcommand, type ServerCommand, serverCommand } from '../command.ts';
import { syntaxError } from '../reply-texts.ts';
import { newStatistics } from '../statistics.ts';

/** Parameters without an effect, and their defaults in Redis 7. */
const inert: Readonly<Record<string, string>> = {
  'hash-max-listpack-entries': '512',
  'hash-max-listpack-value': '64',
  'hash-max-ziplist-entries': '512',
  'hash-max-ziplist-value': '64',
  'list-compress-depth': '0',
  'list-max-listpack-size': '-2',
  'list-max-ziplist-size': '-2',
  'set-max-intset-entries': '512',
  'zset-max-listpack-entries': '128',
  'zset-max-listpack-value': '64',
  'zset-max-ziplist-entries': '128',
  'zset-max-ziplist-value': '64',
};

function fixed({ limits, host, port, keyspace }: Server): Readonly<Record<string, string>> {
  return {
    appendfsync: 'always',
    appendonly: 'yes',
    bind: host,
    'client-output-buffer-limit': `normal ${limits.outputBytesMax} ${limits.outputPauseBytes} 0`,
    ...(keyspace.topology === undefined
      ? { 'cluster-enabled': 'no' }
      : { 'cluster-enabled': 'yes', 'cluster-require-full-coverage': 'no' }),
    databases: '1',
    'io-threads': '1',
    maxclients: `${limits.clientsMax}`,
    maxmemory: '0',
    'maxmemory-clients': `${limits.clientsBytesMax}`,
    'maxmemory-policy': 'noeviction',
    'notify-keyspace-events': '',
    port: `${port}`,
    'proto-max-bulk-len': `${limits.request.bulkBytesMax}`,
    save: '',
    'tcp-keepalive': '300',
    timeout: `${Math.ceil(limits.idleTimeoutMs / 1000)}`,
  };
}

/** What was set of the inert parameters, by server. */
const settings = new WeakMap<Server, Map<string, ByteString>>();

function parameters(server: Server): Map<string, ByteString> {
  return new Map([
    ...Object.entries(fixed(server)),
    ...Object.entries(inert),
    ...(settings.get(server) ?? []),
  ]);
}

function get({ server }: Client, args: readonly ByteString[]): Reply {
  const known = parameters(server);
  const found = new Map<string, ByteString>();
  for (const pattern of args.slice(2)) {
    const lower = pattern.toLowerCase();
    const value = known.get(lower);
    // A full name comes back in the spelling it was asked in.
    if (value !== undefined) found.set(pattern, value);
    else if (/[[*?]/.test(pattern)) {
      for (const [name, each] of known) if (matchesGlob(lower, name)) found.set(name, each);
    }
  }
  return { kind: 'map', entries: [...found] };
}

function set({ server }: Client, args: readonly ByteString[]): Reply {
  if (args.length % 2 !== 0) return errorReply(syntaxError);
  const current = parameters(server);
  const changes = new Map<string, ByteString>();
  for (let at = 2; at < args.length; at += 2) {
    const name = args[at]?.toLowerCase() ?? '';
    const value = args[at + 1] ?? '';
    if (!current.has(name)) {
      return errorReply(`ERR Unknown option or number of arguments for CONFIG SET - '${args[at]}'`);
    }
    if (current.get(name) === value) continue;
    if (!(name in inert)) {
      return errorReply(
        `ERR CONFIG SET failed (possibly related to argument '${name}') - ` +
          "can't set immutable config: options are given when raftseal is started",
      );
    }
    changes.set(name, value);
  }
  settings.set(server, new Map([...(settings.get(server) ?? []), ...changes]));
  return okReply;
}

function resetStat({ server }: Client): Reply {
  Object.assign(server.statistics, newStatistics());
  return okReply;
}

const flags = 'admin noscript loading stale';

const subcommands: readonly ServerCommand[] = [
  serverCommand({ name: 'config|get', arity: -3, flags, run: get }),
  serverCommand({ name: 'config|set', arity: -4, flags, run: set }),
  serverCommand({ name: 'config|resetstat', arity: 2, flags, run: resetStat }),
  serverCommand({
    name: 'config|rewrite',
    arity: 2,
    flags,
    run: () => errorReply('ERR The server is running without a config file'),
  }),
  helpSubcommand('config', [
    'GET <pattern>',
    '    Return parameters matching the glob-like <pattern> and their values.',
    'SET <directive> <value>',
    '    Refused for all but encoding thresholds, which have no effect.',
    'RESETSTAT',
    '    Reset statistics reported by the INFO command.',
    'REWRITE',
    '    Refused: there is no configuration file.',
  ]),
];

export const configCommands: readonly ServerCommand[] = [
  serverCommand({ name: 'config', arity: -2, subcommands, run: () => errorReply(syntaxError) }),
];
