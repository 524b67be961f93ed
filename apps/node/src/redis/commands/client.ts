/** CLIENT: what a client is called, who is connected, and who is to go. */
import type { ByteString, Reply } from '@raftseal/interface';
import { errorReply, okReply } from '@raftseal/interface';
import type { Client } from '../client.ts';
import { helpSubcommand, type ServerCommand, serverCommand } from '../command.ts';
import { integerOf, notAnInteger, syntaxError } from '../reply-texts.ts';
import type { Session } from '../session.ts';
import { matchesClient, parseFilters } from './client-filters.ts';

/** Why a text is no client name; undefined where it is one. */
export function nameRefusal(name: ByteString): string | undefined {
  if (/^[!-~]*$/.test(name)) return undefined;
  return 'ERR Client names cannot contain spaces, newlines or special characters.';
}

function flagsOf({ transaction, readsStale }: Session): string {
  return `${transaction === undefined ? '' : 'x'}${readsStale ? 'r' : ''}` || 'N';
}

function clientLine(client: Client): string {
  const { session, bytes, server } = client;
  const nowMs = server.keyspace.nowMs();
  const seconds = (sinceMs: number): number => Math.max(0, Math.floor((nowMs - sinceMs) / 1000));
  const fields: Record<string, string | number> = {
    id: client.id,
    addr: client.remote,
    laddr: client.local,
    name: session.name,
    age: seconds(client.createdAtMs),
    idle: seconds(client.activeAtMs),
    flags: flagsOf(session),
    db: 0,
    sub: 0,
    psub: 0,
    ssub: 0,
    multi: session.transaction?.commands.length ?? -1,
    qbuf: bytes.unread,
    'multi-mem': bytes.transaction,
    obl: bytes.unsent,
    'tot-mem': bytes.total,
    events: 'r',
    cmd: session.lastCommand,
    user: 'default',
    redir: -1,
    resp: client.respVersion,
    'lib-name': session.libraryName,
    'lib-ver': session.libraryVersion,
  };
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}

function text(lines: readonly string[]): Reply {
  return { kind: 'verbatim', format: 'txt', text: lines.map((line) => `${line}\n`).join('') };
}

function setName({ session }: Client, args: readonly ByteString[]): Reply {
  const name = args[2] ?? '';
  const refusal = nameRefusal(name);
  if (refusal !== undefined) return errorReply(refusal);
  session.name = name;
  return okReply;
}

function setInfo({ session }: Client, args: readonly ByteString[]): Reply {
  const option = args[2]?.toLowerCase();
  const value = args[3] ?? '';
  if (option !== 'lib-name' && option !== 'lib-ver') {
    return errorReply(`ERR Unrecognized option '${args[2]}'`);
  }
  if (!/^[!-~]*$/.test(value)) {
    return errorReply(`ERR ${option} cannot contain spaces, newlines or special characters.`);
  }
  if (option === 'lib-name') session.libraryName = value;
  else session.libraryVersion = value;
  return okReply;
}

function reply({ session }: Client, args: readonly ByteString[]): Reply | undefined {
  switch (args[2]?.toLowerCase() ?? '') {
    case 'on':
      session.replies = 'on';
      return okReply;
    case 'off':
      session.replies = 'off';
      return undefined;
    case 'skip':
      session.skipsNextReply = session.replies === 'on';
      return undefined;
    default:
      return errorReply(syntaxError);
  }
}

function list(client: Client, args: readonly ByteString[]): Reply {
  const { clients } = client.server;
  if (args.length === 2) return text([...clients.values()].map(clientLine));
  const option = args[2]?.toLowerCase();
  if (option === 'type' && args.length === 4) {
    const type = args[3]?.toLowerCase() ?? '';
    if (!['normal', 'master', 'replica', 'slave', 'pubsub'].includes(type)) {
      return errorReply(`ERR Unknown client type '${args[3]}'`);
    }
    return text(type === 'normal' ? [...clients.values()].map(clientLine) : []);
  }
  if (option !== 'id' || args.length < 4) return errorReply(syntaxError);
  const lines: string[] = [];
  for (const id of args.slice(3)) {
    const number = integerOf(id);
    if (number === undefined) return errorReply('ERR Invalid client ID');
    const found = clients.get(Number(number));
    if (found !== undefined) lines.push(clientLine(found));
  }
  return text(lines);
}

function close(victim: Client, by: Client): void {
  if (victim === by) victim.closeAfterReplies();
  else victim.close();
}

function kill(client: Client, args: readonly ByteString[]): Reply {
  const { clients } = client.server;
  if (args.length === 3) {
    const victim = [...clients.values()].find(({ remote }) => remote === args[2]);
    if (victim === undefined) return errorReply('ERR No such client');
    close(victim, client);
    return okReply;
  }
  const filters = parseFilters(args.slice(2));
  if (typeof filters === 'string') return errorReply(filters);
  let killed = 0;
  for (const victim of clients.values()) {
    if (!matchesClient(filters, victim, client)) continue;
    close(victim, client);
    killed++;
  }
  return killed;
}

function unblock(_client: Client, args: readonly ByteString[]): Reply {
  if (integerOf(args[2]) === undefined) return errorReply(notAnInteger);
  // No command of this server waits for other clients.
  return 0;
}

const plain = 'noscript loading stale';
const admin = `admin ${plain}`;

const subcommands: readonly ServerCommand[] = [
  serverCommand({ name: 'client|id', arity: 2, flags: plain, run: ({ id }) => id }),
  serverCommand({
    name: 'client|getname',
    arity: 2,
    flags: plain,
    run: ({ session }) => (session.name === '' ? null : session.name),
  }),
  serverCommand({ name: 'client|setname', arity: 3, flags: plain, run: setName }),
  serverCommand({ name: 'client|setinfo', arity: 4, flags: plain, run: setInfo }),
  serverCommand({
    name: 'client|info',
    arity: 2,
    flags: plain,
    run: (client) => text([clientLine(client)]),
  }),
  serverCommand({ name: 'client|list', arity: -2, flags: admin, run: list }),
  serverCommand({ name: 'client|kill', arity: -3, flags: admin, run: kill }),
  serverCommand({ name: 'client|reply', arity: 3, flags: plain, run: reply }),
  serverCommand({ name: 'client|getredir', arity: 2, flags: plain, run: () => -1 }),
  serverCommand({ name: 'client|unblock', arity: -3, flags: admin, run: unblock }),
  helpSubcommand('client', [
    'GETNAME',
    '    Return the name of the current connection.',
    'GETREDIR',
    '    Return -1: client tracking is not offered.',
    'ID',
    '    Return the ID of the current connection.',
    'INFO',
    '    Return information about the current client connection.',
    'KILL <ip:port>',
    '    Kill connection made from <ip:port>.',
    'KILL <option> <value> [<option> <value> [...]]',
    '    Kill connections. Options are: ADDR, LADDR, TYPE, USER, SKIPME, ID.',
    'LIST [TYPE normal] [ID <client-id> [...]]',
    '    Return information about client connections.',
    'REPLY (ON|OFF|SKIP)',
    '    Control the replies sent to the current connection.',
    'SETINFO (LIB-NAME|LIB-VER) <value>',
    '    Note the name or the version of the client library.',
    'SETNAME <name>',
    '    Assign the name <name> to the current connection.',
    'UNBLOCK <clientid> [TIMEOUT|ERROR]',
    '    Return 0: no client is ever blocked.',
  ]),
];

export const clientCommands: readonly ServerCommand[] = [
  serverCommand({
    name: 'client',
    arity: -2,
    subcommands,
    run: () => errorReply(syntaxError),
  }),
];
