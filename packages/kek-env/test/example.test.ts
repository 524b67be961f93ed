/** The README's example, run. */
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { kekFromEnv } from '../src/index.ts';

it('README: takes the KEK out of the environment', async () => {
  process.env.RAFTSEAL_KEK = randomBytes(32).toString('base64'); // the operator's part

  const kek = kekFromEnv({ name: 'RAFTSEAL_KEK' });
  console.assert(process.env.RAFTSEAL_KEK === undefined);

  const binding = { clusterId: randomBytes(16), dekId: 1, purpose: 'raft' } as const;
  const wrapped = await kek.wrapKey(randomBytes(32), binding);
  await kek.close();

  expect(process.env.RAFTSEAL_KEK).toBeUndefined();
  expect(wrapped.length).toBe(60);
});
