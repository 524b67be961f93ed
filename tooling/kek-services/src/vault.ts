/**
 * The transit engine of a Vault, as far as a KEK provider uses it: reading a key, `encrypt`,
 * `decrypt`. Order of checks and texts of refusals are those of the engine
 * (hashicorp/vault `builtin/logical/transit`, `sdk/helper/keysutil/policy.go`).
 */
import { randomBytes } from 'node:crypto';
import { HeldKey } from './held-key.ts';
import {
  type HttpAnswer,
  type HttpRequest,
  LocalHttp,
  type LocalHttpOptions,
  textOf,
} from './local-http.ts';

const types = {
  'aes128-gcm96': undefined,
  'aes256-gcm96': 'aes-256-gcm',
  'chacha20-poly1305': 'chacha20-poly1305',
  'rsa-4096': undefined,
} as const;

export interface TransitKeyOptions {
  readonly type?: keyof typeof types;
  readonly derived?: boolean;
  readonly convergent?: boolean;
}

export interface TransitKeyState {
  readonly held: HeldKey;
  readonly type: keyof typeof types;
  readonly derived: boolean;
  readonly convergent: boolean;
  minDecryptionVersion: number;
  softDeleted: boolean;
}

export interface Vault {
  readonly http: LocalHttp;
  /** What the server takes as a token; others are refused. */
  readonly tokens: Set<string>;
  /** One of them. */
  readonly token: string;
  /** By namespace, mount and name, such as `transit/raftseal` or `team/transit/raftseal`. */
  readonly keys: Map<string, TransitKeyState>;
  /** Paths such as `transit/encrypt/raftseal` that the tokens' policy does not give. */
  readonly denied: Set<string>;
  /** Whether `encrypt` makes keys that do not exist, as it does for a policy that gives `create`. */
  mayCreate: boolean;
  /** As versions before 1.9 do. */
  ignoresAssociatedData: boolean;
  sealed: boolean;
  createKey(path: string, options?: TransitKeyOptions): TransitKeyState;
}

export async function startVault(options: LocalHttpOptions = {}): Promise<Vault> {
  const token = `hvs.${randomBytes(24).toString('base64url')}`;
  const vault = {
    tokens: new Set([token]),
    token,
    keys: new Map<string, TransitKeyState>(),
    denied: new Set<string>(),
    mayCreate: true,
    ignoresAssociatedData: false,
    sealed: false,
    createKey(path: string, { type = 'aes256-gcm96', ...rest }: TransitKeyOptions = {}) {
      const { derived = false, convergent = false } = rest;
      const held = new HeldKey(types[type]);
      const key = { held, type, derived, convergent, minDecryptionVersion: 1, softDeleted: false };
      vault.keys.set(path, key);
      return key;
    },
  };
  const http = await LocalHttp.start((request) => answer(vault, request), options);
  return Object.assign(vault, { http });
}

type State = Omit<Vault, 'http'>;

function answer(vault: State, { method, path, headers, body }: HttpRequest): HttpAnswer {
  if (vault.sealed) return refused(503, 'Vault is sealed');
  const { 'x-vault-token': token, 'x-vault-namespace': namespace } = headers;
  if (token === undefined) return refused(400, 'missing client token');
  const [, mount, verb, name] = /^\/v1\/(.+)\/(keys|encrypt|decrypt)\/([\w.-]+)$/.exec(path) ?? [];
  const isAllowed = typeof token === 'string' && vault.tokens.has(token);
  if (!isAllowed || vault.denied.has(`${mount}/${verb}/${name}`)) {
    return refused(403, '1 error occurred:\n\t* permission denied\n\n');
  }
  if (mount?.split('/').at(-1) !== 'transit' || name === undefined) {
    return refused(404, `no handler for route "${path.slice(4)}". route entry not found.`);
  }
  const place = [namespace, mount, name].filter((part) => part !== undefined).join('/');
  if (verb === 'keys' && method === 'GET') return readKey(vault.keys.get(place), name);
  if (method !== 'POST' && method !== 'PUT') return refused(405, 'unsupported operation');
  if (verb === 'encrypt') return encrypt(vault, place, body);
  return decrypt(vault, place, body);
}

function readKey(key: TransitKeyState | undefined, name: string): HttpAnswer {
  if (key === undefined) return { status: 404, body: { errors: [] } };
  const { type, derived, convergent, minDecryptionVersion, softDeleted, held } = key;
  const versions = Array.from({ length: held.latestVersion }, (_, at) => [at + 1, 1_700_000_000]);
  return done({
    name,
    type,
    derived,
    ...(derived && { kdf: 'hkdf_sha256', convergent_encryption: convergent }),
    soft_deleted: softDeleted,
    keys: Object.fromEntries(versions),
    latest_version: held.latestVersion,
    min_decryption_version: minDecryptionVersion,
    min_encryption_version: 0,
    supports_encryption: true,
    supports_decryption: true,
    exportable: false,
  });
}

function encrypt(vault: State, place: string, body: unknown): HttpAnswer {
  const known = vault.keys.get(place);
  if (known === undefined && !vault.mayCreate) return refused(400, 'encryption key not found');
  const key = known ?? vault.createKey(place);
  const refusal = unusable(key, body);
  if (refusal !== undefined) return refusal;
  const plaintext = Buffer.from(textOf(body, 'plaintext'), 'base64');
  const sealed = key.held.seal(plaintext, associatedData(vault, body), derivation(key, body));
  const version = key.held.latestVersion;
  return done({
    ciphertext: `vault:v${version}:${sealed.toString('base64')}`,
    key_version: version,
  });
}

function decrypt(vault: State, place: string, body: unknown): HttpAnswer {
  const key = vault.keys.get(place);
  if (key === undefined) return refused(400, 'encryption key not found');
  const refusal = unusable(key, body);
  if (refusal !== undefined) return refusal;
  const ciphertext = textOf(body, 'ciphertext');
  if (!ciphertext.startsWith('vault:v')) return refused(400, 'invalid ciphertext: no prefix');
  const [, versionText, payload] = /^vault:v([^:]*):(.*)$/s.exec(ciphertext) ?? [];
  if (versionText === undefined || payload === undefined) {
    return refused(400, 'invalid ciphertext: wrong number of fields');
  }
  if (!/^[+-]?\d+$/.test(versionText)) {
    return refused(400, 'invalid ciphertext: version number could not be decoded');
  }
  const version = Number(versionText) || 1;
  if (version > key.held.latestVersion) {
    return refused(400, 'invalid ciphertext: version is too new');
  }
  if (version < key.minDecryptionVersion) {
    return refused(400, 'ciphertext or signature version is disallowed by policy (too old)');
  }
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(payload) || payload.length % 4 !== 0) {
    return refused(400, 'invalid ciphertext: could not decode base64');
  }
  const sealed = Buffer.from(payload, 'base64');
  const plaintext = key.held.open(
    version,
    sealed,
    associatedData(vault, body),
    derivation(key, body),
  );
  if (plaintext === undefined) return refused(400, 'cipher: message authentication failed');
  return done({ plaintext: plaintext.toString('base64') });
}

function unusable(key: TransitKeyState, body: unknown): HttpAnswer | undefined {
  if (key.softDeleted) return refused(400, 'key is soft deleted; restore it first');
  if (key.derived && textOf(body, 'context') === '') {
    return refused(
      400,
      "missing 'context' for key derivation; the key was created using a derived key",
    );
  }
  return undefined;
}

function associatedData({ ignoresAssociatedData }: State, body: unknown): Buffer {
  if (ignoresAssociatedData) return Buffer.alloc(0);
  return Buffer.from(textOf(body, 'associated_data'), 'base64');
}

function derivation({ derived }: TransitKeyState, body: unknown): { derivedBy?: Buffer } {
  return derived ? { derivedBy: Buffer.from(textOf(body, 'context'), 'base64') } : {};
}

function done(data: Record<string, unknown>): HttpAnswer {
  return { status: 200, body: { request_id: 'c0ffee', lease_id: '', renewable: false, data } };
}

function refused(status: number, error: string): HttpAnswer {
  return { status, body: { errors: [error] } };
}
