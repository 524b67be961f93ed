/** The README's example, run. */
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { kekInMemory } from '../src/index.ts';

it('README: wraps a DEK and unwraps it for the same binding', async () => {
  const kekBytes = randomBytes(32);
  const kek = kekInMemory({ kek: kekBytes, kekUri: 'memory:example' });
  kekBytes.fill(0);

  const binding = { clusterId: randomBytes(16), dekId: 1, purpose: 'raft' } as const;
  const dek = randomBytes(32);
  const wrapped = await kek.wrapKey(dek, binding); // 60 bytes, safe to store
  const opened = await kek.unwrapKey(wrapped, binding); // throws for any other binding
  await kek.close();

  expect(dek.equals(opened)).toBe(true);
});
