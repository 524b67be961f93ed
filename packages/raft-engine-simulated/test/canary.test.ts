/** The compliance suite itself must notice an engine that is broken on purpose. */
import { raftEngineSuite } from '@raftseal/compliance';
import { describe, expect, it } from 'vitest';
import { type PlantedFault, simulatedCluster } from '../src/index.ts';

describe('the compliance suite catches', () => {
  const caught: [PlantedFault, string][] = [
    ['misreportHead', 'a second node is elected only after the first resigned'],
    ['ignoreExpectedIndex', 'an append at another index than head + 1 is fenced'],
    ['ignoreTerm', 'an append of a leader that resigned is fenced'],
  ];
  for (const [fault, scenario] of caught) {
    it(`${fault}, by "${scenario}"`, async () => {
      expect(await failures([fault])).toContain(scenario);
    });
  }

  it('nothing where nothing is planted', async () => {
    expect(await failures([])).toEqual([]);
  });
});

/** Runs the suite over a cluster with planted faults; the names of the scenarios that failed. */
async function failures(plantedFaults: readonly PlantedFault[]): Promise<string[]> {
  const scenarios: [string, () => void | Promise<void>][] = [];
  raftEngineSuite(
    { describe: (_name, body) => body(), it: (name, body) => scenarios.push([name, body]) },
    {
      name: 'broken',
      capabilities: { reopen: false, rival: true, truncation: 'exact' },
      create: async () => {
        const cluster = simulatedCluster({ nodes: ['a', 'b'], shards: [0], plantedFaults });
        return { engine: cluster.engine('a', 0), rival: async () => cluster.engine('b', 0) };
      },
    },
  );
  const failed: string[] = [];
  for (const [name, body] of scenarios) {
    await Promise.resolve(body()).catch(() => failed.push(name));
  }
  return failed;
}
