/** The README's example, run. */
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { kekFromAwsKms } from '../src/index.ts';
import { useAwsKms } from './aws-world.ts';

const world = useAwsKms();

async function example(uri: string): Promise<boolean> {
  const binding = { clusterId: randomBytes(16), dekId: 1, purpose: 'raft' } as const;
  const kek = await kekFromAwsKms({ uri }); // resolves once the key is known to be fit
  try {
    const dek = randomBytes(32);
    const wrapped = await kek.wrapKey(dek, binding); // a ciphertext blob of KMS
    return dek.equals(await kek.unwrapKey(wrapped, binding)); // throws for any other binding
  } finally {
    await kek.close();
  }
}

it('README: wraps and unwraps with a key of KMS', async () => {
  process.env.AWS_ENDPOINT_URL_KMS = world.kms.http.origin;
  expect(await example(`aws-kms:${world.key.arn}`)).toBe(true);
});
