/**
 * etcd over its JSON gateway (/v3): what the rig reads does not come through the client under test.
 * Bytes are base64 and 64-bit integers are decimal texts; fields with default values are left out.
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createInterface } from 'node:readline';

export interface EtcdGateway {
  /** URLs of the members. */
  readonly endpoints: readonly string[];
  /** PEM; undefined in the clear. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string } | undefined;
}

export interface KeyValue {
  readonly key: string;
  readonly value?: string;
  readonly mod_revision: string;
  /** How often the key was written since it was made. */
  readonly version: string;
}

export interface WatchEvent {
  /** Left out for a put. */
  readonly type?: 'DELETE';
  readonly kv: KeyValue;
}

export interface WatchMessage {
  readonly events?: readonly WatchEvent[];
  /** Where it is set, the revisions before it are gone. */
  readonly compact_revision?: string;
  readonly canceled?: boolean;
}

const CALL_TIMEOUT_MS_DEFAULT = 1_000;

export function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** One call, to the first member that answers; each is waited for so long. */
export async function callEtcd(
  gateway: EtcdGateway,
  path: string,
  body: Readonly<Record<string, unknown>>,
  timeoutMs: number = CALL_TIMEOUT_MS_DEFAULT,
): Promise<unknown> {
  let last: unknown = new Error('no endpoint is given');
  for (const endpoint of gateway.endpoints) {
    try {
      const signal = AbortSignal.timeout(timeoutMs);
      const response = await post(gateway, `${endpoint}/v3/${path}`, body, signal);
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      const text = Buffer.concat(chunks).toString();
      if (response.statusCode !== 200) throw new Error(`etcd answered ${text}`);
      return JSON.parse(text);
    } catch (error) {
      last = error;
    }
  }
  throw new Error(`no member of etcd answers ${path}`, { cause: last });
}

/** Every change of every key from a revision on, as one member tells it, until the signal aborts. */
export async function* watchEtcd(
  gateway: EtcdGateway,
  endpoint: string,
  fromRevision: bigint,
  signal: AbortSignal,
): AsyncGenerator<WatchMessage> {
  // A key and an end that are both zero stand for all keys.
  const everything = { key: 'AA==', range_end: 'AA==', start_revision: `${fromRevision}` };
  const body = { create_request: everything };
  const response = await post(gateway, `${endpoint}/v3/watch`, body, signal);
  for await (const line of createInterface(response)) {
    const message = JSON.parse(line) as { result?: WatchMessage; error?: unknown };
    if (message.result === undefined) throw new Error(`the watch ended: ${line}`);
    yield message.result;
  }
}

function post(
  { tls }: EtcdGateway,
  url: string,
  body: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = tls === undefined ? httpRequest : httpsRequest;
    const options = { method: 'POST', signal, agent: false, ...tls } as const;
    const sent = request(url, options, (response) => {
      response.on('error', () => undefined);
      resolve(response);
    });
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}
