import { describe, expect, it } from 'vitest';
import type { AppliedEntry, KeyLifecycleEntry } from '../src/index.ts';
import {
  bootstrapEntry,
  Crash,
  type CrashPoint,
  cutoverRequest,
  Disk,
  marker,
  Process,
  registration,
  rotation,
} from './world.ts';

type Placed = readonly [shardId: number, index: bigint, entry: KeyLifecycleEntry];

/** A process that keeps a record of what it applies, as it is durable. */
async function noting(disk: Disk, records: string[]): Promise<Process> {
  const note = async ({ shardId, index, entry, outcome }: AppliedEntry): Promise<void> => {
    const end = outcome.kind === 'no-op' ? outcome.reason : outcome.kind;
    records.push(`${shardId}/${index} ${entry.kind}: ${end}`);
  };
  return Process.start(disk, { note });
}

async function life(): Promise<readonly Placed[]> {
  return [
    [0, 1n, await bootstrapEntry()],
    [0, 4n, registration('c', 2, 1)],
    [0, 5n, registration('c', 2, 1)],
    [0, 8n, cutoverRequest(2, 7)],
    [7, 30n, marker(2, 8n)],
    [0, 9n, await rotation(5, 'raft')],
  ];
}

const lines = [
  '0/1 bootstrap: applied',
  '0/4 register: applied',
  '0/5 register: already-registered',
  '0/8 enable-raft: applied',
  '7/30 enable-raft: applied',
  '0/9 rotate-dek: applied',
];

describe('whoever keeps a record of entries', () => {
  it('is told of each one once, in order, with how it ended, and of no replay', async () => {
    const disk = new Disk();
    const records: string[] = [];
    const process = await noting(disk, records);
    for (const placed of await life()) await process.apply(...placed);
    expect(records).toEqual(lines);
    for (const placed of await life()) await process.apply(...placed);
    const next = await noting(disk, records);
    for (const placed of await life()) await next.apply(...placed);
    expect(records).toEqual(lines);
  });

  it.each(['before sidecar', 'after sidecar'] as const)(
    'is never told too late: a crash %s loses no record',
    async (point: CrashPoint) => {
      const entries = await life();
      for (let at = 0; at < entries.length; at++) {
        const disk = new Disk();
        const records: string[] = [];
        const process = await noting(disk, records);
        for (const placed of entries.slice(0, at)) await process.apply(...placed);
        process.crashAt = point;
        const [shardId, index, entry] = entries[at] as Placed;
        await expect(process.apply(shardId, index, entry)).rejects.toMatchObject({
          cause: expect.any(Crash),
        });
        const next = await noting(disk, records);
        for (const placed of entries) await next.apply(...placed);
        const repeated = point === 'before sidecar' ? [lines[at]] : [];
        expect(records).toEqual([...lines.slice(0, at + 1), ...repeated, ...lines.slice(at + 1)]);
      }
    },
  );

  it('is told of nothing that was not applied: a key that does not load', async () => {
    const records: string[] = [];
    const process = await noting(new Disk(), records);
    process.crashAt = 'after load';
    await expect(process.apply(0, 1n, await bootstrapEntry())).rejects.toThrow();
    expect(records).toEqual([]);
  });
});
