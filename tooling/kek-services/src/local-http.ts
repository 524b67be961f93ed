/** An HTTP server on a loopback port that does to chosen requests what networks and services do. */

import type { ServerResponse } from 'node:http';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';

export interface HttpRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The body where it is JSON, else undefined. */
  readonly body: unknown;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON; a string is sent as it is. */
  readonly body: unknown;
}

export type Fault =
  /** Another answer than the service's own; it does not get to see the request. */
  | { readonly kind: 'answer'; readonly answer: HttpAnswer }
  /** The connection is reset, and the service does not get to see the request. */
  | { readonly kind: 'reset' }
  /** The first half of the body arrives, then the connection ends. */
  | { readonly kind: 'half' }
  /** Nothing arrives, and the connection stays open. */
  | { readonly kind: 'silence' }
  /** The service's own answer comes so much later. */
  | { readonly kind: 'late'; readonly ms: number }
  /** Something on the way changes the answer. */
  | { readonly kind: 'change'; readonly change: (answer: HttpAnswer) => HttpAnswer };

/** Which requests a fault is for: all, unless `on` matches the method, a space and the path. */
export interface FaultAim {
  readonly times?: number;
  readonly on?: RegExp;
}

export interface LocalHttpOptions {
  /** PEM. */
  readonly tls?: { readonly key: string; readonly cert: string };
}

export class LocalHttp {
  /** Every request that arrived, faulty or not. */
  readonly requests: HttpRequest[] = [];
  /** What each of them met; undefined where it was let through. */
  readonly met: (Fault | undefined)[] = [];
  readonly #faults: { fault: Fault; on: RegExp; left: number }[] = [];
  readonly #server: Server;
  readonly #scheme: string;
  readonly #serve: (request: HttpRequest) => HttpAnswer;

  private constructor(serve: (request: HttpRequest) => HttpAnswer, { tls }: LocalHttpOptions) {
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      void this.#answer(request, response).catch(() => request.socket.destroy());
    };
    this.#serve = serve;
    this.#scheme = tls === undefined ? 'http' : 'https';
    this.#server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  }

  static async start(
    serve: (request: HttpRequest) => HttpAnswer,
    options: LocalHttpOptions = {},
  ): Promise<LocalHttp> {
    const http = new LocalHttp(serve, options);
    await new Promise<void>((resolve) => http.#server.listen(0, '127.0.0.1', resolve));
    return http;
  }

  get port(): number {
    const address = this.#server.address();
    if (typeof address !== 'object' || address === null) throw new Error('the server is closed');
    return address.port;
  }

  /** Such as `http://127.0.0.1:40123`. */
  get origin(): string {
    return `${this.#scheme}://127.0.0.1:${this.port}`;
  }

  /** The next requests meet `fault`; faults that were asked for earlier come first. */
  failNext(fault: Fault, { times = 1, on = /^/ }: FaultAim = {}): void {
    this.#faults.push({ fault, on, left: times });
  }

  /** Forgets the faults that no request has met. */
  clearFaults(): void {
    this.#faults.length = 0;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await readRequest(incoming);
    this.requests.push(request);
    const fault = this.#faultFor(request);
    this.met.push(fault);
    if (fault?.kind === 'silence') return;
    if (fault?.kind === 'reset') {
      incoming.socket.resetAndDestroy();
      return;
    }
    if (fault?.kind === 'answer') return send(response, fault.answer);
    if (fault?.kind === 'late') await delay(fault.ms, undefined, { ref: false });
    const answer = this.#serve(request);
    send(
      response,
      fault?.kind === 'change' ? fault.change(answer) : answer,
      fault?.kind === 'half',
    );
  }

  #faultFor({ method, path }: HttpRequest): Fault | undefined {
    const at = this.#faults.findIndex(({ on }) => on.test(`${method} ${path}`));
    const found = this.#faults[at];
    if (found === undefined) return undefined;
    found.left -= 1;
    if (found.left === 0) this.#faults.splice(at, 1);
    return found.fault;
  }
}

async function readRequest(incoming: IncomingMessage): Promise<HttpRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const { method = '', url: path = '', headers } = incoming;
  return { method, path, headers, text, body: parsed(text) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function send(response: ServerResponse, answer: HttpAnswer, isHalf = false): void {
  const { status, headers, body } = answer;
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  response.writeHead(status, {
    'content-type': 'application/json',
    ...headers,
    'content-length': bytes.length,
  });
  if (!isHalf) {
    response.end(bytes);
    return;
  }
  response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy());
}

/** A field of a JSON object, or undefined. */
export function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return Reflect.get(value, name);
}

/** A text field of a JSON object, empty where there is none. */
export function textOf(value: unknown, name: string): string {
  const field = fieldOf(value, name);
  return typeof field === 'string' ? field : '';
}
