import { kekProviderSuite } from '@raftseal/compliance';
import { describe, it } from 'vitest';
import { openRemoteKek } from '../src/index.ts';
import { memoryService } from './memory-service.ts';

const open = (which: 'one' | 'other') =>
  openRemoteKek({ kekUri: `memory:${which}`, service: memoryService(undefined, which) });

kekProviderSuite(
  { describe, it },
  { name: 'kek-remote', create: () => open('one'), createOther: () => open('other') },
);
