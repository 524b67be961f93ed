/**
 * A port that an HTTP application answers on, with or without TLS. Everything that a client can
 * draw out is bounded in time: handshake, head, body, and how long an idle connection is kept.
 */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { codeOf, RaftsealError } from '@raftseal/interface';
import type { ListenerConfig } from './config.ts';
import { type TlsFiles, tlsServerOptions } from './tls-files.ts';

export interface HttpListener {
  readonly port: number;
  /** Ends every connection, whatever it is in the middle of. Idempotent. */
  close(): Promise<void>;
}

export interface HttpListenerOptions {
  /** Names it in refusals, such as `admin API`. */
  readonly what: string;
  readonly address: ListenerConfig;
  readonly fetch: Parameters<typeof getRequestListener>[0];
  /** With `ca` in them, clients must show a certificate that it has signed. */
  readonly tls?: TlsFiles | undefined;
  readonly timeouts?: Partial<ListenerTimeouts> | undefined;
}

export interface ListenerTimeouts {
  readonly handshakeMs: number;
  /** From the start of a call until its head has arrived. */
  readonly headMs: number;
  /** From the start of a call until its body has arrived. */
  readonly requestMs: number;
  readonly idleMs: number;
}

const timeoutsDefault: ListenerTimeouts = {
  handshakeMs: 5_000,
  headMs: 10_000,
  requestMs: 20_000,
  idleMs: 60_000,
};
const CHECKS_PER_TIMEOUT = 4;
const CONNECTIONS_MAX = 512;
const HEAD_BYTES_MAX = 8 * 1024;

/** @throws RAFTSEAL_NODE_PORT */
export async function openHttpListener(options: HttpListenerOptions): Promise<HttpListener> {
  const server = newServer(options);
  server.maxConnections = CONNECTIONS_MAX;
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const { host, port } = options.address;
  await new Promise<void>((resolve, reject) => {
    const refuse = (cause: Error): void => reject(portError(options.what, options.address, cause));
    server.once('error', refuse);
    server.listen({ host, port }, () => {
      server.off('error', refuse);
      resolve();
    });
  });
  const { port: listening } = server.address() as AddressInfo;
  return { port: listening, close: () => closeServer(server, sockets) };
}

/** The error of a listener that could not open its port. */
function portError(what: string, config: ListenerConfig, cause: unknown): RaftsealError {
  const reason = codeOf(cause) ?? 'unexpected error';
  return new RaftsealError(
    'RAFTSEAL_NODE_PORT',
    `the ${what} cannot listen on ${config.host}:${config.port} (${reason}): another process may ` +
      'use the port, or the address is not of this machine; choose another one',
    { cause },
  );
}

function newServer({ fetch, tls, timeouts }: HttpListenerOptions): Server | HttpsServer {
  const limits = { ...timeoutsDefault, ...timeouts };
  const common: ServerOptions = {
    headersTimeout: limits.headMs,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.idleMs,
    connectionsCheckingInterval: Math.ceil(limits.headMs / CHECKS_PER_TIMEOUT),
    maxHeaderSize: HEAD_BYTES_MAX,
  };
  const answer = getRequestListener(fetch, { hostname: 'localhost' });
  const listener = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    void answer(incoming, outgoing);
  };
  if (!tls) return createHttpServer(common, listener);
  const server = createHttpsServer(
    { ...common, ...tlsServerOptions(tls.material), handshakeTimeout: limits.handshakeMs },
    listener,
  );
  tls.onChange((material) => server.setSecureContext(tlsServerOptions(material)));
  return server;
}

function closeServer(server: Server | HttpsServer, sockets: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const socket of sockets) socket.destroy();
  });
}
