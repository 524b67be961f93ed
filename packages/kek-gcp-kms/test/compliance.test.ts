import { kekProviderSuite } from '@raftseal/compliance';
import { describe, it } from 'vitest';
import { useGcpKms } from './gcp-world.ts';

const world = useGcpKms();
const limits = { attemptMs: 20_000, callMs: 25_000 };

kekProviderSuite(
  { describe, it },
  {
    name: 'kek-gcp-kms',
    create: () => world.open(world.key.name, { limits }),
    createOther: () => world.open(world.other.name, { limits }),
  },
);
