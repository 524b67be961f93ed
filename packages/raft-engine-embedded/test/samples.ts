/** What several tests of this package do with a log. */
import type { Leadership, LogEntry, RaftEngine } from '@raftseal/interface';
import { type EmbeddedLog, type EmbeddedLogOptions, openEmbeddedLog } from '../src/index.ts';
import type { MemoryDisk } from './memory-disk.ts';

export const directory = '/log';
export const segmentBytes: number = 16 * 1024;

/** Opens a log of shards 0 and 1 in small segments on a memory disk. */
export function openOn(
  files: MemoryDisk,
  options: Partial<EmbeddedLogOptions> = {},
): Promise<EmbeddedLog> {
  return openEmbeddedLog({
    directory,
    nodeId: 'a',
    shardIds: [0, 1],
    segmentBytes,
    files,
    ...options,
  });
}

/** Bytes that only this entry of this shard has, and that no sector-sized run of zeros is in. */
export function payloadOf(shardId: number, index: bigint, byteLength = 40): Buffer {
  const payload = Buffer.alloc(byteLength, `shard ${shardId} entry ${index} `);
  return payload;
}

export async function readAll(engine: RaftEngine, from?: bigint): Promise<LogEntry[]> {
  const start = from ?? (await engine.bounds()).firstIndex;
  const entries: LogEntry[] = [];
  for await (const chunk of engine.read({ from: start, follow: false })) entries.push(...chunk);
  return entries;
}

/** Appends the next `count` entries of a shard. */
export async function appendMany(
  engine: RaftEngine,
  shardId: number,
  leadership: Leadership,
  count: number,
  byteLength?: number,
): Promise<void> {
  const { headIndex } = await engine.bounds();
  for (let step = 1; step <= count; step++) {
    const index = headIndex + BigInt(step);
    const payload = payloadOf(shardId, index, byteLength);
    const { outcome } = await engine.append({ term: leadership.term, index, payload });
    if (outcome !== 'done') throw new Error(`append ${index} of shard ${shardId}: ${outcome}`);
  }
}
