import { describe, expect, it } from 'vitest';
import { inspectEmbeddedLog, type LogFinding } from '../src/index.ts';
import { MemoryDisk } from './memory-disk.ts';
import { appendMany, directory, openOn } from './samples.ts';

interface Appends {
  readonly before: number;
  /** After each of the first findings of this kind. */
  readonly at: LogFinding['kind'];
  readonly times: number;
  readonly count: number;
}

/** Inspects a log of one shard that a process goes on writing to while it is inspected. */
async function inspectWhileWritten({ before, at, times, count }: Appends): Promise<{
  readonly indexes: bigint[];
  readonly others: Set<LogFinding['kind']>;
}> {
  const disk = new MemoryDisk();
  const log = await openOn(disk);
  const engine = log.engine(0);
  const leadership = await engine.elect();
  await appendMany(engine, 0, leadership, before);
  const indexes: bigint[] = [];
  const others = new Set<LogFinding['kind']>();
  let time = 0;
  for await (const finding of inspectEmbeddedLog(directory, disk)) {
    if (finding.kind === 'entry') indexes.push(finding.index);
    else others.add(finding.kind);
    if (finding.kind !== at || time === times) continue;
    time += 1;
    await appendMany(engine, 0, leadership, count);
  }
  await log.close();
  return { indexes, others };
}

const isDense = (indexes: readonly bigint[]): boolean =>
  indexes.every((index, at) => index === BigInt(at + 1));

describe('the inspection of a log that a process writes to', () => {
  it('finds no damage where groups are written behind what was looked at', async () => {
    const appends = { before: 3, at: 'entry', times: 3, count: 2 } as const;
    const { indexes, others } = await inspectWhileWritten(appends);
    expect(isDense(indexes)).toBe(true);
    expect(indexes.length).toBeGreaterThan(3);
    expect(others).not.toContain('damage');
  });

  it('finds no damage where the log goes on in another segment meanwhile', async () => {
    for (let count = 1; count <= 60; count++) {
      const appends = { before: 110, at: 'segment', times: 2, count } as const;
      const { indexes, others } = await inspectWhileWritten(appends);
      expect(isDense(indexes), `${count} entries at a time`).toBe(true);
      expect(others).toContain('segment');
      expect(others).not.toContain('damage');
    }
  });
});
