/** The README's example, run. */
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { expect, it } from 'vitest';
import { kekFromVaultTransit } from '../src/index.ts';
import { useVault } from './vault-world.ts';

const world = useVault();

async function example(uri: string): Promise<boolean> {
  const binding = { clusterId: randomBytes(16), dekId: 1, purpose: 'raft' } as const;
  const kek = await kekFromVaultTransit({ uri }); // resolves once the key is known to be fit
  try {
    const dek = randomBytes(32);
    const wrapped = await kek.wrapKey(dek, binding); // vault:v1:...
    return dek.equals(await kek.unwrapKey(wrapped, binding)); // throws for any other binding
  } finally {
    await kek.close();
  }
}

it('README: wraps and unwraps with a transit key', async () => {
  process.env.VAULT_TOKEN = world.vault.token;
  expect(await example(world.uri())).toBe(true);
});

it('README: says that there is no token', async () => {
  delete process.env.VAULT_TOKEN;
  process.env.HOME = tmpdir();
  await expect(example(world.uri())).rejects.toMatchObject({ code: 'RAFTSEAL_KEK_CREDENTIALS' });
});
