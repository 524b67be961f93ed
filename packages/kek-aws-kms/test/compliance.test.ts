import { kekProviderSuite } from '@raftseal/compliance';
import { describe, it } from 'vitest';
import { useAwsKms } from './aws-world.ts';

const world = useAwsKms();
const limits = { attemptMs: 20_000, callMs: 25_000 };

kekProviderSuite(
  { describe, it },
  {
    name: 'kek-aws-kms',
    create: () => world.open(world.key.arn, { limits }),
    createOther: () => world.open(world.other.arn, { limits }),
  },
);
