/** Puts a provider over Cloud KMS together. */
import type { KekProvider } from '@raftseal/interface';
import {
  JsonClient,
  type KekTimeLimits,
  openRemoteKek,
  secretEndpoint,
} from '@raftseal/kek-remote';
import { AccessToken } from './access-token.ts';
import { GcpKmsService } from './gcp-kms-service.ts';
import { parseGcpKmsUri } from './gcp-kms-uri.ts';

const ENDPOINT = 'https://cloudkms.googleapis.com';

export interface KekFromGcpKmsOptions {
  /** `gcp-kms:projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>`. */
  readonly uri: string;
  /** URL of an endpoint of your own, such as one of Private Service Connect. */
  readonly endpoint?: string;
  /** Default 5 s for an attempt, 15 s for a call with its retries. */
  readonly limits?: Partial<KekTimeLimits>;
}

/**
 * A provider over a key of Cloud KMS, once the service has shown that it exists, encrypts and
 * decrypts, and has an enabled primary version. Nothing is made or changed. Credentials are
 * Application Default Credentials.
 * @throws RAFTSEAL_KEK_URI, RAFTSEAL_KEK_CREDENTIALS, RAFTSEAL_KEK_MISSING, RAFTSEAL_KEK_UNFIT,
 *   RAFTSEAL_KEK_DENIED, RAFTSEAL_KEK_DISABLED, RAFTSEAL_KEK_UNAVAILABLE; TypeError for an endpoint
 *   that would show DEKs to the network
 */
export async function kekFromGcpKms({
  uri,
  endpoint = ENDPOINT,
  limits,
}: KekFromGcpKmsOptions): Promise<KekProvider> {
  const key = parseGcpKmsUri(uri);
  const { kekUri } = key;
  const client = new JsonClient({
    kekUri,
    address: secretEndpoint(endpoint),
    trustAdvice: 'NODE_EXTRA_CA_CERTS names the file of a further CA',
  });
  const service = new GcpKmsService({ key, client, token: new AccessToken(key) });
  return await openRemoteKek({ kekUri, service, limits });
}
