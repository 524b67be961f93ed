/**
 * Opens the directory of a log: reads every segment, rebuilds the state of the shards, and finds
 * the tail.
 *
 * Group k + 1 is only written after group k was flushed. So bytes that are no intact group are
 * - a torn tail, if no later group stands anywhere: a write that nobody was told of, or an
 *   unconfirmed one; they are overwritten with zeros before the log is used;
 * - damage, if a later group does stand: the log is not opened.
 */
import { join } from 'node:path';
import { assert, RaftsealError } from '@raftseal/interface';
import { describeMissing } from './damage.ts';
import { corruptError } from './errors.ts';
import {
  RECORD_HEADER_BYTES,
  type RecordFields,
  readUint64,
  recordKind,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  segmentSeed,
} from './format.ts';
import { type LogFile, type LogFiles, readFully, writeAllFlushed } from './log-files.ts';
import { Segment, segmentName } from './segment.ts';
import { listSegments, readSegmentHeader } from './segment-header.ts';
import { examineRest, type ScannedGroup, SegmentScanner, visitRecords } from './segment-scan.ts';
import { ShardLog } from './shard-log.ts';

export interface RecoveredLog {
  /** Undefined where the directory holds no log yet. */
  readonly logId: Buffer | undefined;
  /** Active segment last. */
  readonly segments: Segment[];
  readonly spare: Segment | undefined;
  readonly shards: Map<number, ShardLog>;
  /** Sequence of the next group. */
  readonly nextSequence: number;
  /** The last group holds no records. */
  readonly confirmed: boolean;
  /** Bytes of a torn tail that were cut off. */
  readonly tornBytes: number;
}

interface SegmentFile {
  readonly name: string;
  readonly header: SegmentHeader;
  readonly seed: number;
  readonly file: LogFile;
  readonly byteLength: number;
  readonly segment: Segment;
}

/**
 * @throws RAFTSEAL_ENGINE_CORRUPT (fatal), RAFTSEAL_ENGINE_FORMAT, and what the files throw. All
 *   files are closed then.
 */
export async function recover(files: LogFiles, directory: string): Promise<RecoveredLog> {
  const opened: LogFile[] = [];
  try {
    return await new Recovery(files, directory, opened).run();
  } catch (error) {
    await Promise.all(opened.map((file) => file.close()));
    throw error;
  }
}

class Recovery {
  readonly #files: LogFiles;
  readonly #directory: string;
  readonly #opened: LogFile[];
  readonly #shards: Map<number, ShardLog> = new Map();
  #nextSequence = 1;
  #confirmed = true;
  #lastGroupOffset = SEGMENT_HEADER_BYTES;

  constructor(files: LogFiles, directory: string, opened: LogFile[]) {
    this.#files = files;
    this.#directory = directory;
    this.#opened = opened;
  }

  async run(): Promise<RecoveredLog> {
    await this.#removeUnfinished();
    const found = await this.#openAll();
    let active = -1;
    for (const [place, source] of found.entries()) {
      if (await this.#readSegment(source, found[place - 1])) active = place;
    }
    const tornBytes = await this.#cutTail(found, active);
    this.#assertComplete(found, active);
    await this.#rewriteLastGroup(found[active]);
    const segments = found.map(({ segment }) => segment);
    return {
      logId: found[0]?.header.logId,
      segments: segments.slice(0, active + 1),
      spare: segments[active + 1],
      shards: this.#shards,
      nextSequence: this.#nextSequence,
      confirmed: active >= 0 && this.#confirmed,
      tornBytes,
    };
  }

  /** Removes segment files whose making was cut short; no data is in them. */
  async #removeUnfinished(): Promise<void> {
    for (const name of await this.#files.list(this.#directory)) {
      if (!name.endsWith('.seg.new')) continue;
      await this.#files.remove(join(this.#directory, name));
    }
  }

  async #openAll(): Promise<SegmentFile[]> {
    const found: SegmentFile[] = [];
    for (const sequence of await listSegments(this.#files, this.#directory)) {
      const name = segmentName(sequence);
      const file = await this.#files.open(join(this.#directory, name), 'durable');
      this.#opened.push(file);
      const header = await readSegmentHeader(file, sequence);
      if ('wrong' in header) {
        throw corruptError({ segment: name, offset: header.offset }, header.wrong);
      }
      const first = found[0]?.header;
      if (first !== undefined && !first.logId.equals(header.logId)) {
        throw corruptError({ segment: name, offset: 20 }, 'it belongs to another log');
      }
      if (first !== undefined && sequence !== first.sequence + found.length) {
        const missing = segmentName(first.sequence + found.length);
        throw corruptError({ segment: missing, offset: 0 }, 'the file is missing');
      }
      const byteLength = await file.byteLength();
      found.push({
        name,
        header,
        seed: segmentSeed(header),
        file,
        byteLength,
        segment: new Segment(header, file, byteLength, SEGMENT_HEADER_BYTES),
      });
    }
    return found;
  }

  /** Takes in every intact group; false where there is none. */
  async #readSegment(source: SegmentFile, before: SegmentFile | undefined): Promise<boolean> {
    const { file, byteLength, seed, segment } = source;
    const scanner = new SegmentScanner(file, { fileBytes: byteLength, seed });
    let any = false;
    for (;;) {
      const group = await scanner.next();
      if (group === undefined) break;
      const oldest = before === undefined && source.header.sequence > 1;
      if (oldest && !any) this.#nextSequence = group.sequence;
      if (group.sequence !== this.#nextSequence) {
        const at = any || before === undefined ? source : before;
        const what = `group ${this.#nextSequence} is not intact, but ${group.sequence} stands`;
        throw await this.#damage(at, any ? group.offset : at.segment.tail, what);
      }
      any = true;
      this.#takeGroup(source, group, before === undefined);
      this.#nextSequence = group.sequence + 1;
      this.#confirmed = group.recordCount === 0;
      this.#lastGroupOffset = group.offset;
    }
    segment.tail = scanner.offset;
    return any;
  }

  #takeGroup(source: SegmentFile, group: ScannedGroup, oldest: boolean): void {
    const known = visitRecords(group, (record, offset, byteLength, payloadStart) => {
      const wrong = this.#takeRecord(
        source.segment,
        record,
        offset,
        byteLength,
        () =>
          byteLength === RECORD_HEADER_BYTES + 8
            ? readUint64(group.bytes, payloadStart)
            : Number.NaN,
        oldest,
      );
      if (wrong === undefined) return;
      const what = `shard ${record.shardId}: ${wrong}`;
      throw corruptError({ segment: source.name, offset }, what);
    });
    if (known) return;
    throw new RaftsealError(
      'RAFTSEAL_ENGINE_FORMAT',
      `segment ${source.name} holds a record of an unknown kind near offset ${group.offset}: ` +
        'open the log with the version that wrote it',
    );
  }

  /** Takes one record in; says what is wrong where it does not follow from what came before. */
  #takeRecord(
    segment: Segment,
    record: RecordFields,
    offset: number,
    byteLength: number,
    firstIndexOf: () => number,
    oldest: boolean,
  ): string | undefined {
    const { kind, shardId, index, term } = record;
    let shard = this.#shards.get(shardId);
    const isNew = shard === undefined;
    if (shard === undefined) {
      shard = new ShardLog(shardId);
      this.#shards.set(shardId, shard);
    }
    const place = { segment: segment.sequence, offset, byteLength };
    switch (kind) {
      case recordKind.entry:
        if (index !== shard.headIndex + 1) return `entry ${index} follows ${shard.headIndex}`;
        if (term !== shard.term) return `entry ${index} of term ${term} in term ${shard.term}`;
        shard.noteAppended(index, place);
        segment.noteEntry(shardId, index);
        return undefined;
      case recordKind.term:
        if (term <= shard.term) return `term ${term} follows term ${shard.term}`;
        shard.term = term;
        return undefined;
      case recordKind.truncation:
        if (index > shard.headIndex) return `truncation at ${index} above ${shard.headIndex}`;
        shard.noteTruncated(index);
        return undefined;
      case recordKind.carried:
        if (index > shard.headIndex) return `entry ${index} carried above ${shard.headIndex}`;
        if (index < shard.firstIndex) return undefined;
        shard.places.set(index, place.segment, offset, byteLength);
        segment.noteEntry(shardId, index);
        return undefined;
      case recordKind.checkpoint: {
        const first = firstIndexOf();
        if (isNew && oldest) {
          Object.assign(shard, { firstIndex: first, headIndex: index, term });
          return first <= index + 1 ? undefined : `first index ${first} above head ${index}`;
        }
        const same = shard.firstIndex === first && shard.headIndex === index && shard.term === term;
        if (same) return undefined;
        return (
          `its segment began with entries ${first}..${index} in term ${term}, but ` +
          `${shard.firstIndex}..${shard.headIndex} in term ${shard.term} stand before it`
        );
      }
    }
  }

  /**
   * Judges what follows the last intact group, and overwrites it with zeros if it is a torn tail.
   * @returns how many bytes were overwritten.
   */
  async #cutTail(found: readonly SegmentFile[], active: number): Promise<number> {
    let tornBytes = 0;
    const sequence = this.#nextSequence;
    const rests = found.slice(Math.max(active, 0));
    const judged: { source: SegmentFile; end: number }[] = [];
    for (const source of rests) {
      const { file, seed, byteLength, segment } = source;
      const from = segment.tail;
      const rest = await examineRest(file, { fileBytes: byteLength, seed, from, sequence });
      if (rest.laterGroup !== undefined) {
        const what = `group ${sequence} is not intact, but group ${rest.laterGroup.sequence} stands`;
        throw await this.#damage(source, from, what);
      }
      judged.push({ source, end: rest.end });
    }
    for (const { source, end } of judged) {
      const from = source.segment.tail;
      if (end > from) await overwriteWithZeros(source.file, from, end);
      tornBytes += end - from;
    }
    if (tornBytes > 0) this.#confirmed = false;
    await this.#removeSpares(found, active);
    return tornBytes;
  }

  /** More than one empty segment cannot come from this program; the further ones go. */
  async #removeSpares(found: readonly SegmentFile[], active: number): Promise<void> {
    for (const { name, segment } of found.slice(active + 2)) {
      await segment.drop();
      await this.#files.remove(join(this.#directory, name));
    }
  }

  /** Every entry from a shard's first index to its head must have its place. */
  #assertComplete(found: readonly SegmentFile[], active: number): void {
    const [oldest] = found;
    if (oldest !== undefined && active < 0 && oldest.header.sequence > 1) {
      const what = 'it is the oldest segment left, and its first group is not intact';
      throw corruptError({ segment: oldest.name, offset: SEGMENT_HEADER_BYTES }, what);
    }
    for (const shard of this.#shards.values()) {
      const missing = shard.places.firstMissing(shard.firstIndex, shard.headIndex);
      if (missing === undefined) continue;
      assert(oldest !== undefined, 'entries come from a segment');
      const what =
        `shard ${shard.shardId} lacks entry ${missing} of ${shard.firstIndex}..${shard.headIndex}: ` +
        'a segment file before this one is missing';
      throw corruptError({ segment: oldest.name, offset: 0 }, what);
    }
  }

  /**
   * Writes an unconfirmed last group again, where it stands. The process that wrote it may have
   * been killed before the flush, or the flush may have failed: then the page cache has bytes that
   * the device lacks, and a flush alone would find nothing to do.
   */
  async #rewriteLastGroup(active: SegmentFile | undefined): Promise<void> {
    if (active === undefined || this.#confirmed) return;
    const { file, segment } = active;
    const bytes = Buffer.allocUnsafe(segment.tail - this.#lastGroupOffset);
    const count = await readFully(file, bytes, this.#lastGroupOffset);
    assert(count === bytes.length, 'the last group stands before the tail');
    await writeAllFlushed(file, [bytes], this.#lastGroupOffset);
  }

  async #damage(source: SegmentFile, offset: number, what: string): Promise<RaftsealError> {
    const missing = await describeMissing(this.#files, this.#directory);
    return corruptError({ segment: source.name, offset }, `${what}; ${missing}`);
  }
}

async function overwriteWithZeros(file: LogFile, from: number, end: number): Promise<void> {
  const zeros = Buffer.alloc(Math.min(1024 * 1024, end - from));
  for (let at = from; at < end; at += zeros.length) {
    await writeAllFlushed(file, [zeros.subarray(0, end - at)], at);
  }
}
