/** The command line's side of the admin API. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { codeOf, RaftsealError } from '@raftseal/interface';
import { errorIn } from '../admin/call.ts';

export interface AdminClientOptions {
  /** Such as http://127.0.0.1:7379. */
  readonly url: string;
  readonly token: string;
  /** For https: without a CA the ones that Node trusts. */
  readonly tls?: AdminClientTls;
}

/** PEM. */
export interface AdminClientTls {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: string;
  readonly timeoutMs: number;
}

const TIMEOUT_MS = 30_000;

export class AdminClient {
  readonly #options: AdminClientOptions;

  constructor(options: AdminClientOptions) {
    this.#options = options;
  }

  /** @param timeoutMs how long the node may take; 0 waits for ever */
  get<T>(path: string, timeoutMs: number = TIMEOUT_MS): Promise<T> {
    return this.#call({ method: 'GET', path, timeoutMs });
  }

  /** @param timeoutMs as for `get` */
  post<T>(path: string, body: unknown = {}, timeoutMs: number = TIMEOUT_MS): Promise<T> {
    return this.#call({ method: 'POST', path, body: JSON.stringify(body), timeoutMs });
  }

  /** @throws RAFTSEAL_NODE_UNREACHABLE, and the coded error that the node answers */
  async #call<T>(call: Call): Promise<T> {
    const { status, text } = await this.#exchange(call).catch((cause: unknown) => {
      throw unreachable(this.#options.url, cause);
    });
    const reply = jsonOf(text);
    const ok = status >= 200 && status < 300;
    if (ok && typeof reply === 'object' && reply !== null) return reply as T;
    throw errorOf(reply, status);
  }

  async #exchange(call: Call): Promise<{ readonly status: number; readonly text: string }> {
    const { url, token, tls } = this.#options;
    const target = new URL(call.path, url);
    const options = { method: call.method, headers: { authorization: `Bearer ${token}` } };
    const request =
      target.protocol === 'https:'
        ? httpsRequest(target, { ...options, ...tls, minVersion: 'TLSv1.2' })
        : httpRequest(target, options);
    const late = (): void => void request.destroy(new Error('the time is up'));
    const timer = call.timeoutMs === 0 ? undefined : setTimeout(late, call.timeoutMs);
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        request.once('response', resolve).on('error', reject).end(call.body);
      });
      const pieces: Buffer[] = [];
      for await (const piece of response as AsyncIterable<Buffer>) pieces.push(piece);
      return { status: response.statusCode ?? 0, text: Buffer.concat(pieces).toString() };
    } finally {
      clearTimeout(timer);
    }
  }
}

function unreachable(url: string, cause: unknown): RaftsealError {
  const reason = codeOf(cause);
  const found = reason === undefined ? '' : ` (${reason})`;
  return new RaftsealError(
    'RAFTSEAL_NODE_UNREACHABLE',
    `no node answers at ${url}${found}: is it running, and is this its admin address (--admin)? ` +
      'One with --tls-cert is at https:// and needs --admin-ca; one with --tls-ca --admin-cert too',
    { cause },
  );
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function errorOf(reply: unknown, status: number): RaftsealError {
  return (
    errorIn(reply) ??
    new RaftsealError(
      'RAFTSEAL_NODE_UNREACHABLE',
      `something other than a raftseal node answers there (HTTP status ${status})`,
    )
  );
}
