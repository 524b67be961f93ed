/**
 * Reads entries of one shard from its segments. Entries that stand close together come with one
 * read; the CRC of each is checked again, since the disk may have changed its mind since open.
 */
import type { LogEntry } from '@raftseal/interface';
import type { RecordPlace } from './entry-index.ts';
import { corruptError } from './errors.ts';
import { intactRecordBytes, RECORD_HEADER_BYTES, readRecordFields, recordKind } from './format.ts';
import type { Segment } from './segment.ts';
import type { SegmentStore } from './segment-store.ts';
import type { ShardLog } from './shard-log.ts';

const READ_BYTES_MAX = 1024 * 1024;
/** Foreign bytes between two entries that are read over rather than seeked over. */
const GAP_BYTES_MAX = 16 * 1024;

interface Span {
  readonly segment: Segment;
  readonly first: number;
  readonly places: readonly RecordPlace[];
}

/**
 * Entries from `first` on, one at least, none above `last`; undefined where truncation took the
 * first of them meanwhile.
 * @throws RAFTSEAL_ENGINE_CORRUPT (fatal)
 */
export async function readEntries(
  store: SegmentStore,
  shard: ShardLog,
  first: number,
  last: number,
): Promise<LogEntry[] | undefined> {
  const span = spanOf(store, shard, first, last);
  if (span === undefined) return undefined;
  const start = span.places[0]?.offset ?? 0;
  const end = endOf(span.places.at(-1));
  const bytes = Buffer.allocUnsafeSlow(end - start);
  const count = await span.segment.read(bytes, start);
  return span.places.map((place, step) => {
    const index = span.first + step;
    const at = place.offset - start;
    return decodeEntry(bytes.subarray(0, count), at, {
      shard,
      segment: span.segment,
      index,
      place,
    });
  });
}

function spanOf(
  store: SegmentStore,
  shard: ShardLog,
  first: number,
  last: number,
): Span | undefined {
  const start = shard.places.get(first);
  const segment = start && store.find(start.segment);
  if (start === undefined || segment === undefined) return undefined;
  const places = [start];
  for (let index = first + 1; index <= last; index++) {
    const place = shard.places.get(index);
    if (place === undefined || place.segment !== start.segment) break;
    const gap = place.offset - endOf(places.at(-1));
    if (gap < 0 || gap > GAP_BYTES_MAX || endOf(place) - start.offset > READ_BYTES_MAX) break;
    places.push(place);
  }
  return { segment, first, places };
}

function decodeEntry(
  bytes: Buffer,
  at: number,
  wanted: { shard: ShardLog; segment: Segment; index: number; place: RecordPlace },
): LogEntry {
  const { shard, segment, index, place } = wanted;
  const end = at + place.byteLength;
  const intact =
    end <= bytes.length && intactRecordBytes(bytes, at, end, segment.seed) === place.byteLength;
  const fields = intact ? readRecordFields(bytes, at) : undefined;
  const isEntry = fields?.kind === recordKind.entry || fields?.kind === recordKind.carried;
  if (!isEntry || fields.shardId !== shard.shardId || fields.index !== index) {
    const what = `shard ${shard.shardId}: entry ${index} is not intact`;
    throw corruptError({ segment: segment.name, offset: place.offset }, what);
  }
  const payload = bytes.subarray(at + RECORD_HEADER_BYTES, end);
  return { index: BigInt(index), term: BigInt(fields.term), payload };
}

function endOf(place: RecordPlace | undefined): number {
  return place === undefined ? 0 : place.offset + place.byteLength;
}
