/**
 * The Redis front end: accepts clients, bounds how many they are and what they hold, and gives each
 * turn of the event loop one round of "go on, then send".
 */
import { randomBytes } from 'node:crypto';
import { type AddressInfo, createServer, type Socket, type Server as TcpServer } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { RaftsealError } from '@raftseal/interface';
import { commandTable } from '@raftseal/kv';
import { type TlsFiles, tlsServerOptions } from '../tls-files.ts';
import type { Client, Server, ServerEvent } from './client.ts';
import { CommandRegistry } from './command-registry.ts';
import { clientCommands } from './commands/client.ts';
import { clusterCommands } from './commands/cluster.ts';
import { commandCommands } from './commands/command.ts';
import { configCommands } from './commands/config.ts';
import { connectionCommands } from './commands/connection.ts';
import { infoCommands } from './commands/info.ts';
import { keyspaceCommands } from './commands/keyspace.ts';
import { serverCommands } from './commands/server.ts';
import { transactionCommands } from './commands/transaction.ts';
import { Connection } from './connection.ts';
import { Executor } from './executor.ts';
import type { Keyspace } from './keyspace.ts';
import { limitsOf, type RedisServerLimits, type RedisServerOptions } from './options.ts';
import { type PasswordCheck, passwordCheck } from './password-check.ts';
import { PendingReplies } from './pending-reply.ts';
import { Router } from './router.ts';
import { newStatistics, type RedisStatistics } from './statistics.ts';

export interface RedisServerParts {
  readonly keyspace: Keyspace;
  /** Lines of the `raftseal` section of INFO. */
  readonly infoSection?: Server['infoSection'];
  readonly report?: (event: ServerEvent) => void;
  /** Undefined: clients speak in the clear. */
  readonly tls?: TlsFiles | undefined;
}

/** How often clients that wait for a shard's pressure to clear are looked at. */
const PRESSURE_POLL_MS = 2;
/** How often idle clients are looked for, at least; more often where the timeout is short. */
const IDLE_POLL_MS_MAX = 1000;
const KEEP_ALIVE_MS = 300_000;
/** For how long a client may take to shake hands. */
const HANDSHAKE_MS = 10_000;
const BACKLOG = 511;

const protectedModeText =
  '-DENIED raftseal is running in protected mode: no password is set, so only connections from ' +
  'the loopback interface are accepted. Start it with --password-file to let others in.\r\n';

const ownCommands = [
  ...connectionCommands,
  ...clientCommands,
  ...clusterCommands,
  ...commandCommands,
  ...configCommands,
  ...infoCommands,
  ...keyspaceCommands,
  ...serverCommands,
  ...transactionCommands,
];

export class FrontEnd implements Server {
  readonly keyspace: Keyspace;
  readonly limits: RedisServerLimits;
  readonly commands: CommandRegistry = new CommandRegistry([
    ...commandTable.values(),
    ...ownCommands,
  ]);
  readonly statistics: RedisStatistics = newStatistics();
  readonly password: PasswordCheck | undefined;
  readonly startedAtMs: number;
  readonly runId: string = randomBytes(20).toString('hex');
  readonly host: string;
  readonly router: Router;
  readonly executor: Executor;
  readonly pendingReplies: PendingReplies = new PendingReplies();

  readonly #parts: RedisServerParts;
  readonly #wantedPort: number;
  readonly #tcp: TcpServer;
  /** Every socket that was accepted, with TLS the ones beneath it. */
  readonly #sockets = new Set<Socket>();
  readonly #connections = new Map<number, Connection>();
  #lastId = 0;
  #heldBytes = 0;
  #resuming: Connection[] = [];
  #dirty: Connection[] = [];
  #turnScheduled = false;
  readonly #pressed = new Set<Connection>();
  #pressureTimer: NodeJS.Timeout | undefined;
  #idleTimer: NodeJS.Timeout | undefined;
  #closing = false;

  constructor(options: RedisServerOptions, parts: RedisServerParts) {
    this.limits = limitsOf(options);
    this.host = options.host;
    this.#wantedPort = options.port;
    this.#parts = parts;
    this.keyspace = parts.keyspace;
    this.startedAtMs = parts.keyspace.nowMs();
    this.password = options.password === undefined ? undefined : passwordCheck(options.password);
    this.router = new Router(parts.keyspace);
    this.executor = new Executor({
      keyspace: parts.keyspace,
      router: this.router,
      commands: this.commands,
      statistics: this.statistics,
      waitForPressure: (connection) => this.#waitForPressure(connection),
    });
    this.#tcp = newListener(parts.tls, (socket) => this.#accept(socket));
    this.#tcp.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  get clients(): ReadonlyMap<number, Client> {
    return this.#connections;
  }

  get clientCount(): number {
    return this.#connections.size;
  }

  /** The port listened on; the one asked for before that. */
  get port(): number {
    return this.address()?.port ?? this.#wantedPort;
  }

  /** Undefined while the server does not listen. */
  address(): AddressInfo | undefined {
    const address = this.#tcp.address();
    return address === null || typeof address === 'string' ? undefined : address;
  }

  /** @throws RAFTSEAL_NODE_PORT where the address cannot be listened on. */
  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      const refused = (cause: Error): void =>
        reject(
          new RaftsealError(
            'RAFTSEAL_NODE_PORT',
            `cannot listen for Redis clients on ${this.host}:${this.#wantedPort} (${cause.message}): ` +
              'choose a free port',
            { cause },
          ),
        );
      this.#tcp.once('error', refused);
      this.#tcp.listen({ host: this.host, port: this.#wantedPort, backlog: BACKLOG }, () => {
        this.#tcp.off('error', refused);
        this.#tcp.on('error', (error) =>
          this.report({ level: 'error', message: 'the Redis listener failed', error }),
        );
        if (this.limits.idleTimeoutMs > 0) {
          const everyMs = Math.min(IDLE_POLL_MS_MAX, Math.ceil(this.limits.idleTimeoutMs / 4));
          this.#idleTimer = setInterval(() => this.#closeIdle(), everyMs).unref();
        }
        resolve();
      });
    });
  }

  /**
   * Takes no further client and no further request, gives answered requests `graceMs` to leave, and
   * closes every connection. Idempotent.
   */
  async close(graceMs = 1000): Promise<void> {
    this.#closing = true;
    clearInterval(this.#idleTimer);
    clearInterval(this.#pressureTimer);
    const closed = new Promise<void>((resolve) => this.#tcp.close(() => resolve()));
    for (const connection of this.#connections.values()) connection.closeAfterReplies();
    const timer = setTimeout(() => {
      for (const connection of this.#connections.values()) connection.close();
      // Those that are shaking hands are no connections yet.
      for (const socket of this.#sockets) socket.destroy();
    }, graceMs);
    await closed;
    clearTimeout(timer);
  }

  infoSection(): ReturnType<Server['infoSection']> {
    return this.#parts.infoSection?.() ?? [];
  }

  report(event: ServerEvent): void {
    this.#parts.report?.(event);
  }

  /** Lets a connection go on in this turn, after whatever runs now. */
  resume(connection: Connection): void {
    if (connection.resuming) return;
    connection.resuming = true;
    this.#resuming.push(connection);
    this.#scheduleTurn();
  }

  /** Lets a connection go on after others had their turn. */
  resumeNextTurn(connection: Connection): void {
    setImmediate(() => this.resume(connection));
  }

  /** Sends what a connection has to say at the end of this turn. */
  flushSoon(connection: Connection): void {
    if (connection.dirty) return;
    connection.dirty = true;
    this.#dirty.push(connection);
    this.#scheduleTurn();
  }

  /** Notes that clients hold more, or fewer, bytes; closes the largest if they are too many. */
  countBytes(change: number): void {
    this.#heldBytes += change;
    if (this.#heldBytes <= this.limits.clientsBytesMax) return;
    let largest: Connection | undefined;
    for (const connection of this.#connections.values()) {
      if (connection.countedBytes > (largest?.countedBytes ?? 0)) largest = connection;
    }
    if (largest !== undefined) this.evict(largest, 'clients hold too much memory together');
  }

  evict(connection: Connection, why: string): void {
    this.statistics.clientsEvicted++;
    this.report({ level: 'warn', message: `closed a client: ${why}`, client: connection.remote });
    connection.close();
    this.forget(connection);
  }

  /** The connection is gone, or about to be. */
  forget(connection: Connection): void {
    if (!this.#connections.delete(connection.id)) return;
    this.#pressed.delete(connection);
    this.#heldBytes -= connection.countedBytes;
  }

  #accept(socket: Socket): void {
    const refusal = this.#refusal(socket);
    if (refusal !== undefined) {
      this.statistics.connectionsRefused++;
      socket.on('error', () => socket.destroy());
      socket.end(refusal, 'latin1', () => socket.destroy());
      return;
    }
    this.statistics.connectionsAccepted++;
    this.#lastId++;
    this.#connections.set(this.#lastId, new Connection(this, this.#lastId, socket));
  }

  #refusal(socket: Socket): string | undefined {
    if (this.#closing) return '-ERR the server is shutting down\r\n';
    if (this.#connections.size >= this.limits.clientsMax) {
      return '-ERR max number of clients reached\r\n';
    }
    if (this.password === undefined && !isLoopback(socket.remoteAddress)) return protectedModeText;
    return undefined;
  }

  #scheduleTurn(): void {
    if (this.#turnScheduled) return;
    this.#turnScheduled = true;
    process.nextTick(this.#turn);
  }

  readonly #turn = (): void => {
    const resuming = this.#resuming;
    this.#resuming = [];
    for (const connection of resuming) connection.resume();
    const dirty = this.#dirty;
    this.#dirty = [];
    // What is scheduled from here on belongs to the next turn.
    this.#turnScheduled = false;
    if (this.#resuming.length > 0) this.#scheduleTurn();
    for (const connection of dirty) connection.flush();
  };

  #waitForPressure(connection: Connection): void {
    this.#pressed.add(connection);
    this.#pressureTimer ??= setInterval(() => this.#checkPressure(), PRESSURE_POLL_MS);
  }

  #checkPressure(): void {
    // A connection whose shard is still under pressure comes back at once.
    const waiting = [...this.#pressed];
    this.#pressed.clear();
    for (const connection of waiting) connection.resume();
    if (this.#pressed.size > 0) return;
    clearInterval(this.#pressureTimer);
    this.#pressureTimer = undefined;
  }

  #closeIdle(): void {
    const since = this.keyspace.nowMs() - this.limits.idleTimeoutMs;
    for (const connection of this.#connections.values()) {
      const busy = connection.inFlight > 0 || connection.suspended;
      if (!busy && connection.activeAtMs < since) connection.close();
    }
  }
}

function isLoopback(address: string | undefined): boolean {
  if (address === undefined) return false;
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
}

function newListener(tls: TlsFiles | undefined, accept: (socket: Socket) => void): TcpServer {
  // Replies to what came before a half-close are still sent; see Connection.
  const options = {
    noDelay: true,
    allowHalfOpen: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
  };
  if (tls === undefined) return createServer(options, accept);
  const handshakeTimeout = HANDSHAKE_MS;
  const server = createTlsServer(
    { ...options, ...tlsServerOptions(tls.material), handshakeTimeout },
    accept,
  );
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  tls.onChange((material) => server.setSecureContext(tlsServerOptions(material)));
  return server;
}
