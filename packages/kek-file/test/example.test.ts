/** The README's example, run. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createKekFile, kekFromFile } from '../src/index.ts';

it('README: creates a KEK file and wraps a DEK with it', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'raftseal-example-'));

  await createKekFile(join(directory, 'kek')); // once, and kept safe
  const kek = await kekFromFile(join(directory, 'kek'));

  const binding = { clusterId: randomBytes(16), dekId: 1, purpose: 'raft' } as const;
  const wrapped = await kek.wrapKey(randomBytes(32), binding);
  await kek.close();

  expect(wrapped.length).toBe(60);
  await rm(directory, { recursive: true });
});
