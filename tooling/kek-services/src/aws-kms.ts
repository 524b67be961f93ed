/**
 * AWS KMS as far as a KEK provider uses it: `DescribeKey`, `Encrypt` and `Decrypt` over AWS JSON
 * 1.1, with encryption contexts, key states, aliases and signed requests.
 *
 * A ciphertext names its key and version, as KMS's own do: length of the ARN (1), ARN, version (1),
 * then nonce, ciphertext and tag.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { HeldKey } from './held-key.ts';
import { fieldOf, type HttpAnswer, type HttpRequest, LocalHttp, textOf } from './local-http.ts';
import { type AwsCredentials, signatureFault } from './signature-v4.ts';

const ACCOUNT = '111122223333';

export interface AwsKey {
  readonly arn: string;
  readonly held: HeldKey;
  state: 'Enabled' | 'Disabled' | 'PendingDeletion' | 'PendingImport' | 'Updating';
  spec: 'SYMMETRIC_DEFAULT' | 'RSA_4096' | 'HMAC_256';
  usage: 'ENCRYPT_DECRYPT' | 'GENERATE_VERIFY_MAC';
}

export interface AwsKms {
  readonly http: LocalHttp;
  readonly region: string;
  readonly credentials: AwsCredentials;
  /** By ARN. */
  readonly keys: Map<string, AwsKey>;
  /** ARN of an alias to ARN of its key. */
  readonly aliases: Map<string, string>;
  /** Operations that the caller's policy does not give, such as `Decrypt`. */
  readonly denied: Set<string>;
  createKey(): AwsKey;
  /** @returns the ARN of the alias. */
  setAlias(name: string, key: AwsKey): string;
}

export async function startAwsKms(region = 'eu-central-1'): Promise<AwsKms> {
  const kms = {
    region,
    credentials: {
      accessKeyId: `AKIA${randomBytes(8).toString('hex').toUpperCase()}`,
      secretAccessKey: randomBytes(30).toString('base64'),
    },
    keys: new Map<string, AwsKey>(),
    aliases: new Map<string, string>(),
    denied: new Set<string>(),
    createKey(): AwsKey {
      const key: AwsKey = {
        arn: `arn:aws:kms:${region}:${ACCOUNT}:key/${randomUUID()}`,
        held: new HeldKey(),
        state: 'Enabled',
        spec: 'SYMMETRIC_DEFAULT',
        usage: 'ENCRYPT_DECRYPT',
      };
      kms.keys.set(key.arn, key);
      return key;
    },
    setAlias(name: string, { arn }: AwsKey): string {
      const alias = `arn:aws:kms:${region}:${ACCOUNT}:alias/${name}`;
      kms.aliases.set(alias, arn);
      return alias;
    },
  };
  const http = await LocalHttp.start((request) => answer(kms, request));
  return Object.assign(kms, { http });
}

type State = Omit<AwsKms, 'http'>;

function answer(kms: State, request: HttpRequest): HttpAnswer {
  const { method, path, headers, body } = request;
  const target = String(headers['x-amz-target']);
  const [, operation] = /^TrentService\.(DescribeKey|Encrypt|Decrypt)$/.exec(target) ?? [];
  if (method !== 'POST' || path !== '/' || operation === undefined) {
    return refused('UnknownOperationException');
  }
  if (headers['content-type'] !== 'application/x-amz-json-1.1') {
    return refused('SerializationException');
  }
  const fault = signatureFault(request, kms.credentials);
  if (fault !== undefined) return refused(fault, 'The security token is invalid.');
  if (kms.denied.has(operation)) {
    return refused('AccessDeniedException', `User is not authorized to perform: kms:${operation}`);
  }
  const named = textOf(body, 'KeyId');
  const arn = named.includes(':alias/') ? kms.aliases.get(named) : named;
  const key = kms.keys.get(arn ?? '');
  if (key === undefined) {
    const kind = named.includes(':alias/') ? 'Alias' : 'Key';
    return refused('NotFoundException', `${kind} '${named}' does not exist`);
  }
  if (operation === 'DescribeKey') return describe(key);
  const refusal = unusable(key);
  if (refusal !== undefined) return refusal;
  return operation === 'Encrypt' ? encrypt(key, body) : decrypt(kms, key, body);
}

function describe({ arn, state, spec, usage }: AwsKey): HttpAnswer {
  return done({
    KeyMetadata: {
      AWSAccountId: ACCOUNT,
      Arn: arn,
      KeyId: arn.split('/').at(-1),
      CreationDate: 1_700_000_000.5,
      Enabled: state === 'Enabled',
      KeyState: state,
      KeySpec: spec,
      CustomerMasterKeySpec: spec,
      KeyUsage: usage,
      KeyManager: 'CUSTOMER',
      Origin: 'AWS_KMS',
      MultiRegion: false,
      Description: '',
    },
  });
}

function unusable({ arn, state, usage }: AwsKey): HttpAnswer | undefined {
  if (state === 'Disabled') return refused('DisabledException', `${arn} is disabled.`);
  if (state.startsWith('Pending')) {
    return refused('KMSInvalidStateException', `${arn} is pending deletion.`);
  }
  if (usage !== 'ENCRYPT_DECRYPT') {
    return refused('InvalidKeyUsageException', `${arn} key usage is ${usage}`);
  }
  return undefined;
}

function encrypt({ arn, held }: AwsKey, body: unknown): HttpAnswer {
  const plaintext = Buffer.from(textOf(body, 'Plaintext'), 'base64');
  const sealed = held.seal(plaintext, contextBytes(body));
  const name = Buffer.from(arn);
  const header = [Buffer.of(name.length), name, Buffer.of(held.latestVersion)];
  return done({
    CiphertextBlob: Buffer.concat([...header, sealed]).toString('base64'),
    KeyId: arn,
    EncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
  });
}

function decrypt({ keys }: State, { arn, held }: AwsKey, body: unknown): HttpAnswer {
  const blob = Buffer.from(textOf(body, 'CiphertextBlob'), 'base64');
  const end = 1 + (blob[0] ?? 0);
  const named = blob.toString('utf8', 1, end);
  const version = blob[end] ?? 0;
  if (!keys.has(named)) return refused('InvalidCiphertextException');
  if (named !== arn) {
    return refused(
      'IncorrectKeyException',
      'The key ID in the request does not identify a CMK that can perform this operation.',
    );
  }
  if (version < 1 || version > held.latestVersion) return refused('InvalidCiphertextException');
  const plaintext = held.open(version, blob.subarray(end + 1), contextBytes(body));
  if (plaintext === undefined) return refused('InvalidCiphertextException');
  return done({
    Plaintext: plaintext.toString('base64'),
    KeyId: arn,
    EncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
  });
}

/** The pairs in the order of their names, so that their order in the request does not matter. */
function contextBytes(body: unknown): Buffer {
  const context = fieldOf(body, 'EncryptionContext') ?? {};
  const pairs = Object.entries(context).sort(([a], [b]) => (a < b ? -1 : 1));
  return Buffer.from(JSON.stringify(pairs));
}

function done(body: Record<string, unknown>): HttpAnswer {
  return { status: 200, headers, body };
}

const headers = { 'content-type': 'application/x-amz-json-1.1' };

function refused(type: string, message?: string): HttpAnswer {
  const body = { __type: type, ...(message !== undefined && { message }) };
  return { status: 400, headers, body };
}
