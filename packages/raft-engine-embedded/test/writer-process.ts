/**
 * The process that tests kill: appends to shards 0 and 1 as fast as it can and says on its standard
 * output what was acknowledged, as `<shard> <index>`, before it goes on. Arguments: directory,
 * payload length, and how many entries of each shard at most.
 */
import { writeSync } from 'node:fs';
import { codeOf } from '@raftseal/interface';
import { openEmbeddedLog } from '../src/index.ts';
import { payloadOf } from './samples.ts';

const [directory = '', byteLength = '300', entries = '1000000'] = process.argv.slice(2);

async function write(): Promise<void> {
  const segmentBytes = 64 * 1024;
  const log = await openEmbeddedLog({ directory, nodeId: 'a', shardIds: [0, 1], segmentBytes });
  say('open');
  await Promise.all(
    [0, 1].map(async (shardId) => {
      const engine = log.engine(shardId);
      const { term, headIndex } = await engine.elect();
      for (let step = 1; step <= Number(entries); step++) {
        const index = headIndex + BigInt(step);
        const payload = payloadOf(shardId, index, Number(byteLength));
        const { outcome } = await engine.append({ term, index, payload });
        if (outcome !== 'done') throw new Error(outcome);
        say(`${shardId} ${index}`);
        if (index % 500n === 0n) await engine.truncate(index - 100n);
      }
    }),
  );
  await log.close();
}

function say(line: string): void {
  writeSync(1, `${line}\n`);
}

write().catch((error: unknown) => {
  say(`failed ${codeOf(error)}`);
  process.exitCode = 3;
});
