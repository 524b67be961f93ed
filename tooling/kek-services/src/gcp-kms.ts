/**
 * Cloud KMS of Google Cloud as far as a KEK provider uses it: reading a key, `:encrypt`, `:decrypt`
 * over REST, with checksums both ways; and the metadata server of a Google Cloud machine, which
 * hands out tokens.
 *
 * A ciphertext is the version (1), then nonce, ciphertext and tag.
 */
import { randomBytes } from 'node:crypto';
import { HeldKey } from './held-key.ts';
import { fieldOf, type HttpAnswer, type HttpRequest, LocalHttp, textOf } from './local-http.ts';

const RING = 'projects/example/locations/europe-west3/keyRings/raftseal/cryptoKeys';

type VersionState = 'ENABLED' | 'DISABLED' | 'DESTROY_SCHEDULED' | 'DESTROYED';

export interface GcpKey {
  readonly name: string;
  readonly held: HeldKey;
  purpose: 'ENCRYPT_DECRYPT' | 'ASYMMETRIC_DECRYPT' | 'MAC' | 'RAW_ENCRYPT_DECRYPT';
  /** By version, from 1; enabled unless said otherwise. */
  readonly states: Map<number, VersionState>;
}

export interface GcpKms {
  readonly http: LocalHttp;
  /** By resource name. */
  readonly keys: Map<string, GcpKey>;
  /** What the service takes as a token; the metadata server gives the last one. */
  readonly tokens: Set<string>;
  /** Permissions that the caller does not have, such as `cloudkms.cryptoKeys.get`. */
  readonly denied: Set<string>;
  /** Whether the metadata server knows an account. */
  hasAccount: boolean;
  createKey(id: string): GcpKey;
}

export async function startGcpKms(): Promise<GcpKms> {
  const kms = {
    keys: new Map<string, GcpKey>(),
    tokens: new Set([`ya29.${randomBytes(24).toString('base64url')}`]),
    denied: new Set<string>(),
    hasAccount: true,
    createKey(id: string): GcpKey {
      const name = `${RING}/${id}`;
      const key: GcpKey = {
        name,
        held: new HeldKey(),
        purpose: 'ENCRYPT_DECRYPT',
        states: new Map(),
      };
      kms.keys.set(name, key);
      return key;
    },
  };
  const http = await LocalHttp.start((request) => answer(kms, request));
  return Object.assign(kms, { http });
}

type State = Omit<GcpKms, 'http'>;

function answer(kms: State, request: HttpRequest): HttpAnswer {
  const { method, path, headers, body } = request;
  if (path.startsWith('/computeMetadata/v1/')) return metadata(kms, request);
  const [, name = '', verb] = /^\/v1\/([^:?]+)(?::(encrypt|decrypt))?$/.exec(path) ?? [];
  const [, token = ''] = /^Bearer (.+)$/.exec(headers.authorization ?? '') ?? [];
  if (!kms.tokens.has(token)) {
    return refused(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.');
  }
  const permission = permissionFor(verb);
  if (kms.denied.has(permission)) {
    const text = `Permission '${permission}' denied on resource '${name}' (or it may not exist).`;
    return refused(403, 'PERMISSION_DENIED', text);
  }
  const key = kms.keys.get(name);
  if (key === undefined) return refused(404, 'NOT_FOUND', `CryptoKey ${name} not found.`);
  if (method === 'GET' && verb === undefined) return describe(key);
  if (method !== 'POST' || verb === undefined) return refused(404, 'NOT_FOUND', 'Not found.');
  if (key.purpose !== 'ENCRYPT_DECRYPT') {
    return refused(400, 'FAILED_PRECONDITION', `${name} has purpose ${key.purpose}.`);
  }
  return verb === 'encrypt' ? encrypt(key, body) : decrypt(key, body);
}

function permissionFor(verb: string | undefined): string {
  if (verb === 'encrypt') return 'cloudkms.cryptoKeyVersions.useToEncrypt';
  if (verb === 'decrypt') return 'cloudkms.cryptoKeyVersions.useToDecrypt';
  return 'cloudkms.cryptoKeys.get';
}

function metadata({ tokens, hasAccount }: State, { path, headers }: HttpRequest): HttpAnswer {
  const flavour = { 'metadata-flavor': 'Google' };
  if (headers['metadata-flavor'] !== 'Google') return { status: 403, body: 'no flavour' };
  if (path.includes('/service-accounts/default/token')) {
    if (!hasAccount) return { status: 404, headers: flavour, body: 'no account' };
    const access_token = [...tokens].at(-1);
    const body = { access_token, expires_in: 3_599, token_type: 'Bearer' };
    return { status: 200, headers: flavour, body };
  }
  if (path.includes('/project/project-id')) return text('example');
  if (path.includes('/universe')) return text('googleapis.com');
  return text('computeMetadata/');

  function text(body: string): HttpAnswer {
    return { status: 200, headers: { ...flavour, 'content-type': 'application/text' }, body };
  }
}

function describe(key: GcpKey): HttpAnswer {
  const version = key.held.latestVersion;
  return {
    status: 200,
    body: {
      name: key.name,
      purpose: key.purpose,
      createTime: '2026-01-01T00:00:00Z',
      ...(key.purpose === 'ENCRYPT_DECRYPT' && {
        primary: {
          name: `${key.name}/cryptoKeyVersions/${version}`,
          state: stateOf(key, version),
          protectionLevel: 'SOFTWARE',
          algorithm: 'GOOGLE_SYMMETRIC_ENCRYPTION',
        },
      }),
    },
  };
}

function encrypt(key: GcpKey, body: unknown): HttpAnswer {
  const version = key.held.latestVersion;
  const refusal = unusable(key, version) ?? checksumFault(body, ['plaintext', aadField]);
  if (refusal !== undefined) return refusal;
  const sealed = key.held.seal(bytesOf(body, 'plaintext'), bytesOf(body, aadField));
  const ciphertext = Buffer.concat([Buffer.of(version), sealed]);
  return {
    status: 200,
    body: {
      name: `${key.name}/cryptoKeyVersions/${version}`,
      ciphertext: ciphertext.toString('base64'),
      ciphertextCrc32c: crc32c(ciphertext),
      verifiedPlaintextCrc32c: fieldOf(body, 'plaintextCrc32c') !== undefined,
      verifiedAdditionalAuthenticatedDataCrc32c: fieldOf(body, `${aadField}Crc32c`) !== undefined,
      protectionLevel: 'SOFTWARE',
    },
  };
}

function decrypt(key: GcpKey, body: unknown): HttpAnswer {
  const ciphertext = bytesOf(body, 'ciphertext');
  const refusal = checksumFault(body, ['ciphertext', aadField]);
  if (refusal !== undefined) return refusal;
  const version = ciphertext[0] ?? 0;
  if (version < 1 || version > key.held.latestVersion) return doesNotOpen();
  const disabled = unusable(key, version);
  if (disabled !== undefined) return disabled;
  const plaintext = key.held.open(version, ciphertext.subarray(1), bytesOf(body, aadField));
  if (plaintext === undefined) return doesNotOpen();
  return {
    status: 200,
    body: {
      plaintext: plaintext.toString('base64'),
      plaintextCrc32c: crc32c(plaintext),
      usedPrimary: version === key.held.latestVersion,
      protectionLevel: 'SOFTWARE',
    },
  };
}

const aadField = 'additionalAuthenticatedData';

function bytesOf(body: unknown, name: string): Buffer {
  return Buffer.from(textOf(body, name), 'base64');
}

function stateOf({ states }: GcpKey, version: number): VersionState {
  return states.get(version) ?? 'ENABLED';
}

function unusable(key: GcpKey, version: number): HttpAnswer | undefined {
  const state = stateOf(key, version);
  if (state === 'ENABLED') return undefined;
  const subject = `${key.name}/cryptoKeyVersions/${version}`;
  const text = `${subject} is not enabled, current state is: ${state}.`;
  return refused(400, 'FAILED_PRECONDITION', text);
}

function checksumFault(body: unknown, fields: readonly string[]): HttpAnswer | undefined {
  for (const name of fields) {
    const checksum = fieldOf(body, `${name}Crc32c`);
    if (checksum === undefined || checksum === crc32c(bytesOf(body, name))) continue;
    const text = `The checksum in field ${name}_crc32c did not match the data in field ${name}.`;
    return refused(400, 'INVALID_ARGUMENT', text);
  }
  return undefined;
}

function doesNotOpen(): HttpAnswer {
  const text = "Decryption failed: verify that 'name' refers to the correct CryptoKey.";
  return refused(400, 'INVALID_ARGUMENT', text);
}

function refused(code: number, status: string, message: string): HttpAnswer {
  return { status: code, body: { error: { code, message, status } } };
}

/** CRC-32C bit by bit (RFC 3720 appendix B.4), as JSON has an int64: in decimal, as a string. */
function crc32c(bytes: Buffer): string {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
  }
  return String((crc ^ 0xffff_ffff) >>> 0);
}
