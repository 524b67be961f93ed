/**
 * Requests with JSON bodies to one address over kept-open connections. It follows no redirect and
 * goes through no proxy, so that a token and a DEK reach the host of the URI and nobody else.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { codeOf } from '@raftseal/interface';
import { kekUnavailable } from './refusals.ts';
import { connectionFailureOf, TransientKekFailure } from './transient-failure.ts';

const CONNECTIONS_MAX = 32;
const ANSWER_BYTES_MAX = 1_048_576;

export interface JsonRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Readonly<Record<string, string>> | undefined;
}

export interface JsonAnswer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  /** Undefined where the body is no JSON. */
  readonly body: unknown;
}

export interface JsonClientOptions {
  readonly kekUri: string;
  /** Scheme, host and port. */
  readonly address: URL;
  /** The CAs to trust instead of Node's own. */
  readonly caPem?: string | undefined;
  /** How to trust a CA, for the refusal of a connection that cannot be trusted. */
  readonly trustAdvice: string;
}

export class JsonClient {
  readonly #options: JsonClientOptions;
  readonly #agent: HttpAgent;

  constructor(options: JsonClientOptions) {
    const agentOptions = { keepAlive: true, maxSockets: CONNECTIONS_MAX };
    this.#options = options;
    this.#agent = isSecure(options.address)
      ? new HttpsAgent(agentOptions)
      : new HttpAgent(agentOptions);
  }

  /**
   * Sends one request, once.
   * @throws TransientKekFailure for a lost connection; RAFTSEAL_KEK_UNAVAILABLE for one that cannot
   *   be trusted or understood; the signal's reason.
   */
  async send(wanted: JsonRequest, signal: AbortSignal): Promise<JsonAnswer> {
    try {
      const response = await this.#exchange(wanted, signal);
      const body = await readBody(response);
      return { status: response.statusCode ?? 0, headers: response.headers, body };
    } catch (error) {
      signal.throwIfAborted();
      const lost = connectionFailureOf(error);
      if (lost !== undefined) throw new TransientKekFailure(`the connection failed: ${lost}`);
      const { kekUri, trustAdvice } = this.#options;
      const found = codeOf(error) ?? (error instanceof Error ? error.message : 'an error');
      throw kekUnavailable(kekUri, `no connection that can be trusted (${found}); ${trustAdvice}`);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #exchange(wanted: JsonRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const body = wanted.body === undefined ? undefined : Buffer.from(JSON.stringify(wanted.body));
    const { address, caPem } = this.#options;
    const request = isSecure(address) ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const sent = request(new URL(wanted.path, address), {
        method: wanted.method,
        agent: this.#agent,
        signal,
        headers: {
          ...wanted.headers,
          accept: 'application/json',
          ...(body && { 'content-type': 'application/json', 'content-length': body.length }),
        },
        ...(caPem !== undefined && { ca: caPem }),
      });
      sent.on('response', resolve);
      sent.on('error', reject);
      sent.on('close', () => body?.fill(0));
      sent.end(body);
    });
  }
}

function isSecure({ protocol }: URL): boolean {
  return protocol === 'https:';
}

async function readBody(response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > ANSWER_BYTES_MAX) throw new Error('an answer that is far too long');
    }
    return parsed(Buffer.concat(chunks));
  } finally {
    for (const chunk of chunks) chunk.fill(0);
  }
}

/** Wipes `bytes`. */
function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  } finally {
    bytes.fill(0);
  }
}

/**
 * Whether what is sent to `address` stays secret: by TLS, or because it does not leave this host, as
 * with an agent or a proxy beside the process.
 */
export function keepsSecrets(address: URL): boolean {
  const { hostname } = address;
  return (
    isSecure(address) ||
    hostname === 'localhost' ||
    hostname === '[::1]' ||
    (isIP(hostname) === 4 && hostname.startsWith('127.'))
  );
}

/**
 * The URL of an endpoint that a caller asks for.
 * @throws TypeError for one that is no URL, or would show DEKs to the network.
 */
export function secretEndpoint(text: string): URL {
  const url = new URL(text);
  if (/^https?:$/.test(url.protocol) && keepsSecrets(url)) return url;
  throw new TypeError(`endpoint ${url.origin} would show DEKs to the network: use https`);
}

/** A field of a JSON object, or undefined. */
export function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return Reflect.get(value, name);
}
