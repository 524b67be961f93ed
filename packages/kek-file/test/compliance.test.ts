import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kekProviderSuite } from '@raftseal/compliance';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { createKekFile, kekFromFile } from '../src/index.ts';

let directory = '';

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'raftseal-kek-'));
  await createKekFile(join(directory, 'kek'));
  await createKekFile(join(directory, 'other'));
});

afterAll(() => rm(directory, { recursive: true }));

kekProviderSuite(
  { describe, it },
  {
    name: 'kek-file',
    create: () => kekFromFile(join(directory, 'kek')),
    createOther: () => kekFromFile(join(directory, 'other')),
  },
);
