/**
 * `aws-kms:` and the ARN of a key or of an alias, such as
 * `aws-kms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab`. The
 * region is the ARN's: no part of the name comes from the environment, where nodes may differ.
 */
import { kekUriMalformed } from '@raftseal/kek-remote';

const FORM = 'aws-kms:arn:aws:kms:<region>:<account>:key/<id> or ...:alias/<name>';

const ARN =
  /^arn:aws[a-z-]*:kms:([a-z0-9-]{1,63}):\d{12}:(?:key\/[\w-]{1,128}|alias\/[\w/-]{1,250})$/;

export interface AwsKeyName {
  readonly kekUri: string;
  readonly arn: string;
  readonly region: string;
}

/** @throws RAFTSEAL_KEK_URI */
export function parseAwsKmsUri(uri: string): AwsKeyName {
  const arn = uri.startsWith('aws-kms:') ? uri.slice('aws-kms:'.length) : '';
  const [, region] = ARN.exec(arn) ?? [];
  if (region === undefined) throw kekUriMalformed(uri, FORM, 'no whole ARN of a KMS key or alias');
  return { kekUri: uri, arn, region };
}
