/** Puts a provider over AWS KMS together. */
import type { KekProvider } from '@raftseal/interface';
import {
  type KekTimeLimits,
  kekTimeLimits,
  openRemoteKek,
  secretEndpoint,
} from '@raftseal/kek-remote';
import { AwsKmsService } from './aws-kms-service.ts';
import { parseAwsKmsUri } from './aws-kms-uri.ts';

export interface KekFromAwsKmsOptions {
  /** `aws-kms:` and the ARN of a key, or of an alias. */
  readonly uri: string;
  /** URL of an endpoint of your own, such as a VPC endpoint; default: the region's. */
  readonly endpoint?: string;
  /** Default 5 s for an attempt, 15 s for a call with its retries. */
  readonly limits?: Partial<KekTimeLimits>;
}

/**
 * A provider over a key of AWS KMS, once `DescribeKey` has shown that it exists, is symmetric and is
 * enabled. Nothing is made or changed. Credentials come from the default chain of the AWS SDK.
 * @throws RAFTSEAL_KEK_URI, RAFTSEAL_KEK_CREDENTIALS, RAFTSEAL_KEK_MISSING, RAFTSEAL_KEK_UNFIT,
 *   RAFTSEAL_KEK_DENIED, RAFTSEAL_KEK_DISABLED, RAFTSEAL_KEK_UNAVAILABLE; TypeError for an endpoint
 *   that would show DEKs to the network
 */
export async function kekFromAwsKms({
  uri,
  endpoint,
  limits,
}: KekFromAwsKmsOptions): Promise<KekProvider> {
  const key = parseAwsKmsUri(uri);
  const { attemptMs } = kekTimeLimits(limits);
  const service = new AwsKmsService({
    key,
    endpoint: endpoint === undefined ? undefined : secretEndpoint(endpoint).href,
    attemptMs,
  });
  return await openRemoteKek({ kekUri: key.kekUri, service, limits });
}
