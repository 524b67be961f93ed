import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { inspectEmbeddedLog } from '../src/index.ts';
import { MemoryDisk } from './memory-disk.ts';
import { directory, openOn, payloadOf, readAll } from './samples.ts';

/**
 * A segment as format 1 wrote it: shard 0 with entries 1 to 3 of term 1, truncated through 1; shard
 * 1 with entry 1 of term 2 and 700 bytes. The file is never edited.
 */
async function fixture(): Promise<MemoryDisk> {
  const name = '0000000000000001.seg';
  const bytes = await readFile(new URL(`fixtures/format-1/${name}`, import.meta.url));
  return new MemoryDisk(new Map([[`${directory}/${name}`, bytes]]));
}

it('a log of format 1 opens with every entry, term and bound that it was written with', async () => {
  const log = await openOn(await fixture());
  expect(await log.engine(0).bounds()).toEqual({ firstIndex: 2n, headIndex: 3n });
  expect(await log.engine(1).bounds()).toEqual({ firstIndex: 1n, headIndex: 1n });
  const entries = [...(await readAll(log.engine(0))), ...(await readAll(log.engine(1)))];
  expect(entries.map(({ index, term }) => [index, term])).toEqual([
    [2n, 1n],
    [3n, 1n],
    [1n, 2n],
  ]);
  const wanted = [payloadOf(0, 2n), payloadOf(0, 3n), payloadOf(1, 1n, 700)];
  for (const [place, payload] of wanted.entries()) {
    expect(payload.equals(entries[place]?.payload ?? Buffer.alloc(0))).toBe(true);
  }
  expect((await log.engine(1).elect()).term).toBe(3n);
  await log.close();
});

it('a log of format 1 is inspected record by record', async () => {
  const kinds: string[] = [];
  for await (const finding of inspectEmbeddedLog(directory, await fixture())) {
    kinds.push(
      finding.kind === 'entry' ? `entry ${finding.shardId}/${finding.index}` : finding.kind,
    );
  }
  expect(kinds).toEqual([
    'segment',
    'checkpoint',
    'checkpoint',
    'term',
    'entry 0/1',
    'entry 0/2',
    'entry 0/3',
    'truncation',
    'term',
    'term',
    'entry 1/1',
  ]);
});
