/** COMMAND: which commands there are. */
import type { ByteString, Reply } from '@raftseal/interface';
import { errorReply } from '@raftseal/interface';
import { arityMatches, type CommandSpec, commandKeys, matchesGlob } from '@raftseal/kv';
import type { Client } from '../client.ts';
import { type Command, helpSubcommand, type ServerCommand, serverCommand } from '../command.ts';
import { syntaxError } from '../reply-texts.ts';

const simple = (text: string): Reply => ({ kind: 'simple', text });

function subcommandsOf(command: Command): readonly Command[] {
  return command.kind === 'server' ? [...(command.subcommands?.values() ?? [])] : [];
}

/** The ACL categories that follow from the flags. */
function categoriesOf({ flags }: Command): readonly string[] {
  const categories = [flags.includes('fast') ? '@fast' : '@slow'];
  if (flags.includes('readonly')) categories.push('@read');
  if (flags.includes('write')) categories.push('@write');
  if (flags.includes('admin')) categories.push('@admin', '@dangerous');
  return categories;
}

/** One row of COMMAND; key specifications are left empty: the three key fields say it all. */
function info(command: Command): Reply {
  return [
    command.name,
    command.arity,
    { kind: 'set', items: command.flags.map(simple) },
    command.firstKey,
    command.lastKey,
    command.keyStep,
    { kind: 'set', items: categoriesOf(command).map(simple) },
    [],
    [],
    subcommandsOf(command).map(info),
  ];
}

const clusterCommandNames: readonly string[] = ['asking', 'cluster', 'readonly', 'readwrite'];

function groupOf(command: Command): string {
  if (clusterCommandNames.includes(command.name.split('|')[0] ?? '')) return 'cluster';
  if (command.kind !== 'server') return command.name.startsWith('h') ? 'hash' : 'generic';
  return command.flags.includes('admin') ? 'server' : 'connection';
}

function docs(command: Command): readonly [Reply, Reply] {
  const entries: [Reply, Reply][] = [
    ['summary', `See https://redis.io/commands/${command.name.split('|')[0]}`],
    ['group', groupOf(command)],
  ];
  const subcommands = subcommandsOf(command);
  if (subcommands.length > 0) {
    entries.push(['subcommands', { kind: 'map', entries: subcommands.map(docs) }]);
  }
  return [command.name, { kind: 'map', entries }];
}

/** A command or, as `parent|sub`, a subcommand. */
function named({ server }: Client, name: ByteString): Command | undefined {
  return server.commands.resolve(name.split('|'));
}

function selected(client: Client, names: readonly ByteString[]): readonly Command[] {
  if (names.length === 0) return client.server.commands.all;
  return names.map((name) => named(client, name)).filter((command) => command !== undefined);
}

function infoOf(client: Client, args: readonly ByteString[]): Reply {
  const names = args.slice(2);
  if (names.length === 0) return client.server.commands.all.map(info);
  return names.map((name): Reply => {
    const command = named(client, name);
    return command === undefined ? null : info(command);
  });
}

function list({ server }: Client, args: readonly ByteString[]): Reply {
  const names = server.commands.all.map(({ name }) => name);
  if (args.length === 2) return names;
  if (args.length !== 5 || args[2]?.toLowerCase() !== 'filterby') return errorReply(syntaxError);
  const filter = args[4] ?? '';
  switch (args[3]?.toLowerCase() ?? '') {
    case 'pattern':
      return names.filter((name) => matchesGlob(filter.toLowerCase(), name));
    case 'aclcat':
      return server.commands.all
        .filter((command) => categoriesOf(command).includes(`@${filter.toLowerCase()}`))
        .map(({ name }) => name);
    case 'module':
      return [];
    default:
      return errorReply(syntaxError);
  }
}

function getKeys({ server }: Client, args: readonly ByteString[]): Reply {
  const request = args.slice(2);
  const command = server.commands.resolve(request);
  if (command === undefined) return errorReply('ERR Invalid command specified');
  if (command.firstKey === 0) return errorReply('ERR The command has no key arguments');
  if (!arityMatches(command as CommandSpec, request.length)) {
    return errorReply('ERR Invalid number of arguments specified for command');
  }
  return commandKeys(command as CommandSpec, request);
}

const flags = 'loading stale';

const subcommands: readonly ServerCommand[] = [
  serverCommand({
    name: 'command|count',
    arity: 2,
    flags,
    run: ({ server }) => server.commands.all.length,
  }),
  serverCommand({
    name: 'command|docs',
    arity: -2,
    flags,
    run: (client, args) => ({ kind: 'map', entries: selected(client, args.slice(2)).map(docs) }),
  }),
  serverCommand({ name: 'command|info', arity: -2, flags, run: infoOf }),
  serverCommand({ name: 'command|list', arity: -2, flags, run: list }),
  serverCommand({ name: 'command|getkeys', arity: -4, flags, run: getKeys }),
  helpSubcommand('command', [
    '(no subcommand)',
    '    Return details about all commands.',
    'COUNT',
    '    Return the total number of commands in this server.',
    'DOCS [<command-name> ...]',
    '    Say where commands are documented.',
    'GETKEYS <full-command>',
    '    Return the keys from a full command.',
    'INFO [<command-name> ...]',
    '    Return details about multiple commands.',
    'LIST [FILTERBY (MODULE <module> | ACLCAT <category> | PATTERN <pattern>)]',
    '    Return a list of all commands in this server.',
  ]),
];

export const commandCommands: readonly ServerCommand[] = [
  serverCommand({
    name: 'command',
    arity: -1,
    flags,
    subcommands,
    run: ({ server }) => server.commands.all.map(info),
  }),
];
