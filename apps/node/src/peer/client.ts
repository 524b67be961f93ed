/**
 * This node's side of the calls between peers: one method for each, taking the base URL of the node
 * that is asked, as `peerUrl` makes it. Every call is bounded in time and every reply in size;
 * nothing of it is taken unchecked. All throw RAFTSEAL_NODE_PEER_UNAVAILABLE, _PEER_REFUSED and
 * _PEER_REPLY; a coded error of the other node comes back with the same code, and is never fatal.
 */
import type { IncomingMessage } from 'node:http';
import type { AdminCall } from '../admin/call.ts';
import { type NonceEvidence, readEvidence } from '../nonces/evidence.ts';
import type { NoncePart } from '../nonces/nonce-record.ts';
import type { KeyNeeds } from '../retirement/key-needs.ts';
import type { PeerAccess } from './access.ts';
import { failureOf, malformed, remoteError } from './failures.ts';
import { Fields } from './fields.ts';
import {
  challengeJson,
  readIdentity,
  readJoinReply,
  readKeyNeeds,
  readProof,
  readShardIds,
  registrationJson,
} from './messages.ts';
import type {
  CapabilityChallenge,
  CapabilityProof,
  JoinReply,
  JoinRequest,
  PeerIdentity,
  RegistrationRequest,
} from './operations.ts';
import { type ReceivedSnapshot, receiveSnapshot } from './snapshot-stream.ts';
import { type PeerCall, PeerTransport } from './transport.ts';

export interface PeerClientTimeouts {
  /** A call that the other node answers by itself. */
  readonly callMs: number;
  /** A call for which something is agreed by the log, or a state collected. */
  readonly longCallMs: number;
  /** For how long nothing may come of a snapshot that is read. */
  readonly snapshotIdleMs: number;
}

const timeoutsDefault: PeerClientTimeouts = {
  callMs: 10_000,
  longCallMs: 30_000,
  snapshotIdleMs: 30_000,
};
const MESSAGE_BYTES_MAX = 256 * 1024;
const KEY_STATE_BYTES_MAX = 16 * 1024 * 1024;
const EVIDENCE_BYTES_MAX = 64 * 1024 * 1024;
const ADMIN_REPLY_BYTES_MAX = 16 * 1024 * 1024;

interface Limits {
  readonly timeoutMs: number;
  readonly bytesMax: number;
  readonly signal?: AbortSignal | undefined;
}

type Request = Omit<PeerCall, 'signal' | 'repeatable'> & { readonly repeatable?: boolean };

interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
}

export class PeerClient {
  readonly #transport: PeerTransport;
  readonly #timeouts: PeerClientTimeouts;
  readonly #underWay = new Set<AbortController>();
  readonly #snapshots = new Set<ReceivedSnapshot>();
  #closed = false;

  constructor(access: PeerAccess, timeouts: Partial<PeerClientTimeouts> = {}) {
    this.#transport = new PeerTransport(access);
    this.#timeouts = { ...timeoutsDefault, ...timeouts };
  }

  async identity(baseUrl: string): Promise<PeerIdentity> {
    const { callMs } = this.#timeouts;
    return readIdentity(await this.#ask({ baseUrl, method: 'GET', path: '/v1/identity' }, callMs));
  }

  /** @throws NotControlLeaderError, with where the leader is if that is known */
  async join(baseUrl: string, request: JoinRequest): Promise<JoinReply> {
    return readJoinReply(await this.#post(baseUrl, '/v1/members', request));
  }

  /** @throws NotControlLeaderError, with where the leader is if that is known */
  async recordRegistration(baseUrl: string, request: RegistrationRequest): Promise<void> {
    await this.#post(baseUrl, '/v1/registrations', registrationJson(request));
  }

  async proveCapability(baseUrl: string, challenge: CapabilityChallenge): Promise<CapabilityProof> {
    const { callMs } = this.#timeouts;
    const body = JSON.stringify(challengeJson(challenge));
    // Shorter than the call in which it is asked for, so that the caller learns what was wrong.
    const call = { baseUrl, method: 'POST', path: '/v1/capability', body };
    return readProof(await this.#ask(call, callMs));
  }

  async keyState(baseUrl: string): Promise<Buffer> {
    const limits = { timeoutMs: this.#timeouts.longCallMs, bytesMax: KEY_STATE_BYTES_MAX };
    const call = { baseUrl, method: 'GET', path: '/v1/key-state' };
    return (await this.#reply(call, limits)).body;
  }

  async keyNeeds(baseUrl: string, dekId: number): Promise<KeyNeeds> {
    return readKeyNeeds(await this.#post(baseUrl, '/v1/key-needs', { dekId }));
  }

  async turnOverLogs(baseUrl: string): Promise<readonly number[]> {
    return readShardIds(await this.#post(baseUrl, '/v1/logs/turn-over', {}));
  }

  /** The caller releases it. Chunks come as they are asked for, with other boundaries than sent. */
  snapshot(baseUrl: string, shardId: number): Promise<ReceivedSnapshot> {
    return this.#stream(baseUrl, `/v1/snapshots/${shardId}`);
  }

  /** As `snapshot`, with an empty header. */
  nonceRecords(baseUrl: string, { part, of }: NoncePart): Promise<ReceivedSnapshot> {
    return this.#stream(baseUrl, `/v1/nonces/records?part=${part}&of=${of}`);
  }

  async nonceEvidence(baseUrl: string): Promise<NonceEvidence> {
    const limits = { timeoutMs: this.#timeouts.longCallMs, bytesMax: EVIDENCE_BYTES_MAX };
    const call = { baseUrl, method: 'GET', path: '/v1/nonces/evidence' };
    const { body } = await this.#reply(call, limits);
    return readEvidence(new Fields(jsonOf(body), (expected) => malformed(baseUrl, expected)));
  }

  async #stream(baseUrl: string, path: string): Promise<ReceivedSnapshot> {
    const { longCallMs: timeoutMs, snapshotIdleMs: idleMs } = this.#timeouts;
    const call = { baseUrl, method: 'GET', path, repeatable: false };
    return this.#call(call, { timeoutMs }, async (response) => {
      if (response.statusCode !== 200) {
        throw errorOf(baseUrl, await replyOf(response, baseUrl, MESSAGE_BYTES_MAX));
      }
      const snapshot = await receiveSnapshot(response, {
        idleMs,
        unavailable: (cause) => failureOf(baseUrl, cause),
        malformed: (found) => malformed(baseUrl, found),
      });
      this.#snapshots.add(snapshot);
      response.once('close', () => this.#snapshots.delete(snapshot));
      return snapshot;
    });
  }

  /**
   * Has another node answer an admin call, sent once at most: where it fails, what it asks for may
   * have been done. The reply is the other node's, refusals too.
   * @param signal ends the wait for it.
   */
  async forward(baseUrl: string, asked: AdminCall, signal?: AbortSignal): Promise<Response> {
    const { method, path, body, timeoutMs = this.#timeouts.longCallMs } = asked;
    const limits = { timeoutMs, bytesMax: ADMIN_REPLY_BYTES_MAX, signal };
    const content = method === 'GET' ? {} : { body };
    const call = { baseUrl, method, path: `/admin${path}`, repeatable: false, ...content };
    const reply = await this.#exchange(call, limits);
    // Not the caller, this node was refused.
    if (reply.status === 401) throw errorOf(baseUrl, reply);
    const headers = { 'content-type': reply.contentType };
    return new Response(Uint8Array.from(reply.body), { status: reply.status, headers });
  }

  /** Ends every call and snapshot that is under way. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const ending of this.#underWay) ending.abort(new Error('this node is stopping'));
    for (const snapshot of this.#snapshots) snapshot.release();
    this.#transport.close();
  }

  #post(baseUrl: string, path: string, message: object): Promise<Fields> {
    const body = JSON.stringify(message);
    return this.#ask({ baseUrl, method: 'POST', path, body }, this.#timeouts.longCallMs);
  }

  async #ask(call: Request, timeoutMs: number): Promise<Fields> {
    const { body } = await this.#reply(call, { timeoutMs, bytesMax: MESSAGE_BYTES_MAX });
    return new Fields(jsonOf(body), (expected) => malformed(call.baseUrl, expected));
  }

  async #reply(call: Request, limits: Limits): Promise<Reply> {
    const reply = await this.#exchange(call, limits);
    if (reply.status === 200) return reply;
    throw errorOf(call.baseUrl, reply);
  }

  #exchange(call: Request, { timeoutMs, bytesMax, signal }: Limits): Promise<Reply> {
    const { baseUrl } = call;
    const act = (response: IncomingMessage): Promise<Reply> => replyOf(response, baseUrl, bytesMax);
    return this.#call(call, { timeoutMs, signal }, act);
  }

  /** Whatever `act` waits for ends with the time, and with the client. */
  async #call<T>(
    call: Request,
    { timeoutMs, signal: given }: Omit<Limits, 'bytesMax'>,
    act: (response: IncomingMessage) => Promise<T>,
  ): Promise<T> {
    const ending = new AbortController();
    const { signal } = ending;
    this.#underWay.add(ending);
    const late = (): void => ending.abort(new Error(`no answer within ${timeoutMs} ms`));
    const timer = setTimeout(late, timeoutMs);
    const end = (): void => ending.abort(given?.reason);
    given?.addEventListener('abort', end, { once: true });
    try {
      if (this.#closed) throw new Error('this node is stopping');
      given?.throwIfAborted();
      return await act(await this.#transport.send({ repeatable: true, ...call, signal }));
    } catch (error) {
      throw failureOf(call.baseUrl, signal.aborted ? signal.reason : error);
    } finally {
      clearTimeout(timer);
      given?.removeEventListener('abort', end);
      this.#underWay.delete(ending);
    }
  }
}

async function replyOf(
  response: IncomingMessage,
  baseUrl: string,
  bytesMax: number,
): Promise<Reply> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    pieces.push(piece);
    length += piece.length;
    if (length > bytesMax) throw malformed(baseUrl, `a reply of more than ${bytesMax} bytes`);
  }
  const status = response.statusCode ?? 0;
  const contentType = response.headers['content-type'] ?? 'application/json';
  return { status, contentType, body: Buffer.concat(pieces) };
}

function errorOf(baseUrl: string, { status, body }: Reply): Error {
  return remoteError(baseUrl, status, jsonOf(body));
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}
