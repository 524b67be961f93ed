/** The README's example, run. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { DoesNotOpen, type KekService, openRemoteKek } from '../src/index.ts';

it('README: a provider over a service of your own', async () => {
  const held = randomBytes(32); // stands for a service; yours asks the network

  const service: KekService = {
    check: async () => undefined, // throw unless the key exists, is enabled, is fit
    wrap: (dek, { aad }, call) =>
      call.attempts(async () => {
        const nonce = randomBytes(12);
        const cipher = createCipheriv('aes-256-gcm', held, nonce).setAAD(aad);
        return Buffer.concat([nonce, cipher.update(dek), cipher.final(), cipher.getAuthTag()]);
      }),
    unwrap: (wrapped, { aad }, call) =>
      call.attempts(async () => {
        const options = { authTagLength: 16 };
        const decipher = createDecipheriv('aes-256-gcm', held, wrapped.subarray(0, 12), options);
        decipher.setAAD(aad).setAuthTag(wrapped.subarray(-16));
        const dek = decipher.update(wrapped.subarray(12, -16));
        try {
          decipher.final();
          return dek;
        } catch {
          throw new DoesNotOpen('a wrap that does not authenticate');
        }
      }),
    close: () => undefined,
  };

  const kek = await openRemoteKek({ kekUri: 'example:key-1', service });
  const binding = { clusterId: randomBytes(16), dekId: 1, purpose: 'raft' } as const;
  const wrapped = await kek.wrapKey(randomBytes(32), binding);
  const dek = await kek.unwrapKey(wrapped, binding);
  await kek.close();

  expect(dek.length).toBe(32);
});
