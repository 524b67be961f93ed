/**
 * Calls to an etcd cluster. Each has a deadline; none is repeated unless the caller says that it
 * may be. A member that gives no answer is left for the next one, before the call to it has failed:
 * a process that hangs keeps its connections open, and nothing else tells of it.
 */
import { setMaxListeners } from 'node:events';
import { isIP } from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import {
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { Authentication } from './authentication.ts';
import { CallError, callErrorOf, kindOf } from './call-error.ts';
import { closedError, reasonOf } from './errors.ts';
import type { EtcdEvent } from './events.ts';
import type { UnaryMethod, UnaryMethods, WatchRequest, WatchResponse } from './messages.ts';
import type { CheckedAccess } from './options.ts';
import { methodOf } from './protocol.ts';
import { sleep } from './waiting.ts';

export interface CallOptions {
  /** Default: that of the access. */
  readonly timeoutMs?: number;
  /** Place of the endpoint; default: the one that answered last. */
  readonly place?: number;
  /** Gives the call up. */
  readonly signal?: AbortSignal | undefined;
}

export interface PersistOptions {
  readonly signal?: AbortSignal | undefined;
  /** For how long; default: for ever. */
  readonly patienceMs?: number;
}

type WatchStream = ClientDuplexStream<WatchRequest, WatchResponse>;

const SUSPECT_AFTER_MS_MAX = 1_000;
/** Time for the answer of gRPC's own deadline, which a change of the system clock may delay. */
const GRACE_MS = 100;
const RETRY_DELAY_MS = 50;
const DENIED_RETRY_DELAY_MS = 1_000;

const channelOptions: ChannelOptions = {
  // Members end a connection that pings more often than every 5 s.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 3_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1_000,
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
};

export class EtcdClient {
  readonly endpoints: readonly string[];
  readonly requestTimeoutMs: number;
  readonly #clients: readonly Client[];
  readonly #authentication: Authentication | undefined;
  readonly #onEvent: (event: EtcdEvent) => void;
  readonly #closing = new AbortController();
  readonly #underWay: Set<() => void> = new Set();
  /** When each member answered last, by the monotonic clock. */
  readonly #answeredMs: number[];
  /** When each was left last. */
  readonly #leftMs: number[] = [];
  #current = 0;

  constructor(access: CheckedAccess, onEvent: (event: EtcdEvent) => void) {
    this.endpoints = access.endpoints;
    this.requestTimeoutMs = access.requestTimeoutMs;
    this.#onEvent = onEvent;
    // Everything that waits listens to it.
    setMaxListeners(0, this.#closing.signal);
    this.#clients = access.endpoints.map((endpoint) => clientOf(endpoint, access));
    this.#answeredMs = access.endpoints.map(() => 0);
    const { user } = access;
    if (user === undefined) return;
    this.#authentication = new Authentication(async (place) => {
      const { token } = await this.#attempt('Auth.Authenticate', user, place, {});
      return token;
    });
  }

  /** Aborted by `close`. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Place of the endpoint that calls go to. */
  get current(): number {
    return this.#current;
  }

  /** One attempt. @throws CallError */
  async call<M extends UnaryMethod>(
    method: M,
    request: UnaryMethods[M][0],
    options: CallOptions = {},
  ): Promise<UnaryMethods[M][1]> {
    const place = options.place ?? this.#current;
    const authentication = this.#authentication;
    if (authentication === undefined) return this.#attempt(method, request, place, options);
    for (let round = 1; ; round++) {
      const token = await authentication.token(place);
      try {
        return await this.#attempt(method, request, place, options, token);
      } catch (error) {
        if (kindOf(error) !== 'tokenExpired') throw error;
        authentication.forget(token);
        // A member that has just started may not know the new token yet.
        if (round === 2) throw new CallError('unavailable', reasonOf(error));
      }
    }
  }

  /**
   * Repeats a call that changes nothing, or nothing more when it is made twice, until it is
   * answered.
   * @throws the signal's reason; RAFTSEAL_ENGINE_CLOSED; CallError where it is refused, or where
   *   there is no answer for `patienceMs`.
   */
  async persist<M extends UnaryMethod>(
    method: M,
    request: UnaryMethods[M][0],
    { signal, patienceMs = Number.POSITIVE_INFINITY }: PersistOptions = {},
  ): Promise<UnaryMethods[M][1]> {
    const giveUpMs = performance.now() + patienceMs;
    for (;;) {
      const leftMs = giveUpMs - performance.now();
      const timeoutMs = Math.max(1, Math.min(this.requestTimeoutMs, leftMs));
      try {
        return await this.call(method, request, { timeoutMs, signal });
      } catch (error) {
        signal?.throwIfAborted();
        if (this.closing.aborted) throw closedError();
        const delayMs = this.#retryDelayMs(error, patienceMs);
        if (delayMs === undefined || performance.now() + delayMs >= giveUpMs) throw error;
        await sleep(delayMs, signal, this.closing);
        signal?.throwIfAborted();
        if (this.closing.aborted) throw closedError();
      }
    }
  }

  /** Opens a stream of changes. The caller handles its errors and cancels it. */
  async openWatch(place: number): Promise<{ stream: WatchStream; token: string | undefined }> {
    const token = await this.#authentication?.token(place);
    if (this.closing.aborted) throw closedError();
    const { path, requestSerialize, responseDeserialize } = methodOf('Watch.Watch');
    const client = this.#client(place);
    const metadata = metadataOf(token);
    const stream = client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      metadata,
    );
    return { stream: stream as unknown as WatchStream, token };
  }

  /** A stream with this token was refused: the next one asks for another. */
  forgetToken(token: string | undefined): void {
    if (token !== undefined) this.#authentication?.forget(token);
  }

  /** Ends every call, with RAFTSEAL_ENGINE_CLOSED for those that persist. Idempotent. */
  close(): void {
    this.#closing.abort();
    for (const cancel of this.#underWay) cancel();
    for (const client of this.#clients) client.close();
  }

  #retryDelayMs(error: unknown, patienceMs: number): number | undefined {
    const kind = kindOf(error);
    if (kind === 'unavailable' || kind === 'futureRevision') return RETRY_DELAY_MS;
    if (kind !== 'denied' || patienceMs < Number.POSITIVE_INFINITY) return undefined;
    this.#onEvent({ kind: 'access-denied', message: reasonOf(error) });
    return DENIED_RETRY_DELAY_MS;
  }

  #attempt<M extends UnaryMethod>(
    method: M,
    request: UnaryMethods[M][0],
    place: number,
    { timeoutMs = this.requestTimeoutMs, signal }: CallOptions,
    token?: string,
  ): Promise<UnaryMethods[M][1]> {
    return new Promise((resolve, reject) => {
      if (this.closing.aborted || signal?.aborted) {
        reject(new CallError('closed', 'the call was given up'));
        return;
      }
      const startedMs = performance.now();
      const suspectAfterMs = Math.min(SUSPECT_AFTER_MS_MAX, timeoutMs / 2);
      let timer = setTimeout(() => {
        if ((this.#answeredMs[place] ?? 0) < startedMs) this.#leave(place, 'it does not answer');
        timer = setTimeout(cancel, timeoutMs - suspectAfterMs + GRACE_MS);
      }, suspectAfterMs);
      const over = (): void => {
        clearTimeout(timer);
        this.#underWay.delete(cancel);
        signal?.removeEventListener('abort', cancel);
      };
      const deadline = Date.now() + timeoutMs;
      const call = this.#send(method, request, place, deadline, token, (error, response) => {
        over();
        if (error === null) {
          this.#answeredMs[place] = performance.now();
          resolve(response as UnaryMethods[M][1]);
          return;
        }
        const failure = callErrorOf(error, this.endpoints[place] ?? '');
        const isGivenUp = this.closing.aborted || signal?.aborted;
        if (failure.kind === 'unavailable' && !isGivenUp) this.#leave(place, failure.message);
        reject(failure);
      });
      const cancel = (): void => call.cancel();
      this.#underWay.add(cancel);
      signal?.addEventListener('abort', cancel);
    });
  }

  #send(
    method: UnaryMethod,
    request: object,
    place: number,
    deadline: number,
    token: string | undefined,
    done: (error: ServiceError | null, response?: object) => void,
  ): { cancel(): void } {
    const definition = methodOf(method);
    const { path, requestSerialize, responseDeserialize } = definition;
    const metadata = metadataOf(token);
    const client = this.#client(place);
    if (!definition.requestStream) {
      const options = { deadline };
      return client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        options,
        done,
      );
    }
    const stream = client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      metadata,
      { deadline },
    );
    let isOver = false;
    const end = (error: ServiceError | null, response?: object): void => {
      if (isOver) return;
      isOver = true;
      done(error, response);
      stream.cancel();
    };
    stream.on('error', (error: ServiceError) => end(error));
    stream.on('data', (response: object) => end(null, response));
    stream.write(request);
    return stream;
  }

  #client(place: number): Client {
    const client = this.#clients[place % this.#clients.length];
    if (client === undefined) throw new RangeError(`there is no endpoint ${place}`);
    return client;
  }

  #leave(place: number, why: string): void {
    if (this.#current !== place || this.#clients.length === 1) return;
    this.#current = (place + 1) % this.#clients.length;
    // Said once for each outage, however often calls go round.
    const answeredMs = this.#answeredMs[place] ?? 0;
    const leftMs = this.#leftMs[place] ?? -1;
    this.#leftMs[place] = performance.now();
    if (leftMs > answeredMs) return;
    const message = `left ${this.endpoints[place]} for ${this.endpoints[this.#current]}: ${why}`;
    this.#onEvent({ kind: 'endpoint-left', message });
  }
}

/** A member that knows no leader says so at once instead of letting the call wait. */
function metadataOf(token: string | undefined): Metadata {
  const metadata = new Metadata();
  metadata.set('hasleader', 'true');
  if (token) metadata.set('token', token);
  return metadata;
}

function clientOf(endpoint: string, access: CheckedAccess): Client {
  const { protocol, hostname, port } = new URL(endpoint);
  if (protocol === 'http:') {
    return new Client(`${hostname}:${port || 80}`, credentials.createInsecure(), channelOptions);
  }
  const { caPem, keyPem, certificatePem } = access.tls ?? {};
  const [ca, key, certificate] = [caPem, keyPem, certificatePem].map((pem) =>
    pem === undefined ? null : Buffer.from(pem),
  );
  const address = hostname.replace(/^\[|\]$/g, '');
  const target = `${hostname}:${port || 443}`;
  if (isIP(address) === 0) {
    const tls = credentials.createSsl(ca, key, certificate);
    return new Client(target, tls, channelOptions);
  }
  // TLS has names of servers, and an address is none (RFC 6066, section 3): the server gets to see
  // another one, and its certificate must have the address.
  const tls = credentials.createSsl(ca, key, certificate, {
    checkServerIdentity: (_name, found: PeerCertificate) => checkServerIdentity(address, found),
  });
  const options = { ...channelOptions, 'grpc.ssl_target_name_override': 'etcd.invalid' };
  return new Client(target, tls, options);
}
