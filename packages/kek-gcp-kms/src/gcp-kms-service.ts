/**
 * `:encrypt` and `:decrypt` of Cloud KMS over REST with additional authenticated data
 * (https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys). A
 * wrap is the service's own ciphertext.
 *
 * Each field goes with its CRC-32C, and each answer must bring its own and say that ours was checked
 * (https://cloud.google.com/kms/docs/data-integrity-guidelines): bytes that were changed on the way
 * would make a wrap that nobody can open. What does not fit is asked for again.
 */
import {
  base64Of,
  bytesOfBase64,
  fieldOf,
  type JsonAnswer,
  type JsonClient,
  type KekCall,
  type KekService,
  kekDisabled,
  kekUnavailable,
  kekUnfit,
  quoted,
  TransientKekFailure,
  type WrapPlace,
} from '@raftseal/kek-remote';
import type { AccessToken } from './access-token.ts';
import { failureOf, type Verb } from './answers.ts';
import { crc32c } from './crc32c.ts';
import type { GcpKeyName } from './gcp-kms-uri.ts';

const AAD = 'additionalAuthenticatedData';

export interface GcpKmsServiceOptions {
  readonly key: GcpKeyName;
  readonly client: JsonClient;
  readonly token: AccessToken;
}

export class GcpKmsService implements KekService {
  readonly #key: GcpKeyName;
  readonly #client: JsonClient;
  readonly #token: AccessToken;

  constructor({ key, client, token }: GcpKmsServiceOptions) {
    this.#key = key;
    this.#client = client;
    this.#token = token;
  }

  async check(call: KekCall): Promise<void> {
    const { kekUri, name } = this.#key;
    const { body } = await call.attempts((signal) => this.#request('get', undefined, signal));
    if (fieldOf(body, 'name') !== name) throw this.#notKms();
    const purpose = fieldOf(body, 'purpose');
    if (purpose !== 'ENCRYPT_DECRYPT') {
      throw kekUnfit(
        kekUri,
        'a key of the purpose ENCRYPT_DECRYPT',
        `the purpose ${shown(purpose)}`,
      );
    }
    const state = fieldOf(fieldOf(body, 'primary'), 'state');
    if (state !== 'ENABLED') throw kekDisabled(kekUri, `a primary version in ${shown(state)}`);
  }

  async wrap(dek: Uint8Array, { aad }: WrapPlace, call: KekCall): Promise<Uint8Array> {
    const fields = { ...checked('plaintext', dek), ...checked(AAD, aad) };
    return await call.attempts(async (signal) => {
      const { body } = await this.#request('encrypt', fields, signal);
      const wrapped = this.#bytes(body, 'ciphertext');
      const version = fieldOf(body, 'name');
      const isOurs =
        typeof version === 'string' && version.startsWith(`${this.#key.name}/cryptoKeyVersions/`);
      if (!isOurs) throw this.#notKms();
      for (const name of ['verifiedPlaintextCrc32c', `verified${capitalised(AAD)}Crc32c`]) {
        if (fieldOf(body, name) === true) continue;
        throw new TransientKekFailure('a service that did not check what it got (no checksum)');
      }
      return wrapped;
    });
  }

  async unwrap(wrapped: Uint8Array, { aad }: WrapPlace, call: KekCall): Promise<Uint8Array> {
    const fields = { ...checked('ciphertext', wrapped), ...checked(AAD, aad) };
    return await call.attempts(async (signal) => {
      const { body } = await this.#request('decrypt', fields, signal);
      return this.#bytes(body, 'plaintext');
    });
  }

  close(): void {
    this.#client.close();
  }

  /** A field of an answer, with its checksum verified. */
  #bytes(body: unknown, name: string): Buffer {
    const text = fieldOf(body, name);
    const bytes = typeof text === 'string' ? bytesOfBase64(text) : undefined;
    if (bytes === undefined) throw this.#notKms();
    // An int64 is a string in JSON.
    if (fieldOf(body, `${name}Crc32c`) === String(crc32c(bytes))) return bytes;
    bytes.fill(0);
    throw new TransientKekFailure('bytes that were changed on the way from the service (checksum)');
  }

  #notKms(): Error {
    return kekUnavailable(this.#key.kekUri, 'an answer that is none of Cloud KMS');
  }

  async #request(
    verb: Verb,
    fields: Record<string, string> | undefined,
    signal: AbortSignal,
  ): Promise<JsonAnswer> {
    const { kekUri, name } = this.#key;
    const path = verb === 'get' ? `/v1/${name}` : `/v1/${name}:${verb}`;
    for (let isRepeated = false; ; isRepeated = true) {
      const headers = await this.#token.headers();
      const method = verb === 'get' ? 'GET' : 'POST';
      const answer = await this.#client.send({ method, path, headers, body: fields }, signal);
      if (answer.status === 200) return answer;
      if (answer.status === 401 && !isRepeated) {
        this.#token.forget();
        continue;
      }
      const bearer = headers.authorization?.replace(/^Bearer /, '') ?? '';
      throw failureOf(kekUri, verb, answer, [bearer, fields?.plaintext ?? '']);
    }
  }
}

/** A field of an answer that should be a name. */
function shown(value: unknown): string {
  return typeof value === 'string' ? quoted(value) : '(nothing)';
}

/** A field of a request and its checksum. */
function checked(name: string, bytes: Uint8Array): Record<string, string> {
  return { [name]: base64Of(bytes), [`${name}Crc32c`]: String(crc32c(bytes)) };
}

function capitalised(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
