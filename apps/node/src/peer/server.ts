/**
 * The port on which the other nodes of the cluster call this one: over TLS with certificates on both
 * sides, or on loopback with a token that all share. Whoever cannot show one of them gets nothing.
 * Replies are JSON unless it is said; an error is `{"code": "RAFTSEAL_...", "message": "..."}`, with
 * `leader`, where it is known, if only the leader of the control shard can answer.
 *
 * | call | does |
 * | --- | --- |
 * | GET /v1/identity | who this node is |
 * | POST /v1/members | takes the caller in as a member |
 * | POST /v1/registrations | puts a claim of a nonce epoch in the log |
 * | POST /v1/capability | shows that this node has the KEK |
 * | GET /v1/key-state | the key state of the replicas, as bytes |
 * | POST /v1/key-needs | what this node needs a DEK for |
 * | POST /v1/logs/turn-over | turns over the logs that this node leads |
 * | GET /v1/snapshots/:shardId | a snapshot of a shard: u32 length, header, chunks |
 * | GET /v1/nonces/records?part=&of= | what the stores were sealed with: u32 0, then nonce records |
 * | GET /v1/nonces/evidence | who may have sealed it |
 * | ... /admin/... | the admin API, answered by this node and never forwarded |
 */
import { TLSSocket } from 'node:tls';
import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { RaftsealError } from '@raftseal/interface';
import { Hono, type MiddlewareHandler } from 'hono';
import { type CallerOf, certificateOf, tokenFingerprint } from '../admin/audited.ts';
import type { AdminOperations } from '../admin/operations.ts';
import { adminRoutes } from '../admin/server.ts';
import { bearsToken } from '../admin/token.ts';
import type { ListenerConfig } from '../config.ts';
import { type HttpListener, type ListenerTimeouts, openHttpListener } from '../http-listener.ts';
import { badRequest, boundedBody, errorReplyOf, jsonBody } from '../http-replies.ts';
import type { NoncePart } from '../nonces/nonce-record.ts';
import type { PeerAccess } from './access.ts';
import { Fields } from './fields.ts';
import {
  proofJson,
  readChallenge,
  readDekId,
  readJoinRequest,
  readRegistration,
} from './messages.ts';
import { NotControlLeaderError } from './not-control-leader.ts';
import type { PeerOperations } from './operations.ts';
import { sendSnapshot } from './snapshot-stream.ts';

const SNAPSHOT_IDLE_MS = 60_000;

export type PeerServer = HttpListener;

export interface PeerServerParts {
  readonly access: PeerAccess;
  readonly operations: PeerOperations;
  readonly admin: AdminOperations;
  /** Told of failures that no caller can mend. */
  readonly onInternalError: (error: unknown) => void;
  readonly timeouts?: Partial<PeerServerTimeouts>;
}

export interface PeerServerTimeouts extends ListenerTimeouts {
  /** For how long the receiver of a snapshot may take nothing. */
  readonly snapshotIdleMs: number;
}

/** @throws RAFTSEAL_NODE_PORT */
export function peerServer(address: ListenerConfig, parts: PeerServerParts): Promise<PeerServer> {
  const { access, timeouts } = parts;
  const tls = access.kind === 'mtls' ? access.files : undefined;
  const { fetch } = peerApp(parts);
  return openHttpListener({ what: 'peer listener', address, fetch, tls, timeouts });
}

export function peerApp(parts: PeerServerParts): Hono<PeerEnvironment> {
  const { access, operations, admin, onInternalError } = parts;
  const app = new Hono<PeerEnvironment>();
  app.use(onlyPeers(access));
  app.use(boundedBody());
  app.get('/v1/identity', (c) => c.json(operations.identity()));
  app.post('/v1/members', async (c) => {
    return c.json(await operations.join(readJoinRequest(await fieldsOf(c.req))));
  });
  app.post('/v1/registrations', async (c) => {
    await operations.recordRegistration(readRegistration(await fieldsOf(c.req)));
    return c.json({});
  });
  app.post('/v1/capability', async (c) => {
    return c.json(
      proofJson(await operations.proveCapability(readChallenge(await fieldsOf(c.req)))),
    );
  });
  app.get('/v1/key-state', async (c) => {
    const keyState = Uint8Array.from(await operations.keyState());
    return c.body(keyState, 200, { 'content-type': 'application/octet-stream' });
  });
  app.post('/v1/key-needs', async (c) => {
    return c.json(await operations.keyNeeds(readDekId(await fieldsOf(c.req))));
  });
  app.post('/v1/logs/turn-over', async (c) => {
    await fieldsOf(c.req);
    return c.json({ shardIds: await operations.turnOverLogs() });
  });
  app.get('/v1/snapshots/:shardId', async (c) => {
    const snapshot = await operations.snapshot(shardIdOf(c.req.param('shardId')));
    const idleMs = parts.timeouts?.snapshotIdleMs ?? SNAPSHOT_IDLE_MS;
    await sendSnapshot(snapshot, c.env.outgoing, idleMs).catch(onInternalError);
    return RESPONSE_ALREADY_SENT;
  });
  app.get('/v1/nonces/records', async (c) => {
    const stream = operations.nonceRecords(noncePartOf(c.req.query()));
    const idleMs = parts.timeouts?.snapshotIdleMs ?? SNAPSHOT_IDLE_MS;
    const headless = { ...stream, header: new Uint8Array(0) };
    await sendSnapshot(headless, c.env.outgoing, idleMs).catch(onInternalError);
    return RESPONSE_ALREADY_SENT;
  });
  app.get('/v1/nonces/evidence', async (c) => c.json(await operations.nonceEvidence()));
  const bearer = access.kind === 'token' ? tokenFingerprint(access.token) : 'mTLS';
  const callerOf: CallerOf = (c) => `peer, ${certificateOf(c) ?? bearer}`;
  app.route('/admin', adminRoutes({ operations: admin, callerOf }));
  app.notFound(() => {
    throw new RaftsealError('RAFTSEAL_NODE_NOT_FOUND', 'there is no such peer call');
  });
  app.onError((error, c) => {
    const { reply, status } = errorReplyOf(error, onInternalError);
    const leader = error instanceof NotControlLeaderError ? error.leaderUrl : undefined;
    return c.json(leader === undefined ? reply : { ...reply, leader }, status);
  });
  return app;
}

interface PeerEnvironment {
  readonly Bindings: HttpBindings;
}

/** The listener refuses who has no certificate; asked again here, it cannot be wired open. */
function onlyPeers(access: PeerAccess): MiddlewareHandler<PeerEnvironment> {
  return async (c, next) => {
    const isPeer =
      access.kind === 'mtls'
        ? isVerified(c.env.incoming.socket)
        : bearsToken(c.req.header('authorization'), access.token);
    if (!isPeer) throw notPeer(access);
    await next();
  };
}

function isVerified(socket: unknown): boolean {
  return socket instanceof TLSSocket && socket.authorized;
}

function notPeer({ kind }: PeerAccess): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_PEER_REFUSED',
    kind === 'mtls'
      ? 'expected a certificate that the CA of this cluster has signed'
      : 'expected `Authorization: Bearer <token>` with the token that the nodes of this cluster share',
  );
}

async function fieldsOf(request: Pick<Request, 'text'>): Promise<Fields> {
  return new Fields(await jsonBody(request), badRequest);
}

function noncePartOf({ part = '', of = '' }: Record<string, string>): NoncePart {
  const whole = [part, of].every((text) => /^\d{1,7}$/.test(text));
  if (whole && Number(part) < Number(of)) return { part: Number(part), of: Number(of) };
  throw badRequest('expected "part" and "of", and the former below the latter');
}

function shardIdOf(text: string): number {
  if (/^\d{1,4}$/.test(text)) return Number(text);
  throw badRequest('expected the number of a shard');
}
