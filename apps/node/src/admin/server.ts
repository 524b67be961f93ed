/**
 * The admin HTTP API. Every path needs the bearer token but /health, which tells only whether the
 * node serves. Replies are JSON; an error is `{"code": "RAFTSEAL_...", "message": "..."}`. What may
 * change something is in the audit trail before it is acted on.
 *
 * | call | does |
 * | --- | --- |
 * | GET /health | 200 while every shard serves, else 503 |
 * | GET /metrics | Prometheus metrics |
 * | GET /v1/status | the node, its shards and keys |
 * | POST /v1/encryption/enable | asks for the cutover; body `{"waves": [[1], [2, 3]]}` optional |
 * | POST /v1/encryption/seal-only | has nothing but what is sealed read any more |
 * | GET /v1/encryption/cleartext | what this node still has in the clear |
 * | POST /v1/encryption/attest | gives up what this node has in the clear, walks log, store and files |
 * | POST /v1/certificate | a sealing certificate of the whole cluster |
 * | POST /v1/keys/rotate | makes a new DEK; body `{"purpose": "raft"}`, `"storage"` or `"index"` |
 * | POST /v1/keys/rewrap | wraps every DEK under the KEKs of the control shard's leader, and no others |
 * | POST /v1/keys/blockers | what keeps a DEK from being retired; body `{"dekId": 17}` |
 * | POST /v1/keys/retire | has every replica forget a DEK that nothing needs; body `{"dekId": 17}` |
 * | POST /v1/keks/use | this node goes over to other KEKs; body `{"kekUris": ["file:/path"]}` |
 * | GET /v1/log?shard=&from=&limit= | entries of a log, without their content |
 * | POST /v1/verify | walks log, store and files |
 * | GET /v1/nonces/audit | which nonces were used, and whether one was used twice |
 * | GET /v1/digest | index and digest of each shard, equal on replicas that are as far |
 * | GET /v1/backups | the backups whose keys are kept |
 * | POST /v1/backups/create | takes a backup; body `{"path": "/new/directory"}`, on the disk of this node |
 * | POST /v1/backups/register | keeps the keys of a backup; body `{"backupId": "backup-..."}` |
 * | POST /v1/backups/forget | does so no longer; same body |
 * | POST /v1/members/promote | makes a learner a voter; body `{"nodeId": "node-..."}` |
 * | POST /v1/members/remove | removes a member for good; same body |
 * | POST /v1/shards/prefer | who should lead a shard; body `{"shard": 3, "nodeId": "node-..."}`, or null |
 */
import { isAbsolute } from 'node:path';
import { type KeyPurpose, RaftsealError } from '@raftseal/interface';
import { Hono, type MiddlewareHandler } from 'hono';
import type { TlsListenerConfig } from '../config.ts';
import { type HttpListener, openHttpListener } from '../http-listener.ts';
import { badRequest, boundedBody, errorReplyOf, jsonBody, textBody } from '../http-replies.ts';
import { openListenerTls } from '../tls-files.ts';
import { audited, type CallerOf, certificateOf, tokenFingerprint } from './audited.ts';
import type { AdminCall } from './call.ts';
import type { AdminOperations } from './operations.ts';
import { bearsToken } from './token.ts';

const LOG_ENTRIES_MAX = 10_000;
const DEK_ID_MAX = 0xffff_ffff;
/** Every member reads everything it has meanwhile. */
const WALK_MS_MAX = 65 * 60_000;
const KEKS_MAX = 16;
const KEK_URI_CHARACTERS_MAX = 2048;
const PATH_CHARACTERS_MAX = 4096;

export type AdminServer = HttpListener;

export interface AdminRoutesParts {
  readonly operations: AdminOperations;
  /**
   * Asked first about a call that the leader of the control shard has to answer. Undefined: this
   * node answers it. Without it this node answers them all.
   */
  readonly forward?: (call: AdminCall) => Promise<Response | undefined>;
  readonly callerOf: CallerOf;
}

export interface AdminAppParts extends Omit<AdminRoutesParts, 'callerOf'> {
  readonly token: string;
  /** Told of failures that no caller can mend. */
  readonly onInternalError: (error: unknown) => void;
}

/**
 * With TLS and a CA for clients, callers need a certificate besides the token.
 * @throws RAFTSEAL_NODE_PORT, RAFTSEAL_NODE_CERTIFICATE, RAFTSEAL_NODE_SECRET_FILE
 */
export async function adminServer(
  config: TlsListenerConfig,
  parts: AdminAppParts,
): Promise<AdminServer> {
  const tls = await openListenerTls(config.tls, { onFailure: parts.onInternalError });
  const { fetch } = adminApp(parts);
  try {
    const listener = await openHttpListener({ what: 'admin API', address: config, fetch, tls });
    return { port: listener.port, close: () => listener.close().finally(() => tls?.close()) };
  } catch (error) {
    tls?.close();
    throw error;
  }
}

export function adminApp(parts: AdminAppParts): Hono {
  const { operations, token, onInternalError } = parts;
  const app = new Hono();
  app.get('/health', (c) =>
    operations.healthy ? c.json({ status: 'ok' }) : c.json({ status: 'unavailable' }, 503),
  );
  app.use(async (c, next) => {
    if (!bearsToken(c.req.header('authorization'), token)) throw unauthorized();
    await next();
  });
  app.use(boundedBody());
  const bearer = tokenFingerprint(token);
  const callerOf: CallerOf = (c) => [certificateOf(c), bearer].filter(Boolean).join(', ');
  app.route('/', adminRoutes({ ...parts, callerOf }));
  app.notFound(() => {
    throw new RaftsealError('RAFTSEAL_NODE_NOT_FOUND', 'there is no such admin call');
  });
  app.onError((error, c) => {
    const { reply, status } = errorReplyOf(error, onInternalError);
    return c.json(reply, status);
  });
  return app;
}

/** The calls themselves, for an application that has found out who calls and bounds the body. */
export function adminRoutes({ operations, forward, callerOf }: AdminRoutesParts): Hono {
  const app = new Hono();
  app.use(
    '/v1/*',
    audited((call) => operations.noteCall(call), callerOf),
  );
  const atLeaderWithin =
    (time: Pick<AdminCall, 'timeoutMs'>): MiddlewareHandler =>
    async (c, next) => {
      const { pathname, search } = new URL(c.req.url);
      const { method } = c.req;
      const body = await textBody(c.req);
      const reply = await forward?.({ method, path: pathname + search, body, ...time });
      if (reply) return reply;
      await next();
      return undefined;
    };
  const atLeader = atLeaderWithin({});
  const atLeaderForLong = atLeaderWithin({ timeoutMs: WALK_MS_MAX });
  app.get('/metrics', async (c) => {
    const { contentType, text } = await operations.metrics();
    return c.body(text, 200, { 'content-type': contentType });
  });
  app.get('/v1/status', (c) => c.json(operations.status()));
  app.post('/v1/encryption/enable', atLeader, async (c) => {
    await operations.enableEncryption(wavesOf(await jsonBody(c.req)));
    return c.json(operations.status(), 202);
  });
  app.post('/v1/encryption/seal-only', atLeaderForLong, async (c) => {
    await operations.enableSealedOnly();
    return c.json(operations.status());
  });
  app.get('/v1/encryption/cleartext', async (c) => c.json(await operations.cleartextLeft()));
  app.post('/v1/encryption/attest', async (c) => {
    await jsonBody(c.req);
    return c.json(await operations.attest());
  });
  app.post('/v1/certificate', atLeaderForLong, async (c) => {
    return c.json({ certificate: await operations.certificate() });
  });
  app.post('/v1/keys/rotate', atLeader, async (c) => {
    const purpose = purposeOf(await jsonBody(c.req));
    return c.json({ purpose, dekId: await operations.rotate(purpose) });
  });
  app.post('/v1/keys/rewrap', atLeader, async (c) => {
    return c.json({ kekUris: await operations.rewrap() });
  });
  app.post('/v1/keys/blockers', atLeader, async (c) => {
    const dekId = dekIdOf(await jsonBody(c.req));
    return c.json({ blockers: await operations.retirementBlockers(dekId) });
  });
  app.post('/v1/keys/retire', atLeader, async (c) => {
    return c.json(await operations.retire(dekIdOf(await jsonBody(c.req))));
  });
  app.post('/v1/keks/use', async (c) => {
    await operations.useKeks(kekUrisOf(await jsonBody(c.req)));
    return c.json(operations.status());
  });
  app.get('/v1/log', async (c) => c.json(await operations.inspectLog(logRequestOf(c.req.query()))));
  app.post('/v1/verify', async (c) => c.json(await operations.verify()));
  app.get('/v1/nonces/audit', async (c) => c.json(await operations.auditNonces()));
  app.get('/v1/digest', async (c) => c.json(await operations.digest()));
  app.get('/v1/backups', (c) => c.json({ backups: operations.backups() }));
  app.post('/v1/backups/create', async (c) => {
    return c.json(await operations.createBackup(pathOf(await jsonBody(c.req))));
  });
  app.post('/v1/backups/register', atLeader, async (c) => {
    return c.json({ dekIds: await operations.registerBackup(backupIdOf(await jsonBody(c.req))) });
  });
  app.post('/v1/backups/forget', atLeader, async (c) => {
    await operations.forgetBackup(backupIdOf(await jsonBody(c.req)));
    return c.json({});
  });
  app.post('/v1/members/promote', atLeader, async (c) => {
    await operations.promoteMember(nodeIdOf(await jsonBody(c.req)));
    return c.json(operations.status());
  });
  app.post('/v1/members/remove', atLeader, async (c) => {
    await operations.removeMember(nodeIdOf(await jsonBody(c.req)));
    return c.json(operations.status());
  });
  app.post('/v1/shards/prefer', async (c) => {
    const body = await jsonBody(c.req);
    const { shard, nodeId } = body;
    if (!Number.isSafeInteger(shard)) throw badRequest('expected "shard" to be a shard id');
    await operations.preferLeader(Number(shard), nodeId === null ? null : nodeIdOf(body));
    return c.json(operations.status());
  });
  return app;
}

function wavesOf({ waves }: Record<string, unknown>): readonly (readonly number[])[] | undefined {
  if (waves === undefined) return undefined;
  const isWave = (wave: unknown): wave is number[] =>
    Array.isArray(wave) && wave.every((shardId) => Number.isSafeInteger(shardId));
  if (Array.isArray(waves) && waves.every(isWave)) return waves;
  throw badRequest('expected "waves" as lists of shard ids, such as [[1], [2, 3]]');
}

function nodeIdOf({ nodeId }: Record<string, unknown>): string {
  if (typeof nodeId === 'string' && /^[\w.-]{1,200}$/.test(nodeId)) return nodeId;
  throw badRequest('expected "nodeId" to be the id of a node, such as node-0123456789abcdef');
}

function purposeOf({ purpose }: Record<string, unknown>): KeyPurpose {
  if (purpose === 'raft' || purpose === 'storage' || purpose === 'index') return purpose;
  throw badRequest('expected "purpose" to be "raft", "storage" or "index"');
}

function dekIdOf({ dekId }: Record<string, unknown>): number {
  if (Number.isSafeInteger(dekId) && Number(dekId) > 0 && Number(dekId) <= DEK_ID_MAX) {
    return Number(dekId);
  }
  throw badRequest(`expected "dekId" to be a whole number from 1 to ${DEK_ID_MAX}`);
}

function kekUrisOf({ kekUris }: Record<string, unknown>): readonly string[] {
  const isUri = (uri: unknown): uri is string =>
    typeof uri === 'string' && uri.length <= KEK_URI_CHARACTERS_MAX && /^[^\p{C}]+$/u.test(uri);
  const isList = Array.isArray(kekUris) && kekUris.length > 0 && kekUris.length <= KEKS_MAX;
  if (isList && kekUris.every(isUri)) return kekUris;
  throw badRequest(`expected "kekUris" to be 1 to ${KEKS_MAX} URIs, such as ["file:/path"]`);
}

function pathOf({ path }: Record<string, unknown>): string {
  const isPath = typeof path === 'string' && isAbsolute(path) && path.length <= PATH_CHARACTERS_MAX;
  if (isPath && /^[^\p{C}]+$/u.test(path)) return path;
  throw badRequest('expected "path" to be an absolute path on the disk of the node');
}

function backupIdOf({ backupId }: Record<string, unknown>): string {
  if (typeof backupId === 'string' && /^[\w.-]{1,128}$/.test(backupId)) return backupId;
  throw badRequest(
    'expected "backupId" to be the id of a backup, such as backup-20260131T120000Z-89abcdef',
  );
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
