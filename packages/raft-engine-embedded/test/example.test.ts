import { expect, it } from 'vitest';
import { inspectEmbeddedLog, openEmbeddedLog } from '../src/index.ts';
import { temporaryDirectory } from './directory.ts';

it('the README example: append, read, truncate, inspect', async () => {
  const { directory, remove } = await temporaryDirectory();

  const log = await openEmbeddedLog({ directory, nodeId: 'node-1', shardIds: [0, 1] });
  const engine = log.engine(1);
  const { term, headIndex } = await engine.elect();

  const outcomes = await Promise.all([
    engine.append({ term, index: headIndex + 1n, payload: Buffer.from('first') }),
    engine.append({ term, index: headIndex + 2n, payload: Buffer.from('second') }),
  ]); // both { outcome: 'done' }: on the device, with one flush

  const read: string[] = [];
  for await (const entries of engine.read({ from: 1n, follow: false })) {
    for (const { index, payload } of entries)
      read.push(`${index} ${Buffer.from(payload).toString()}`);
  }
  await engine.truncate(1n);
  await log.close();

  const inspected: string[] = [];
  for await (const finding of inspectEmbeddedLog(directory)) {
    if (finding.kind === 'entry')
      inspected.push(`${finding.shardId} ${finding.payload.toString()}`);
  }

  expect(outcomes).toEqual([{ outcome: 'done' }, { outcome: 'done' }]);
  expect(read).toEqual(['1 first', '2 second']);
  expect(inspected).toEqual(['1 first', '1 second']);
  await remove();
});
