/** The provider: wraps in the format of `@raftseal/kek-memory`, made inside of a token. */
import { randomBytes } from 'node:crypto';
import { codeOf, type KekProvider, RaftsealError, type WrapBinding } from '@raftseal/interface';
import {
  checkDekLength,
  providerClosed,
  WRAP_NONCE_BYTES,
  WRAPPED_DEK_BYTES,
  wrapAad,
  wrapMismatch,
} from '@raftseal/kek-memory';
import type { TokenRequest } from './messages.ts';
import { readPin } from './pin-file.ts';
import { type ConnectionOptions, TokenConnection } from './token-connection.ts';
import { parsePkcs11Uri } from './uri.ts';

export interface Pkcs11Options {
  /** RFC 7512: the token, the key, module-path and pin-source. */
  readonly uri: string;
  /** How long one wrapKey or unwrapKey may take; default 5 s. */
  readonly callTimeoutMs?: number;
  /** How long the module may take to open the token; default 30 s. */
  readonly openTimeoutMs?: number;
}

const CALL_TIMEOUT_MS = 5_000;
const OPEN_TIMEOUT_MS = 30_000;
/** What a timer of Node.js can wait for. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/** Nothing but a change of the PIN file, and a new start, helps: the PIN is not tried again. */
const pinErrors: ReadonlySet<unknown> = new Set([
  'RAFTSEAL_KEK_PKCS11_PIN',
  'RAFTSEAL_KEK_PKCS11_PIN_LOCKED',
  'RAFTSEAL_KEK_PKCS11_PIN_MISSING',
]);

/** While a provider is open, these mean that the token went away, and may come back. */
const awayErrors: ReadonlySet<unknown> = new Set([
  'RAFTSEAL_KEK_PKCS11_MODULE',
  'RAFTSEAL_KEK_PKCS11_TOKEN_MISSING',
]);

/**
 * A provider over an AES-256 key in a token. Resolves once the token is open, the key is found and
 * fit, and has wrapped and unwrapped a probe. `kekUri` has the URI's names of token and key alone.
 * The PIN file is read once. The PIN is tried once for each time that the token is opened, and
 * never again after it was refused.
 * @throws RAFTSEAL_KEK_PKCS11_*; RAFTSEAL_KEK_UNAVAILABLE where the token does not answer
 */
export async function kekFromPkcs11(options: Pkcs11Options): Promise<KekProvider> {
  const kek = new Pkcs11Kek(await prepare(options));
  try {
    await kek.open();
  } catch (error) {
    await kek.close();
    throw error;
  }
  return kek;
}

/**
 * Makes the key that a URI names, as {@link kekFromPkcs11} wants it: AES-256, for wrapping and
 * unwrapping only, sensitive and not extractable. Resolves to its `kekUri` once it has wrapped and
 * unwrapped a probe.
 * @throws RAFTSEAL_KEK_PKCS11_KEY_EXISTS where an object has its label or its id; as
 *   {@link kekFromPkcs11}
 */
export async function createPkcs11Key(options: Pkcs11Options): Promise<string> {
  const { kekUri, connectionOptions } = await prepare(options);
  const connection = new TokenConnection({ ...connectionOptions, create: true });
  try {
    await connection.opened;
  } finally {
    connectionOptions.pin?.fill(0);
    await connection.close();
  }
  return kekUri;
}

interface Prepared {
  readonly kekUri: string;
  readonly connectionOptions: Omit<ConnectionOptions, 'create'>;
  readonly callTimeoutMs: number;
}

async function prepare(options: Pkcs11Options): Promise<Prepared> {
  const { uri, callTimeoutMs = CALL_TIMEOUT_MS, openTimeoutMs = OPEN_TIMEOUT_MS } = options;
  for (const timeoutMs of [callTimeoutMs, openTimeoutMs]) {
    if (timeoutMs > 0 && timeoutMs <= TIMEOUT_MS_MAX) continue;
    throw new RangeError(`a time-out is 1 to ${TIMEOUT_MS_MAX} ms, not ${timeoutMs}`);
  }
  const { kekUri, pinPath, ...names } = parsePkcs11Uri(uri);
  const pin = pinPath === undefined ? {} : { pin: await readPin(pinPath) };
  return { kekUri, connectionOptions: { ...names, ...pin, openTimeoutMs }, callTimeoutMs };
}

class Pkcs11Kek implements KekProvider {
  readonly kekUri: string;
  readonly #connectionOptions: Omit<ConnectionOptions, 'create'>;
  readonly #callTimeoutMs: number;
  #connection: TokenConnection | undefined;
  /** Refuses every further call without asking the token. */
  #pinError: unknown;
  #closed = false;

  constructor({ kekUri, connectionOptions, callTimeoutMs }: Prepared) {
    this.kekUri = kekUri;
    this.#connectionOptions = connectionOptions;
    this.#callTimeoutMs = callTimeoutMs;
  }

  async open(): Promise<void> {
    await this.#connect().opened;
  }

  async wrapKey(dek: Uint8Array, binding: WrapBinding): Promise<Uint8Array> {
    const aad = this.#aadWhileOpen(binding);
    checkDekLength(dek);
    const nonce = randomBytes(WRAP_NONCE_BYTES);
    const sealed = await this.#ask({ kind: 'wrap', dek, parameters: { nonce, aad } });
    if (sealed === undefined) throw new Error('the token process answered without a wrap');
    return Buffer.concat([nonce, sealed]);
  }

  async unwrapKey(wrapped: Uint8Array, binding: WrapBinding): Promise<Uint8Array> {
    const aad = this.#aadWhileOpen(binding);
    if (wrapped.length !== WRAPPED_DEK_BYTES) {
      throw wrapMismatch(this.kekUri, binding, `a wrap of ${wrapped.length} bytes`);
    }
    const nonce = wrapped.slice(0, WRAP_NONCE_BYTES);
    const sealed = wrapped.slice(WRAP_NONCE_BYTES);
    const dek = await this.#ask({ kind: 'unwrap', sealed, parameters: { nonce, aad } });
    if (dek !== undefined) return dek;
    throw wrapMismatch(this.kekUri, binding, 'a wrap that does not authenticate');
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#connectionOptions.pin?.fill(0);
    await this.#connection?.close();
  }

  /** Asks the token; where it went away, opens it anew once and asks again. */
  async #ask(request: TokenRequest): Promise<Uint8Array | undefined> {
    const deadlineMs = performance.now() + this.#callTimeoutMs;
    try {
      return await this.#askOnce(request, deadlineMs);
    } catch (error) {
      const mayRetry = codeOf(error) === 'RAFTSEAL_KEK_UNAVAILABLE';
      if (!mayRetry || performance.now() >= deadlineMs) throw error;
    }
    return await this.#askOnce(request, deadlineMs);
  }

  async #askOnce(request: TokenRequest, deadlineMs: number): Promise<Uint8Array | undefined> {
    try {
      const connection = this.#connect();
      await within(connection.opened, deadlineMs);
      // A call that waited for the opening leaves the process its whole time to answer.
      return await within(connection.ask(request, this.#callTimeoutMs), deadlineMs);
    } catch (error) {
      if (this.#closed) throw providerClosed(this.kekUri);
      const code = codeOf(error);
      if (pinErrors.has(code)) this.#pinError = error;
      if (awayErrors.has(code)) throw unavailable('that it went away', error);
      throw error;
    }
  }

  #connect(): TokenConnection {
    if (this.#pinError !== undefined) throw this.#pinError;
    if (this.#connection?.hasEnded === false) return this.#connection;
    this.#connection = new TokenConnection({ ...this.#connectionOptions, create: false });
    return this.#connection;
  }

  #aadWhileOpen(binding: WrapBinding): Buffer {
    if (this.#closed) throw providerClosed(this.kekUri);
    return wrapAad(binding);
  }
}

async function within<Result>(call: Promise<Result>, deadlineMs: number): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const lateness = (): void => reject(unavailable('no answer in time'));
    timer = setTimeout(lateness, deadlineMs - performance.now());
  });
  try {
    return await Promise.race([call, late]);
  } finally {
    clearTimeout(timer);
  }
}

function unavailable(found: string, cause?: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_UNAVAILABLE',
    `expected the token to be there and to answer; found ${found}. Check that it is plugged in, ` +
      'reachable and well: calls work again once it is.',
    cause === undefined ? {} : { cause },
  );
}
