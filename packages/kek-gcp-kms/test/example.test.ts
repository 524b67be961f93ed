/** The README's example, run. */
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { kekFromGcpKms } from '../src/index.ts';
import { useGcpKms } from './gcp-world.ts';

const world = useGcpKms();

async function example(uri: string, endpoint?: string): Promise<boolean> {
  const binding = { clusterId: randomBytes(16), dekId: 1, purpose: 'raft' } as const;
  // Resolves once the key is known to be fit.
  const kek = await kekFromGcpKms({ uri, ...(endpoint !== undefined && { endpoint }) });
  try {
    const dek = randomBytes(32);
    const wrapped = await kek.wrapKey(dek, binding); // a ciphertext of Cloud KMS
    return dek.equals(await kek.unwrapKey(wrapped, binding)); // throws for any other binding
  } finally {
    await kek.close();
  }
}

it('README: wraps and unwraps with a key of Cloud KMS', async () => {
  expect(await example(`gcp-kms:${world.key.name}`, world.kms.http.origin)).toBe(true);
});
