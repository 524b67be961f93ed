/**
 * The KEK that a URI names, and the probe that shows it works before anything relies on it.
 *
 * | URI | provider |
 * | --- | --- |
 * | file:/path | a file of 32 bytes, mode 0600 |
 * | env:NAME | an environment variable with 32 bytes in base64 or hex; unset after reading |
 * | pkcs11:token=...;object=...?module-path=...&pin-source=file:... | an AES key in a token (RFC 7512) |
 * | vault-transit:https://host:8200/transit/keys/name | a key of Vault or OpenBao |
 * | aws-kms:arn:aws:kms:... | a key of AWS KMS |
 * | gcp-kms:projects/.../cryptoKeys/name | a key of Google Cloud KMS |
 *
 * Clients of services are loaded only where they are used: they take their time and memory.
 */
import { randomBytes } from 'node:crypto';
import {
  CLUSTER_ID_BYTES,
  codeOf,
  DEK_BYTES,
  type KekProvider,
  RaftsealError,
} from '@raftseal/interface';
import { kekFromEnv } from '@raftseal/kek-env';
import { kekFromFile } from '@raftseal/kek-file';

/** How long a key service may take: one attempt, and a call with all of its attempts. */
export interface KeyServiceLimits {
  readonly attemptMs: number;
  readonly callMs: number;
}

/**
 * @param limits of a key service. Default: those of its provider.
 * @throws RAFTSEAL_NODE_KEK_URI, RAFTSEAL_NODE_KEK_PROBE for a KEK that is in reach and does not
 *   work, and what the provider throws
 */
export async function kekFromUri(uri: string, limits?: KeyServiceLimits): Promise<KekProvider> {
  const kek = await openKek({ uri, ...(limits && { limits }) });
  await probe(kek);
  return kek;
}

interface OpeningOptions {
  readonly uri: string;
  readonly limits?: KeyServiceLimits;
}

const openers: Readonly<Record<string, (options: OpeningOptions) => Promise<KekProvider>>> = {
  file: ({ uri }) => kekFromFile(nameOf(uri).replace(/^\/\/(?=\/)/, '')),
  env: async ({ uri }) => kekFromEnv({ name: nameOf(uri) }),
  pkcs11: async ({ uri }) => (await import('@raftseal/kek-pkcs11')).kekFromPkcs11({ uri }),
  'vault-transit': async (options) =>
    (await import('@raftseal/kek-vault-transit')).kekFromVaultTransit(options),
  'aws-kms': async (options) => (await import('@raftseal/kek-aws-kms')).kekFromAwsKms(options),
  'gcp-kms': async (options) => (await import('@raftseal/kek-gcp-kms')).kekFromGcpKms(options),
};

export const kekSchemes: readonly string[] = Object.keys(openers);

async function openKek(options: OpeningOptions): Promise<KekProvider> {
  const { uri } = options;
  const scheme = /^([a-z0-9-]+):./.exec(uri)?.[1] ?? '';
  if (Object.hasOwn(openers, scheme)) {
    const opened = await openers[scheme]?.(options);
    if (opened) return opened;
  }
  const schemes = kekSchemes.map((name) => `${name}:`);
  throw new RaftsealError(
    'RAFTSEAL_NODE_KEK_URI',
    `expected a KEK as file:/path/to/kek, env:NAME or another of ${schemes.join(' ')}; found ` +
      JSON.stringify(uri),
  );
}

/** What follows the scheme. */
function nameOf(uri: string): string {
  return uri.slice(uri.indexOf(':') + 1);
}

/** A KEK that can wrap but not unwrap would make data that nobody can read. */
async function probe(kek: KekProvider): Promise<void> {
  const binding = { clusterId: randomBytes(CLUSTER_ID_BYTES), dekId: 1, purpose: 'raft' } as const;
  const dek = randomBytes(DEK_BYTES);
  try {
    const unwrapped = await kek.unwrapKey(await kek.wrapKey(dek, binding), binding);
    if (!dek.equals(unwrapped)) throw new Error('the unwrapped key differs');
    unwrapped.fill(0);
  } catch (cause) {
    // It may well work: who asks may go on with another KEK, or ask again.
    if (codeOf(cause) === 'RAFTSEAL_KEK_UNAVAILABLE') throw cause;
    throw new RaftsealError(
      'RAFTSEAL_NODE_KEK_PROBE',
      `the KEK ${kek.kekUri} did not wrap and unwrap a probe key (${codeOf(cause) ?? 'failed'})`,
      { cause },
    );
  } finally {
    dek.fill(0);
  }
}
