/**
 * A provider over a service that holds the KEK: the rules that are the same for every such service.
 * The KEK is checked before a provider is handed out; each call is bounded in time; a closed
 * provider ends the calls under way; what comes back is a DEK or a refusal.
 */
import { setMaxListeners } from 'node:events';
import { DEK_BYTES, type KekProvider, type WrapBinding } from '@raftseal/interface';
import { checkDekLength, providerClosed, wrapAad, wrapMismatch } from '@raftseal/kek-memory';
import { DoesNotOpen } from './does-not-open.ts';
import { callService, type KekCall } from './service-call.ts';
import { type KekTimeLimits, kekTimeLimits } from './time-limits.ts';

/** The longest wrap that is looked at; the services' own are a few hundred bytes. */
const WRAP_BYTES_MAX = 16_384;

/** What a wrap is bound to, in both forms that services take it in. */
export interface WrapPlace {
  /** Checked: of the right form. */
  readonly binding: WrapBinding;
  /** The same as bytes, no two bindings alike. */
  readonly aad: Buffer;
}

/**
 * A service that wraps and unwraps. It throws a RaftsealError for a refusal, and only inside of
 * `call.attempts` a TransientKekFailure.
 */
export interface KekService {
  /** Throws unless the KEK exists, is enabled, is of a fit kind and may be used. Changes nothing. */
  check(call: KekCall): Promise<void>;
  /** @param dek 32 bytes; stays the caller's. */
  wrap(dek: Uint8Array, place: WrapPlace, call: KekCall): Promise<Uint8Array>;
  /**
   * @param wrapped 1 to 16,384 bytes.
   * @returns what it opens to, whatever its length: the caller owns and wipes it.
   * @throws DoesNotOpen
   */
  unwrap(wrapped: Uint8Array, place: WrapPlace, call: KekCall): Promise<Uint8Array>;
  /** Called once, after the calls under way were aborted. */
  close(): void;
}

export interface RemoteKekOptions {
  readonly kekUri: string;
  /** Belongs to the provider, which closes it. */
  readonly service: KekService;
  readonly limits?: Partial<KekTimeLimits> | undefined;
}

/**
 * A provider over `service`, once its KEK has passed the check.
 * @throws RAFTSEAL_KEK_UNAVAILABLE, and what the service refuses with; the service is closed then.
 *   RangeError for limits that are none.
 */
export async function openRemoteKek(options: RemoteKekOptions): Promise<KekProvider> {
  const kek = new RemoteKek(options);
  try {
    await kek.check();
    return kek;
  } catch (error) {
    await kek.close();
    throw error;
  }
}

class RemoteKek implements KekProvider {
  readonly kekUri: string;
  readonly #service: KekService;
  readonly #limits: KekTimeLimits;
  readonly #closing = new AbortController();

  constructor({ kekUri, service, limits }: RemoteKekOptions) {
    this.#limits = kekTimeLimits(limits);
    this.kekUri = kekUri;
    this.#service = service;
    // As many as there are calls under way.
    setMaxListeners(0, this.#closing.signal);
  }

  check(): Promise<void> {
    return this.#call((call) => this.#service.check(call));
  }

  async wrapKey(dek: Uint8Array, binding: WrapBinding): Promise<Uint8Array> {
    this.#closing.signal.throwIfAborted();
    const place = { binding, aad: wrapAad(binding) };
    checkDekLength(dek);
    return await this.#call((call) => this.#service.wrap(dek, place, call));
  }

  async unwrapKey(wrapped: Uint8Array, binding: WrapBinding): Promise<Uint8Array> {
    this.#closing.signal.throwIfAborted();
    const place = { binding, aad: wrapAad(binding) };
    try {
      if (wrapped.length === 0 || wrapped.length > WRAP_BYTES_MAX) {
        throw new DoesNotOpen(`a wrap of ${wrapped.length} bytes`);
      }
      return await this.#call((call) => this.#unwrap(wrapped, place, call));
    } catch (error) {
      throw error instanceof DoesNotOpen
        ? wrapMismatch(this.kekUri, binding, error.message)
        : error;
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(providerClosed(this.kekUri));
    this.#service.close();
  }

  async #unwrap(wrapped: Uint8Array, place: WrapPlace, call: KekCall): Promise<Uint8Array> {
    const dek = await this.#service.unwrap(wrapped, place, call);
    // Nobody takes what comes too late, nor what is no DEK.
    if (call.signal.aborted || dek.length !== DEK_BYTES) dek.fill(0);
    if (dek.length === DEK_BYTES) return dek;
    throw new DoesNotOpen(`a wrap of ${dek.length} bytes instead of the ${DEK_BYTES} of a DEK`);
  }

  #call<Result>(work: (call: KekCall) => Promise<Result>): Promise<Result> {
    const { kekUri } = this;
    return callService({ kekUri, limits: this.#limits, closing: this.#closing.signal }, work);
  }
}
