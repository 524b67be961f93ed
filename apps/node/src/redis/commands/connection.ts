/** PING, ECHO, HELLO, AUTH, SELECT, RESET and QUIT. */
import type { ByteString, Reply } from '@raftseal/interface';
import { errorReply, okReply } from '@raftseal/interface';
import type { Client } from '../client.ts';
import { type ServerCommand, serverCommand } from '../command.ts';
import { integerOf, notAnInteger, syntaxError, wrongArity, wrongPassword } from '../reply-texts.ts';
import { endTransaction } from '../session.ts';
import { ownMaster } from '../slot-map.ts';
import { REDIS_VERSION } from '../version.ts';
import { nameRefusal } from './client.ts';

const DEFAULT_USER = 'default';

const flags = 'noscript loading stale fast no_auth allow_busy';

function ping(_client: Client, args: readonly ByteString[]): Reply {
  if (args.length > 2) return errorReply(wrongArity('ping'));
  return args[1] ?? { kind: 'simple', text: 'PONG' };
}

/** Whether the credentials are right; remembers the outcome. */
function authenticate(client: Client, user: ByteString, password: ByteString): boolean {
  const { server, session } = client;
  if (
    server.password === undefined ? user === DEFAULT_USER : server.password.matches(user, password)
  ) {
    session.authenticated = true;
    session.authFailures = 0;
    client.authenticationChanged();
    return true;
  }
  session.authFailures++;
  server.statistics.authFailures++;
  return false;
}

/** Answers wrong credentials late, and the last of too many with the end of the connection. */
function refuseCredentials(client: Client): Reply | undefined {
  const { server, session } = client;
  if (session.runsTransaction) return errorReply(wrongPassword);
  const isLast = session.authFailures >= server.limits.authFailuresMax;
  server.report({ level: 'warn', message: 'a wrong password was given', client: client.remote });
  const resume = client.suspend();
  setTimeout(() => {
    if (isLast) client.closeAfterReplies();
    resume(errorReply(wrongPassword));
  }, server.limits.authFailureDelayMs).unref();
  return undefined;
}

function auth(client: Client, args: readonly ByteString[]): Reply | undefined {
  if (args.length > 3) return errorReply(syntaxError);
  if (args.length === 2 && client.server.password === undefined) {
    return errorReply(
      'ERR AUTH <password> called without any password configured for the default user. ' +
        'Are you sure your configuration is correct?',
    );
  }
  const user = args.length === 3 ? (args[1] ?? '') : DEFAULT_USER;
  const password = args[args.length - 1] ?? '';
  return authenticate(client, user, password) ? okReply : refuseCredentials(client);
}

interface HelloRequest {
  version?: 2 | 3;
  credentials?: readonly [user: ByteString, password: ByteString];
  name?: ByteString;
}

function helloRequest(args: readonly ByteString[]): HelloRequest | string {
  const request: HelloRequest = {};
  if (args[1] !== undefined) {
    const version = integerOf(args[1]);
    if (version === undefined) return 'ERR Protocol version is not an integer or out of range';
    if (version !== 2n && version !== 3n) return 'NOPROTO unsupported protocol version';
    request.version = version === 2n ? 2 : 3;
  }
  for (let at = 2; at < args.length; at++) {
    const option = args[at]?.toLowerCase();
    const left = args.length - 1 - at;
    if (option === 'auth' && left >= 2) {
      request.credentials = [args[at + 1] ?? '', args[at + 2] ?? ''];
      at += 2;
    } else if (option === 'setname' && left >= 1) {
      request.name = args[at + 1] ?? '';
      at++;
    } else {
      return `ERR Syntax error in HELLO option '${args[at]}'`;
    }
  }
  return request;
}

function hello(client: Client, args: readonly ByteString[]): Reply | undefined {
  const { session } = client;
  const request = helloRequest(args);
  if (typeof request === 'string') return errorReply(request);
  if (request.credentials && !authenticate(client, ...request.credentials)) {
    return refuseCredentials(client);
  }
  if (!session.authenticated) {
    return errorReply(
      'NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO ' +
        'AUTH <user> <pass> option can be used to authenticate the client and select the ' +
        'RESP protocol version at the same time',
    );
  }
  if (request.name !== undefined) {
    const refusal = nameRefusal(request.name);
    if (refusal !== undefined) return errorReply(refusal);
    session.name = request.name;
  }
  if (request.version !== undefined) client.respVersion = request.version;
  const { shards, topology } = client.server.keyspace;
  return {
    kind: 'map',
    entries: [
      ['server', 'redis'],
      ['version', REDIS_VERSION],
      ['proto', client.respVersion],
      ['id', client.id],
      ['mode', topology === undefined ? 'standalone' : 'cluster'],
      ['role', ownMaster(topology, shards) === undefined ? 'master' : 'replica'],
      ['modules', []],
    ],
  };
}

function select({ server }: Client, args: readonly ByteString[]): Reply {
  const index = integerOf(args[1]);
  if (index === undefined) return errorReply(notAnInteger);
  if (index !== BigInt.asIntN(32, index)) {
    return errorReply('ERR value is out of range, value must between -2147483648 and 2147483647');
  }
  if (index === 0n) return okReply;
  if (server.keyspace.topology !== undefined) {
    return errorReply('ERR SELECT is not allowed in cluster mode');
  }
  return errorReply('ERR DB index is out of range');
}

/** Makes the session what it was when the client connected. */
function reset(client: Client): Reply {
  const { session, server } = client;
  endTransaction(session);
  session.authenticated = server.password === undefined;
  client.authenticationChanged();
  session.name = '';
  session.replies = 'on';
  session.skipsReply = false;
  session.skipsNextReply = false;
  session.readsStale = false;
  client.respVersion = 2;
  return { kind: 'simple', text: 'RESET' };
}

function quit(client: Client): Reply {
  client.closeAfterReplies();
  return okReply;
}

export const connectionCommands: readonly ServerCommand[] = [
  serverCommand({ name: 'ping', arity: -1, flags: 'fast', run: ping }),
  serverCommand({
    name: 'echo',
    arity: 2,
    flags: 'loading stale fast',
    run: (_client, args) => args[1],
  }),
  serverCommand({ name: 'hello', arity: -1, flags, run: hello }),
  serverCommand({ name: 'auth', arity: -2, flags, run: auth }),
  serverCommand({ name: 'select', arity: 2, flags: 'loading stale fast', run: select }),
  serverCommand({ name: 'reset', arity: 1, flags, inTransaction: 'immediate', run: reset }),
  serverCommand({ name: 'quit', arity: -1, flags, inTransaction: 'immediate', run: quit }),
];
