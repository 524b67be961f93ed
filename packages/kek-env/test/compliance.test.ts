import { randomBytes } from 'node:crypto';
import { kekProviderSuite } from '@raftseal/compliance';
import { describe, it } from 'vitest';
import { kekFromEnv } from '../src/index.ts';

const [text, otherText] = [randomBytes(32).toString('base64'), randomBytes(32).toString('hex')];

kekProviderSuite(
  { describe, it },
  {
    name: 'kek-env',
    create: async () => kekFromEnv({ name: 'KEK', env: { KEK: text } }),
    createOther: async () => kekFromEnv({ name: 'KEK', env: { KEK: otherText } }),
  },
);
