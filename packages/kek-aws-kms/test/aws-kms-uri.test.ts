import { describe, expect, it } from 'vitest';
import { parseAwsKmsUri } from '../src/aws-kms-uri.ts';

const account = '111122223333';

describe('an aws-kms URI', () => {
  it.each([
    [
      `arn:aws:kms:eu-central-1:${account}:key/1234abcd-12ab-34cd-56ef-1234567890ab`,
      'eu-central-1',
    ],
    [`arn:aws:kms:us-east-2:${account}:key/mrk-1234abcd12ab34cd56ef1234567890ab`, 'us-east-2'],
    [`arn:aws-us-gov:kms:us-gov-west-1:${account}:alias/raftseal/prod_1`, 'us-gov-west-1'],
    [`arn:aws-cn:kms:cn-north-1:${account}:alias/raftseal`, 'cn-north-1'],
  ])('names %s', (arn, region) => {
    const kekUri = `aws-kms:${arn}`;
    expect(parseAwsKmsUri(kekUri)).toEqual({ kekUri, arn, region });
  });

  it.each([
    '',
    'aws-kms:',
    'aws-kms:1234abcd-12ab-34cd-56ef-1234567890ab',
    'aws-kms:alias/raftseal',
    `aws-kms://arn:aws:kms:eu-central-1:${account}:key/1`,
    `arn:aws:kms:eu-central-1:${account}:key/1`,
    `aws-kms:arn:aws:kms::${account}:key/1`,
    'aws-kms:arn:aws:kms:eu-central-1:1:key/1',
    `aws-kms:arn:aws:s3:eu-central-1:${account}:key/1`,
    `aws-kms:arn:aws:kms:eu-central-1:${account}:key/`,
    `aws-kms:arn:aws:kms:eu-central-1:${account}:grant/1`,
    `aws-kms:arn:aws:kms:evil.example/x:${account}:key/1`,
    `aws-kms:arn:aws:kms:eu-central-1:${account}:key/1\n`,
    `aws-kms:arn:aws:kms:eu-central-1:${account}:key/1?region=x`,
  ])('is not %j', (uri) => {
    expect(() => parseAwsKmsUri(uri)).toThrow(
      expect.objectContaining({ code: 'RAFTSEAL_KEK_URI' }),
    );
  });
});
