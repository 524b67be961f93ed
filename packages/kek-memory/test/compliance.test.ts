import { randomBytes } from 'node:crypto';
import { kekProviderSuite } from '@raftseal/compliance';
import { describe, it } from 'vitest';
import { kekInMemory } from '../src/index.ts';

const [kek, otherKek] = [randomBytes(32), randomBytes(32)];

kekProviderSuite(
  { describe, it },
  {
    name: 'kek-memory',
    create: async () => kekInMemory({ kek, kekUri: 'memory:one' }),
    createOther: async () => kekInMemory({ kek: otherKek, kekUri: 'memory:other' }),
  },
);
