/** Puts a provider over a transit key together: URI, token, CA, client. */
import { readFile } from 'node:fs/promises';
import { codeOf, type KekProvider } from '@raftseal/interface';
import {
  JsonClient,
  type KekTimeLimits,
  kekCredentials,
  openRemoteKek,
} from '@raftseal/kek-remote';
import { TransitService } from './transit-service.ts';
import { type Environment, VaultToken } from './vault-token.ts';
import { parseTransitUri } from './vault-uri.ts';

export interface KekFromVaultTransitOptions {
  /** `vault-transit:https://host:8200/<mount>/keys/<name>[?namespace=<namespace>]`. */
  readonly uri: string;
  /**
   * Where `VAULT_TOKEN`, `VAULT_TOKEN_FILE`, `HOME` and `VAULT_CACERT` are looked up; default
   * `process.env`.
   */
  readonly env?: Environment;
  /** Default 5 s for an attempt, 15 s for a call with its retries. */
  readonly limits?: Partial<KekTimeLimits>;
}

/**
 * A provider over a key of a transit engine, once the key is known to exist, to be of a fit kind
 * and to bind `associated_data`. Nothing is made or changed. `kekUri` is the URI in its shortest
 * form.
 * @throws RAFTSEAL_KEK_URI, RAFTSEAL_KEK_CREDENTIALS, RAFTSEAL_KEK_MISSING, RAFTSEAL_KEK_UNFIT,
 *   RAFTSEAL_KEK_DENIED, RAFTSEAL_KEK_DISABLED, RAFTSEAL_KEK_UNAVAILABLE
 */
export async function kekFromVaultTransit({
  uri,
  env = process.env,
  limits,
}: KekFromVaultTransitOptions): Promise<KekProvider> {
  const key = parseTransitUri(uri);
  const { kekUri } = key;
  const token = await VaultToken.find(kekUri, env);
  const caPem = env.VAULT_CACERT ? await readCa(kekUri, env.VAULT_CACERT) : undefined;
  const client = new JsonClient({
    kekUri,
    address: key.address,
    caPem,
    trustAdvice: 'VAULT_CACERT names the file of a CA',
  });
  return await openRemoteKek({
    kekUri,
    service: new TransitService({ key, client, token }),
    limits,
  });
}

async function readCa(kekUri: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const found = `${path} unreadable (${codeOf(error) ?? 'an error'})`;
    throw kekCredentials(kekUri, 'the certificate of a CA in the file of VAULT_CACERT', found);
  }
}
