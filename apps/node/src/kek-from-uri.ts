/**
 * The KEK that a URI names, and the probe that shows it works before anything relies on it.
 *
 * | URI | provider |
 * | --- | --- |
 * | file:/path | a file of 32 bytes, mode 0600 |
 * | env:NAME | an environment variable with 32 bytes in base64 or hex; unset after reading |
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

/** @throws RAFTSEAL_NODE_KEK_URI, RAFTSEAL_NODE_KEK_PROBE, and what the provider throws */
export async function kekFromUri(uri: string): Promise<KekProvider> {
  const kek = await openKek(uri);
  await probe(kek);
  return kek;
}

async function openKek(uri: string): Promise<KekProvider> {
  const separator = uri.indexOf(':');
  const scheme = uri.slice(0, Math.max(separator, 0));
  const rest = uri.slice(separator + 1);
  if (scheme === 'file' && rest !== '') return kekFromFile(rest.replace(/^\/\/(?=\/)/, ''));
  if (scheme === 'env' && rest !== '') return kekFromEnv({ name: rest });
  throw new RaftsealError(
    'RAFTSEAL_NODE_KEK_URI',
    `expected a KEK as file:/path/to/kek or env:NAME, found ${JSON.stringify(uri)}`,
  );
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
    throw new RaftsealError(
      'RAFTSEAL_NODE_KEK_PROBE',
      `the KEK ${kek.kekUri} did not wrap and unwrap a probe key (${codeOf(cause) ?? 'failed'})`,
      { cause },
    );
  } finally {
    dek.fill(0);
  }
}
