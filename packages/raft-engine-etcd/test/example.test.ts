import { expect, it } from 'vitest';
import { openEtcdLog } from '../src/index.ts';
import { useEtcd } from './cluster.ts';

const cluster = useEtcd();

it('the README example: append, read, write a document', async () => {
  const access = { endpoints: [...cluster.etcd.endpoints] };
  const log = await openEtcdLog({ access, prefix: 'demo', nodeId: 'node-1', shardIds: [0, 1] });
  const engine = log.engine(1);
  const { term, headIndex } = await engine.elect();

  const outcome = await engine.append({
    term,
    index: headIndex + 1n,
    payload: Buffer.from('first'),
  }); // { outcome: 'done' }: agreed by a majority of the members, on their disks

  const read: string[] = [];
  for await (const entries of engine.read({ from: 1n, follow: false })) {
    for (const { index, payload } of entries)
      read.push(`${index} ${Buffer.from(payload).toString()}`);
  }

  const isMade = await log.documents.write(
    [{ put: 'greeting', value: Buffer.from('hello') }],
    [{ leads: 1, term }],
  );
  await log.close();

  expect(outcome).toEqual({ outcome: 'done' });
  expect(read).toEqual(['1 first']);
  expect(isMade).toBe(true);
});
