import { raftEngineSuite } from '@raftseal/compliance';
import { describe, it } from 'vitest';
import { openEmbeddedLog } from '../src/index.ts';
import { temporaryDirectory } from './directory.ts';

raftEngineSuite(
  { describe, it },
  {
    name: 'embedded',
    capabilities: { reopen: true, rival: false, truncation: 'exact' },
    create: async () => {
      const { directory, remove } = await temporaryDirectory();
      const open = () =>
        openEmbeddedLog({ directory, nodeId: 'a', shardIds: [0, 7], segmentBytes: 32 * 1024 });
      let log = await open();
      return {
        engine: log.engine(7),
        reopen: async () => {
          await log.close();
          log = await open();
          return log.engine(7);
        },
        dispose: async () => {
          await log.close();
          await remove();
        },
      };
    },
  },
);
