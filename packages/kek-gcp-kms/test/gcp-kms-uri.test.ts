import { describe, expect, it } from 'vitest';
import { parseGcpKmsUri } from '../src/gcp-kms-uri.ts';

const ring = 'projects/example/locations/europe-west3/keyRings/ring_1';

describe('a gcp-kms URI', () => {
  it.each([
    [`${ring}/cryptoKeys/kek-1`, 'example'],
    ['projects/example.com:prod/locations/global/keyRings/r/cryptoKeys/k', 'example.com:prod'],
  ])('names %s', (name, project) => {
    const kekUri = `gcp-kms:${name}`;
    expect(parseGcpKmsUri(kekUri)).toEqual({ kekUri, name, project });
  });

  it.each([
    '',
    'gcp-kms:',
    `gcp-kms:/${ring}/cryptoKeys/k`,
    `gcp-kms://${ring}/cryptoKeys/k`,
    `gcp-kms:${ring}`,
    `gcp-kms:${ring}/cryptoKeys/`,
    `gcp-kms:${ring}/cryptoKeys/k/cryptoKeyVersions/1`,
    `gcp-kms:${ring}/cryptoKeys/k:decrypt`,
    `gcp-kms:${ring}/cryptoKeys/k?x=1`,
    `gcp-kms:${ring}/cryptoKeys/k\n`,
    `gcp-kms:${ring}/../../cryptoKeys/k`,
    `${ring}/cryptoKeys/k`,
  ])('is not %j', (uri) => {
    expect(() => parseGcpKmsUri(uri)).toThrow(
      expect.objectContaining({ code: 'RAFTSEAL_KEK_URI' }),
    );
  });
});
