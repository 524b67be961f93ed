import { raftEngineSuite } from '@raftseal/compliance';
import { describe, it } from 'vitest';
import { simulatedCluster } from '../src/index.ts';

for (const appendsInFlightMax of [1, 3]) {
  raftEngineSuite(
    { describe, it },
    {
      name: `simulated, ${appendsInFlightMax} in flight`,
      capabilities: { reopen: true, rival: true, truncation: 'exact' },
      create: async () => {
        const cluster = simulatedCluster({
          nodes: ['a', 'b', 'c'],
          shards: [0],
          appendsInFlightMax,
        });
        const engine = cluster.engine('a', 0);
        return {
          engine,
          reopen: async () => {
            await engine.close();
            return cluster.engine('a', 0);
          },
          rival: async () => cluster.engine('b', 0),
          dispose: () => cluster.close(),
        };
      },
    },
  );
}
