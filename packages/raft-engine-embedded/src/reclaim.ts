/**
 * Deletes segments that nobody needs, oldest first. A segment goes once every entry in it is below
 * the first index of its shard, or stands in a later segment as well.
 *
 * A shard that is written rarely would keep an old segment, and with it all later ones, for as long
 * as it keeps a few entries. So where the oldest segment holds only a little that is still needed,
 * and the log has grown beyond a few segments, these entries are carried: appended again, as they
 * are, under their own index and term. Where nothing that was truncated may be left in a file,
 * they are carried whatever their number.
 */
import { codeOf, type LogEntry } from '@raftseal/interface';
import { readEntries } from './entry-reader.ts';
import { recordKind } from './format.ts';
import type { GroupWriter } from './group-writer.ts';
import type { Segment } from './segment.ts';
import type { SegmentStore } from './segment-store.ts';
import type { ShardLog } from './shard-log.ts';

const SEGMENTS_BEFORE_CARRYING = 4;
/** Share of a segment up to which its remaining entries are carried. */
const CARRY_SHARE_MAX = 1 / 8;

export interface ReclaimParts {
  readonly store: SegmentStore;
  readonly writer: GroupWriter;
  readonly shards: ReadonlyMap<number, ShardLog>;
  /** Segments before this one are deleted whatever has to be carried. */
  readonly before: number;
}

/** @throws what the files, the reads and the writer throw. */
export async function reclaim(parts: ReclaimParts): Promise<void> {
  const { store, writer } = parts;
  for (;;) {
    const oldest = store.segments[0];
    if (oldest === undefined || oldest === store.active) return;
    if (!(isDead(parts, oldest) || (await carry(parts, oldest)))) return;
    // The truncation that lets it go must not be taken for a torn tail after a crash.
    await writer.confirm();
    await store.removeOldest();
  }
}

function isDead({ shards }: ReclaimParts, segment: Segment): boolean {
  for (const [shardId, last] of segment.lastIndexes) {
    if (last >= (shards.get(shardId)?.firstIndex ?? 1)) return false;
  }
  return true;
}

/** Carries what is left in the oldest segment; false where that is too much, or too early. */
async function carry(parts: ReclaimParts, oldest: Segment): Promise<boolean> {
  if (oldest.sequence >= parts.before && parts.store.segments.length < SEGMENTS_BEFORE_CARRYING)
    return false;
  const left = remaining(parts, oldest);
  if (left === undefined) return false;
  for (const { shard, indexes } of left) {
    for (const index of indexes) {
      const entry = await readCarried(parts.store, shard, index);
      if (entry === 'damaged') return false;
      if (entry !== undefined) await carryEntry(parts.writer, shard, entry);
    }
    oldest.lastIndexes.delete(shard.shardId);
  }
  return true;
}

/** A damaged entry stays where it is: its reader is told, and nothing is deleted around it. */
async function readCarried(
  store: SegmentStore,
  shard: ShardLog,
  index: number,
): Promise<LogEntry | 'damaged' | undefined> {
  try {
    return (await readEntries(store, shard, index, index))?.[0];
  } catch (error) {
    if (codeOf(error) === 'RAFTSEAL_ENGINE_CORRUPT') return 'damaged';
    throw error;
  }
}

/** By shard, the entries that are needed and stand only in this segment, if they are few. */
function remaining(
  { shards, before }: ReclaimParts,
  oldest: Segment,
): { shard: ShardLog; indexes: number[] }[] | undefined {
  const left: { shard: ShardLog; indexes: number[] }[] = [];
  let byteLength = 0;
  for (const [shardId, last] of oldest.lastIndexes) {
    const shard = shards.get(shardId);
    if (shard === undefined) continue;
    const indexes: number[] = [];
    for (let index = shard.firstIndex; index <= last; index++) {
      const place = shard.places.get(index);
      if (place?.segment !== oldest.sequence) continue;
      byteLength += place.byteLength;
      const isLittle = byteLength <= oldest.byteLength * CARRY_SHARE_MAX;
      if (!isLittle && oldest.sequence >= before) return undefined;
      indexes.push(index);
    }
    left.push({ shard, indexes });
  }
  return left;
}

async function carryEntry(writer: GroupWriter, shard: ShardLog, entry: LogEntry): Promise<void> {
  const index = Number(entry.index);
  await new Promise<void>((resolve, reject) => {
    writer.enqueue({
      kind: recordKind.carried,
      shardId: shard.shardId,
      index,
      term: Number(entry.term),
      payload: entry.payload,
      onFlushed: (segment, offset, byteLength) => {
        if (index >= shard.firstIndex) {
          shard.places.set(index, segment.sequence, offset, byteLength);
          segment.noteEntry(shard.shardId, index);
        }
        resolve();
      },
      onFailed: reject,
    });
  });
}
