/** An AWS KMS on a loopback port with two keys, and providers over it. */
import type { KekProvider } from '@raftseal/interface';
import { type AwsKey, type AwsKms, startAwsKms } from '@raftseal/kek-services-for-tests';
import { afterAll, beforeAll } from 'vitest';
import { type KekFromAwsKmsOptions, kekFromAwsKms } from '../src/index.ts';

const limits = { attemptMs: 3_000, callMs: 25_000 };

/** For what never gets well, so that it ends soon. */
export const briefLimits = { attemptMs: 900, callMs: 1_000 };

export interface AwsWorld {
  readonly kms: AwsKms;
  readonly key: AwsKey;
  readonly other: AwsKey;
  /** @param arn of a key or an alias; default: the first key's. */
  open(arn?: string, options?: Partial<KekFromAwsKmsOptions>): Promise<KekProvider>;
}

/**
 * The world is there while the tests of the calling file run, and its credentials are in the
 * environment, where the SDK's own chain looks for them.
 */
export function useAwsKms(): AwsWorld {
  let started: { kms: AwsKms; key: AwsKey; other: AwsKey } | undefined;
  const running = () => {
    if (started === undefined) throw new Error('the KMS runs inside of tests only');
    return started;
  };
  beforeAll(async () => {
    const kms = await startAwsKms();
    started = { kms, key: kms.createKey(), other: kms.createKey() };
    process.env.AWS_ACCESS_KEY_ID = kms.credentials.accessKeyId;
    process.env.AWS_SECRET_ACCESS_KEY = kms.credentials.secretAccessKey;
    // No search for credentials on a machine of EC2, nor in this user's files.
    process.env.AWS_EC2_METADATA_DISABLED = 'true';
    process.env.AWS_SHARED_CREDENTIALS_FILE = '/dev/null';
    process.env.AWS_CONFIG_FILE = '/dev/null';
  });
  afterAll(() => started?.kms.http.close());
  return {
    get kms() {
      return running().kms;
    },
    get key() {
      return running().key;
    },
    get other() {
      return running().other;
    },
    open: (arn = running().key.arn, options = {}) =>
      kekFromAwsKms({
        uri: `aws-kms:${arn}`,
        endpoint: running().kms.http.origin,
        limits,
        ...options,
      }),
  };
}
