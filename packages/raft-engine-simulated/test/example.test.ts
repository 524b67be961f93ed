import { expect, it } from 'vitest';
import { simulatedCluster } from '../src/index.ts';

it('the README example: a deposed leader that does not know it is fenced', async () => {
  const cluster = simulatedCluster({ seed: 42, nodes: ['a', 'b'], shards: [0] });
  const a = cluster.engine('a', 0);
  const b = cluster.engine('b', 0);

  const former = await a.elect();
  await a.append({ term: former.term, index: 1n, payload: Buffer.from('one') });

  cluster.pause('a'); // it will not notice what follows
  const candidacy = b.elect();
  cluster.elect({ nodeId: 'b', shardId: 0 });
  const leader = await candidacy; // { term: 2n, headIndex: 1n, ... }

  const late = await a.append({ term: former.term, index: 2n, payload: Buffer.from('late') });
  // late.outcome === 'fenced', former.signal.aborted === false

  cluster.resume('a'); // former.signal.aborted === true

  expect(leader).toMatchObject({ term: 2n, headIndex: 1n });
  expect(late.outcome).toBe('fenced');
  expect(former.signal.aborted).toBe(true);
  await cluster.close();
});
