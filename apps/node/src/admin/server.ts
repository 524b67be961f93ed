/**
 * The admin HTTP API. Every path needs the bearer token but /health, which tells only whether the
 * node serves. Replies are JSON; an error is `{"code": "RAFTSEAL_...", "message": "..."}`.
 *
 * | call | does |
 * | --- | --- |
 * | GET /health | 200 while every shard serves, else 503 |
 * | GET /metrics | Prometheus metrics |
 * | GET /v1/status | the node, its shards and keys |
 * | POST /v1/encryption/enable | asks for the cutover; body `{"waves": [[1], [2, 3]]}` optional |
 * | POST /v1/keys/rotate | makes a new DEK; body `{"purpose": "raft"}` or `"storage"` |
 * | GET /v1/log?shard=&from=&limit= | entries of a log, without their content |
 * | POST /v1/verify | walks log, store and files |
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { type ServerType, serve } from '@hono/node-server';
import { codeOf, type ErrorCode, type KeyPurpose, RaftsealError } from '@raftseal/interface';
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { ListenerConfig } from '../config.ts';
import type { AdminOperations } from './operations.ts';

const BODY_BYTES_MAX = 64 * 1024;
const LOG_ENTRIES_MAX = 10_000;

export interface AdminServer {
  readonly port: number;
  close(): Promise<void>;
}

export interface AdminServerParts {
  readonly operations: AdminOperations;
  readonly token: string;
  /** Told of failures that no caller can mend. */
  readonly onInternalError: (error: unknown) => void;
}

/** @throws RAFTSEAL_NODE_PORT */
export function adminServer(config: ListenerConfig, parts: AdminServerParts): Promise<AdminServer> {
  const app = adminApp(parts);
  return new Promise((resolve, reject) => {
    const server: ServerType = serve(
      { fetch: app.fetch, hostname: config.host, port: config.port },
      (address: AddressInfo) => resolve({ port: address.port, close: () => closeServer(server) }),
    );
    server.once('error', (cause) => reject(portError('admin API', config, cause)));
  });
}

/** The error of a listener that could not open its port. */
export function portError(what: string, config: ListenerConfig, cause: unknown): RaftsealError {
  const reason = codeOf(cause) ?? 'unexpected error';
  return new RaftsealError(
    'RAFTSEAL_NODE_PORT',
    `the ${what} cannot listen on ${config.host}:${config.port} (${reason}): another process may ` +
      'use the port, or the address is not of this machine; choose another one',
    { cause },
  );
}

export function adminApp({ operations, token, onInternalError }: AdminServerParts): Hono {
  const app = new Hono();
  app.get('/health', (c) =>
    operations.healthy ? c.json({ status: 'ok' }) : c.json({ status: 'unavailable' }, 503),
  );
  app.use(async (c, next) => {
    if (!isAuthorized(c.req.header('authorization'), token)) throw unauthorized();
    await next();
  });
  app.use(
    bodyLimit({
      maxSize: BODY_BYTES_MAX,
      onError: () => {
        throw badRequest(`expected a body of at most ${BODY_BYTES_MAX} bytes`);
      },
    }),
  );
  app.get('/metrics', async (c) => {
    const { contentType, text } = await operations.metrics();
    return c.body(text, 200, { 'content-type': contentType });
  });
  app.get('/v1/status', (c) => c.json(operations.status()));
  app.post('/v1/encryption/enable', async (c) => {
    await operations.enableEncryption(wavesOf(await jsonBody(c.req)));
    return c.json(operations.status(), 202);
  });
  app.post('/v1/keys/rotate', async (c) => {
    const purpose = purposeOf(await jsonBody(c.req));
    return c.json({ purpose, dekId: await operations.rotate(purpose) });
  });
  app.get('/v1/log', async (c) => c.json(await operations.inspectLog(logRequestOf(c.req.query()))));
  app.post('/v1/verify', async (c) => c.json(await operations.verify()));
  app.notFound(() => {
    throw new RaftsealError('RAFTSEAL_NODE_NOT_FOUND', 'there is no such admin call');
  });
  app.onError((error, c) => {
    const known = error instanceof RaftsealError;
    if (!known) onInternalError(error);
    const code: ErrorCode = known ? error.code : 'RAFTSEAL_NODE_INTERNAL';
    const message = known ? error.message : 'unexpected failure: see the log of the node';
    return c.json({ code, message }, statuses[code] ?? statusOfRefusal);
  });
  return app;
}

/** Any other refusal is one of the state that the node is in. */
const statusOfRefusal = 409;

const statuses: Partial<Record<ErrorCode, ContentfulStatusCode>> = {
  RAFTSEAL_NODE_UNAUTHORIZED: 401,
  RAFTSEAL_NODE_BAD_REQUEST: 400,
  RAFTSEAL_NODE_NOT_FOUND: 404,
  RAFTSEAL_NODE_INTERNAL: 500,
};

/** Compares digests, so that neither content nor length of the token shows in the time taken. */
function isAuthorized(header: string | undefined, token: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(header ?? ''), digest(`Bearer ${token}`));
}

async function jsonBody(request: { text(): Promise<string> }): Promise<Record<string, unknown>> {
  const text = await request.text();
  if (text === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw badRequest('expected a JSON body');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badRequest('expected a JSON object');
  }
  return value as Record<string, unknown>;
}

function wavesOf({ waves }: Record<string, unknown>): readonly (readonly number[])[] | undefined {
  if (waves === undefined) return undefined;
  const isWave = (wave: unknown): wave is number[] =>
    Array.isArray(wave) && wave.every((shardId) => Number.isSafeInteger(shardId));
  if (Array.isArray(waves) && waves.every(isWave)) return waves;
  throw badRequest('expected "waves" as lists of shard ids, such as [[1], [2, 3]]');
}

function purposeOf({ purpose }: Record<string, unknown>): KeyPurpose {
  if (purpose === 'raft' || purpose === 'storage') return purpose;
  throw badRequest('expected "purpose" to be "raft" or "storage"');
}

function logRequestOf(query: Record<string, string>): {
  readonly shardId: number;
  readonly from: bigint | undefined;
  readonly limit: number;
} {
  const { shard = '0', from, limit = '100' } = query;
  const whole = [shard, from ?? '1', limit].every((text) => /^\d{1,19}$/.test(text));
  if (!whole || Number(from ?? '1') < 1 || Number(limit) < 1 || Number(limit) > LOG_ENTRIES_MAX) {
    throw badRequest(
      `expected a shard, an index from 1 on and a limit from 1 to ${LOG_ENTRIES_MAX}, as whole ` +
        'numbers',
    );
  }
  return {
    shardId: Number(shard),
    from: from === undefined ? undefined : BigInt(from),
    limit: Number(limit),
  };
}

function unauthorized(): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_UNAUTHORIZED',
    'expected `Authorization: Bearer <token>` with the token of admin.token in the data directory',
  );
}

function badRequest(message: string): RaftsealError {
  return new RaftsealError('RAFTSEAL_NODE_BAD_REQUEST', message);
}

function closeServer(server: ServerType): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    if ('closeAllConnections' in server) server.closeAllConnections();
  });
}
