/** HTTP calls to other nodes over connections that are kept, with this node's certificate if it has one. */
import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { ConnectionOptions } from 'node:tls';
import { codeOf } from '@raftseal/interface';
import { checkPeerUrl, type PeerAccess } from './access.ts';

export interface PeerCall {
  readonly baseUrl: string;
  readonly method: string;
  readonly path: string;
  readonly body?: string;
  /** False: sent once at most, over a connection of its own. */
  readonly repeatable: boolean;
  readonly signal: AbortSignal;
}

const FREE_CONNECTION_MS = 30_000;
const agentOptions = {
  keepAlive: true,
  maxSockets: 64,
  maxFreeSockets: 4,
  timeout: FREE_CONNECTION_MS,
};

export class PeerTransport {
  readonly #access: PeerAccess;
  #agent: HttpAgent;

  constructor(access: PeerAccess) {
    this.#access = access;
    this.#agent = this.#newAgent();
    // Connections under the earlier certificate end by themselves once they are idle.
    if (access.kind === 'mtls') {
      access.files.onChange(() => {
        this.#agent = this.#newAgent();
      });
    }
  }

  /** Sends a call; resolves to the head of the reply, whose body the caller reads or destroys. */
  async send(call: PeerCall): Promise<IncomingMessage> {
    const request = this.#open(call, call.repeatable ? this.#agent : false);
    try {
      return await responseOf(request, call.body);
    } catch (error) {
      // The other side closed a kept connection at the moment it was used again.
      const wasStale = request.reusedSocket && isReset(error) && !call.signal.aborted;
      if (!wasStale || !call.repeatable) throw error;
      return responseOf(this.#open(call, false), call.body);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #open(call: PeerCall, agent: HttpAgent | false): ClientRequest {
    const url = new URL(call.path, call.baseUrl);
    checkPeerUrl(this.#access, url);
    const headers: Record<string, string> = {};
    if (this.#access.kind === 'token') headers.authorization = `Bearer ${this.#access.token}`;
    if (call.body !== undefined) headers['content-type'] = 'application/json';
    const options: RequestOptions = { method: call.method, headers, agent, signal: call.signal };
    if (this.#access.kind === 'token') return httpRequest(url, options);
    return httpsRequest(url, { ...options, ...this.#tlsOptions() });
  }

  #newAgent(): HttpAgent {
    if (this.#access.kind === 'token') return new HttpAgent(agentOptions);
    return new HttpsAgent({ ...agentOptions, ...this.#tlsOptions(), maxCachedSessions: 0 });
  }

  #tlsOptions(): ConnectionOptions {
    if (this.#access.kind === 'token') return {};
    return { ...this.#access.files.material, minVersion: 'TLSv1.2', rejectUnauthorized: true };
  }
}

function responseOf(request: ClientRequest, body?: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once('response', resolve);
    request.on('error', reject);
    request.end(body);
  });
}

function isReset(error: unknown): boolean {
  return codeOf(error) === 'ECONNRESET' || codeOf(error) === 'EPIPE';
}
