/**
 * A token with one open session, logged in, and the KEK found in it. Calls must not overlap: a
 * session has one operation under way at a time.
 */
import { randomBytes } from 'node:crypto';
import { DEK_BYTES, RaftsealError } from '@raftseal/interface';
import { WRAP_NONCE_BYTES, WRAP_TAG_BYTES } from '@raftseal/kek-memory';
import type { KeyName, TokenName } from '../uri.ts';
import type { ObjectHandle } from './attributes.ts';
import { createKey, findKey } from './key.ts';
import { logIn } from './login.ts';
import { Pkcs11Module, refusal } from './module.ts';
import { NULL, ULONG_BYTES } from './native-memory.ts';
import { findToken } from './slots.ts';
import { CKF, CKM, CKR, isPassing, isVague, nameOf } from './standard.ts';

export interface TokenOptions {
  readonly modulePath: string;
  readonly tokenName: TokenName;
  readonly keyName: KeyName;
  readonly pin?: Uint8Array;
  /** Makes the key first, which must not exist. */
  readonly create: boolean;
}

/** What binds one wrap. */
export interface WrapParameters {
  /** 12 bytes. */
  readonly nonce: Uint8Array;
  readonly aad: Uint8Array;
}

const SEALED_BYTES = DEK_BYTES + WRAP_TAG_BYTES;

const mechanismErrors: ReadonlySet<number> = new Set([
  CKR.CKR_MECHANISM_INVALID,
  CKR.CKR_MECHANISM_PARAM_INVALID,
]);

export class Token {
  readonly #module: Pkcs11Module;
  readonly #key: ObjectHandle;

  private constructor(module: Pkcs11Module, key: ObjectHandle) {
    this.#module = module;
    this.#key = key;
  }

  /** @throws RAFTSEAL_KEK_PKCS11_*; RAFTSEAL_KEK_UNAVAILABLE */
  static async open(options: TokenOptions): Promise<Token> {
    const module = new Pkcs11Module(options.modulePath);
    await module.initialize(options.modulePath);
    try {
      const { slot, flags } = await findToken(module, options.tokenName);
      await checkMechanism(module, slot);
      const session = await openSession(module, slot, options.create);
      await logIn(module, { session, flags, pin: options.pin });
      if (options.create) await createKey(module, session, options.keyName);
      const token = new Token(module, await findKey(module, session, options.keyName));
      await token.#probe();
      return token;
    } catch (error) {
      await module.call('C_Finalize', NULL);
      throw error;
    }
  }

  /**
   * Wraps a DEK, and unwraps it again before it answers: what a token wraps under another nonce or
   * in another format than asked for would be lost.
   * @returns ciphertext (32) and tag (16).
   */
  async wrap(dek: Uint8Array, parameters: WrapParameters): Promise<Uint8Array> {
    const sealed = await this.#encrypt(dek, parameters);
    const opened = await this.#decryptTwice(sealed, parameters);
    if (typeof opened === 'number') {
      throw mechanismRefused(`that it does not unwrap what it wrapped (${nameOf(opened)})`);
    }
    const isSame = Buffer.from(opened).equals(dek);
    opened.fill(0);
    if (!isSame) throw mechanismRefused('that it unwraps something else than it wrapped');
    return sealed;
  }

  /**
   * The DEK; undefined where the wrap does not authenticate. Tokens answer that in different ways,
   * CKR_GENERAL_ERROR among them: it is told from a failing token by wrapping and unwrapping
   * something else, and by asking again after that.
   */
  async unwrap(sealed: Uint8Array, parameters: WrapParameters): Promise<Uint8Array | undefined> {
    const opened = await this.#decrypt(sealed, parameters);
    if (typeof opened !== 'number') return opened;
    await this.#probe();
    const openedAgain = await this.#decrypt(sealed, parameters);
    return typeof openedAgain === 'number' ? undefined : openedAgain;
  }

  /** Logs out and lets go of the module. */
  async close(): Promise<void> {
    await this.#module.call('C_Finalize', NULL);
  }

  async #probe(): Promise<void> {
    const parameters = { nonce: randomBytes(WRAP_NONCE_BYTES), aad: Buffer.from('probe') };
    await this.wrap(randomBytes(DEK_BYTES), parameters);
  }

  async #encrypt(dek: Uint8Array, parameters: WrapParameters): Promise<Uint8Array> {
    const { memory } = this.#module;
    const { session } = this.#key;
    try {
      await this.#begin('C_EncryptInit', parameters);
      const output = memory.room(SEALED_BYTES);
      const length = memory.struct(SEALED_BYTES);
      const args = [memory.put(dek).address, dek.length, output.address, length.address] as const;
      await this.#module.run('C_Encrypt', session, ...args);
      const count = memory.readUlong(length);
      if (count === SEALED_BYTES) return memory.read(output);
      throw mechanismRefused(`a wrap of ${count} bytes without its nonce instead of 48`);
    } finally {
      memory.wipe();
    }
  }

  async #decryptTwice(
    sealed: Uint8Array,
    parameters: WrapParameters,
  ): Promise<Uint8Array | number> {
    const opened = await this.#decrypt(sealed, parameters);
    return typeof opened === 'number' ? await this.#decrypt(sealed, parameters) : opened;
  }

  /** The DEK, or what the module returned where it is not the token that went away. */
  async #decrypt(sealed: Uint8Array, parameters: WrapParameters): Promise<Uint8Array | number> {
    const { memory } = this.#module;
    const { session } = this.#key;
    try {
      await this.#begin('C_DecryptInit', parameters);
      const input = memory.put(sealed);
      // Modules may want room for the tag as well.
      const output = memory.room(SEALED_BYTES);
      const length = memory.struct(SEALED_BYTES);
      const args = [input.address, sealed.length, output.address, length.address] as const;
      const returned = await this.#module.call('C_Decrypt', session, ...args);
      if (isPassing(returned) && !isVague(returned)) throw refusal('C_Decrypt', returned);
      if (returned !== CKR.CKR_OK) return returned;
      const count = memory.readUlong(length);
      if (count === DEK_BYTES) return memory.read(output, DEK_BYTES);
      throw mechanismRefused(`${count} unwrapped bytes instead of 32`);
    } finally {
      memory.wipe();
    }
  }

  async #begin(name: 'C_EncryptInit' | 'C_DecryptInit', parameters: WrapParameters): Promise<void> {
    const { session, object } = this.#key;
    const returned = await this.#module.call(name, session, this.#gcm(parameters), object);
    if (mechanismErrors.has(returned)) throw mechanismRefused(nameOf(returned));
    if (returned !== CKR.CKR_OK) throw refusal(name, returned);
  }

  /** Lays out CK_MECHANISM with CK_GCM_PARAMS (version 2.40, errata 01: with ulIvBits). */
  #gcm({ nonce, aad }: WrapParameters): bigint {
    const { memory } = this.#module;
    const iv = memory.put(nonce);
    const data = memory.put(aad);
    const ivFields = [iv.address, nonce.length, 8 * nonce.length];
    const dataFields = [data.address, aad.length];
    const { address, length } = memory.struct(...ivFields, ...dataFields, 8 * WRAP_TAG_BYTES);
    return memory.struct(CKM.aesGcm, address, length).address;
  }
}

async function checkMechanism(module: Pkcs11Module, slot: number): Promise<void> {
  // CK_MECHANISM_INFO: the smallest and the largest key, and flags.
  const info = module.memory.room(3 * ULONG_BYTES);
  const returned = await module.call('C_GetMechanismInfo', slot, CKM.aesGcm, info.address);
  const flags = module.memory.readUlong(info, 2 * ULONG_BYTES);
  module.memory.wipe();
  if (mechanismErrors.has(returned)) throw mechanismRefused(nameOf(returned));
  if (returned !== CKR.CKR_OK) throw refusal('C_GetMechanismInfo', returned);
  const both = CKF.encrypt | CKF.decrypt;
  if ((flags & both) !== both) throw mechanismRefused('one without encryption and decryption');
}

async function openSession(module: Pkcs11Module, slot: number, write: boolean): Promise<number> {
  const flags = CKF.serialSession | (write ? CKF.readWriteSession : 0);
  const handle = module.memory.struct(0);
  await module.run('C_OpenSession', slot, flags, NULL, NULL, handle.address);
  const session = module.memory.readUlong(handle);
  module.memory.wipe();
  return session;
}

function mechanismRefused(found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_PKCS11_MECHANISM',
    'expected a token that does AES-GCM (CKM_AES_GCM) under a nonce that the caller gives; found ' +
      `${found}. Use another token, or another version of its module.`,
  );
}
