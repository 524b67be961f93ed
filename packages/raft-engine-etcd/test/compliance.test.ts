import { raftEngineSuite } from '@raftseal/compliance';
import { describe, it } from 'vitest';
import { openEtcdLog } from '../src/index.ts';
import { useEtcd } from './cluster.ts';

const cluster = useEtcd();
let prefixes = 0;

raftEngineSuite(
  { describe, it },
  {
    name: 'etcd',
    capabilities: { reopen: true, rival: true, truncation: 'exact' },
    create: async () => {
      prefixes += 1;
      const prefix = `compliance/${prefixes}`;
      const access = { endpoints: cluster.etcd.endpoints };
      const open = (nodeId: string) => openEtcdLog({ access, prefix, nodeId, shardIds: [0, 7] });
      let log = await open('a');
      const logs = [log];
      return {
        engine: log.engine(7),
        reopen: async () => {
          await log.close();
          log = await open('a');
          logs.push(log);
          return log.engine(7);
        },
        rival: async () => {
          const rival = await open('b');
          logs.push(rival);
          return rival.engine(7);
        },
        dispose: async () => {
          await Promise.all(logs.map((each) => each.close()));
        },
      };
    },
  },
);
