/**
 * The transit engine's `encrypt` and `decrypt` with `associated_data`
 * (https://developer.hashicorp.com/vault/api-docs/secret/transit).
 *
 * A wrap is the engine's own text, `vault:v<version>:<base64>`. Only its one canonical spelling is
 * sent back for decryption: the engine takes `v0`, `v01` and `v+1` for `v1`.
 */
import {
  base64Of,
  bytesOfBase64,
  DoesNotOpen,
  fieldOf,
  type JsonAnswer,
  type JsonClient,
  type KekCall,
  type KekService,
  kekUnavailable,
  type WrapPlace,
} from '@raftseal/kek-remote';
import { failureOf, type Verb } from './answers.ts';
import { checkAssociatedData, checkKind, type TransitKind } from './transit-kind.ts';
import type { VaultToken } from './vault-token.ts';
import type { TransitKey } from './vault-uri.ts';

/** Nonce of 12 bytes, or of 24 for XChaCha20-Poly1305; DEK; tag of 16. Neither needs padding. */
const WRAP = /^vault:v[1-9]\d{0,8}:(?:[A-Za-z0-9+/]{80}|[A-Za-z0-9+/]{96})$/;

export interface TransitServiceOptions {
  readonly key: TransitKey;
  readonly client: JsonClient;
  readonly token: VaultToken;
}

export class TransitService implements KekService {
  readonly #key: TransitKey;
  readonly #client: JsonClient;
  readonly #token: VaultToken;
  #kind: TransitKind | undefined;

  constructor({ key, client, token }: TransitServiceOptions) {
    this.#key = key;
    this.#client = client;
    this.#token = token;
  }

  async check(call: KekCall): Promise<void> {
    await this.#readKind(call);
    await checkAssociatedData(this.#key.kekUri, {
      encrypt: (dek, associatedData) => this.#encrypt(dek, associatedData, call),
      isOpenedBy: (wrapped, associatedData) => this.#isOpenedBy(wrapped, associatedData, call),
    });
  }

  async wrap(dek: Uint8Array, { aad }: WrapPlace, call: KekCall): Promise<Uint8Array> {
    // `encrypt` makes a key that does not exist, where the token may: look before each.
    await this.#readKind(call);
    return Buffer.from(await this.#encrypt(dek, aad, call), 'latin1');
  }

  async unwrap(wrapped: Uint8Array, { aad }: WrapPlace, call: KekCall): Promise<Uint8Array> {
    const text = Buffer.from(wrapped).toString('latin1');
    if (!WRAP.test(text)) throw new DoesNotOpen('a wrap that is none of a transit engine');
    return await this.#decrypt(text, aad, call);
  }

  close(): void {
    this.#client.close();
  }

  async #readKind(call: KekCall): Promise<void> {
    const { body } = await this.#request(call, 'keys');
    this.#kind = checkKind(this.#key.kekUri, fieldOf(body, 'data'));
  }

  async #encrypt(dek: Uint8Array, associatedData: Buffer, call: KekCall): Promise<string> {
    const plaintext = base64Of(dek);
    const { body } = await this.#request(call, 'encrypt', {
      plaintext,
      ...this.#bound(associatedData),
    });
    const ciphertext = fieldOf(fieldOf(body, 'data'), 'ciphertext');
    if (typeof ciphertext === 'string' && WRAP.test(ciphertext)) return ciphertext;
    throw this.#notTransit();
  }

  /** @throws DoesNotOpen */
  async #decrypt(ciphertext: string, associatedData: Buffer, call: KekCall): Promise<Buffer> {
    const { body } = await this.#request(call, 'decrypt', {
      ciphertext,
      ...this.#bound(associatedData),
    });
    const plaintext = fieldOf(fieldOf(body, 'data'), 'plaintext');
    const dek = typeof plaintext === 'string' ? bytesOfBase64(plaintext) : undefined;
    if (dek === undefined) throw this.#notTransit();
    return dek;
  }

  async #isOpenedBy(ciphertext: string, associatedData: Buffer, call: KekCall): Promise<boolean> {
    try {
      (await this.#decrypt(ciphertext, associatedData, call)).fill(0);
      return true;
    } catch (error) {
      if (error instanceof DoesNotOpen) return false;
      throw error;
    }
  }

  /** A key that derives one key per context gets the same bytes as context, too. */
  #bound(associatedData: Buffer): Record<string, string> {
    const text = base64Of(associatedData);
    return { associated_data: text, ...(this.#kind?.isDerived && { context: text }) };
  }

  #notTransit(): Error {
    return kekUnavailable(this.#key.kekUri, 'an answer that is none of a transit engine');
  }

  #request(call: KekCall, verb: Verb, body?: Record<string, string>): Promise<JsonAnswer> {
    const { kekUri, mount, name, namespace } = this.#key;
    const method = verb === 'keys' ? 'GET' : 'POST';
    const path = `/v1/${mount}/${verb}/${name}`;
    return call.attempts(async (signal) => {
      for (let isRepeated = false; ; isRepeated = true) {
        const token = this.#token.text;
        const headers = {
          'x-vault-token': token,
          // Vault's own mark of a request that no form or script of a page has made.
          'x-vault-request': 'true',
          ...(namespace !== undefined && { 'x-vault-namespace': namespace }),
        };
        const answer = await this.#client.send({ method, path, headers, body }, signal);
        if (answer.status === 200) return answer;
        const isRefused = answer.status === 403 && !isRepeated;
        if (isRefused && (await this.#token.isReplaced(token))) continue;
        throw failureOf(kekUri, verb, answer, [body?.plaintext ?? '', token]);
      }
    });
  }
}
