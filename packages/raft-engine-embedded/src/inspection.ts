/**
 * Reads a log directory without changing it: every entry that is intact, and every range of bytes
 * that is not. Works on a damaged log, and on one that a process has open (whose newest group may
 * then look torn).
 */
import { join } from 'node:path';
import {
  RECORD_HEADER_BYTES,
  type RecordFields,
  readUint64,
  recordKind,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  segmentSeed,
} from './format.ts';
import { type LogFile, type LogFiles, nodeLogFiles } from './log-files.ts';
import { segmentName } from './segment.ts';
import { listSegments, readSegmentHeader } from './segment-header.ts';
import { examineRest, type ScannedGroup, SegmentScanner, visitRecords } from './segment-scan.ts';

/** Where something stands: a segment's file name and an offset in it. */
export interface FindingPlace {
  readonly segment: string;
  readonly offset: number;
}

export type LogFinding =
  /** A segment file begins. */
  | (FindingPlace & { readonly kind: 'segment'; readonly byteLength: number })
  /** An entry; `carried` where it was copied out of an older segment. Truncated ones included. */
  | (FindingPlace & {
      readonly kind: 'entry';
      readonly shardId: number;
      readonly index: bigint;
      readonly term: bigint;
      readonly payload: Buffer;
      readonly carried: boolean;
    })
  | (FindingPlace & { readonly kind: 'term'; readonly shardId: number; readonly term: bigint })
  | (FindingPlace & {
      readonly kind: 'truncation';
      readonly shardId: number;
      readonly throughIndex: bigint;
    })
  /** State of a shard as its segment begins. */
  | (FindingPlace & {
      readonly kind: 'checkpoint';
      readonly shardId: number;
      readonly firstIndex: bigint;
      readonly headIndex: bigint;
      readonly term: bigint;
    })
  /** Bytes that were durable once and are not intact: the log cannot be opened. */
  | (FindingPlace & {
      readonly kind: 'damage';
      readonly byteLength: number;
      readonly reason: string;
    })
  /** Bytes of a last group that is not intact: opening the log cuts them off. */
  | (FindingPlace & { readonly kind: 'tornTail'; readonly byteLength: number })
  /** Bytes other than zero after the last group of a segment; nothing ever reads them. */
  | (FindingPlace & { readonly kind: 'residue'; readonly byteLength: number });

/** What follows the last group of a segment: zeros from `end` on. */
interface Ending extends FindingPlace {
  /** Of the segment. */
  readonly sequence: number;
  readonly end: number;
}

/**
 * Everything in the segment files of a directory, in the order in which it stands there.
 * @param files for tests.
 * @throws RAFTSEAL_ENGINE_FORMAT for a segment of another format version; what the files throw.
 */
export async function* inspectEmbeddedLog(
  directory: string,
  files: LogFiles = nodeLogFiles,
): AsyncGenerator<LogFinding, void, void> {
  const inspection = new Inspection(directory, files);
  let previous: number | undefined;
  for (const sequence of await listSegments(files, directory)) {
    for (let gone = (previous ?? sequence) + 1; gone < sequence; gone++) {
      const reason = 'the file is missing';
      yield { kind: 'damage', segment: segmentName(gone), offset: 0, byteLength: 0, reason };
    }
    previous = sequence;
    yield* inspection.segment(sequence);
  }
  yield* inspection.end();
}

/**
 * Where a process has the log open, a group may be written between two looks at its place. Groups
 * are written one after the other: so a group that is not intact although a later one stands is
 * looked at once more, and then it tells.
 */
class Inspection {
  readonly #directory: string;
  readonly #files: LogFiles;
  /** Sequence of the group that should come next. */
  #expected: number | undefined;
  /** Of segments since the last group. */
  #endings: Ending[] = [];

  constructor(directory: string, files: LogFiles) {
    this.#directory = directory;
    this.#files = files;
  }

  async *segment(sequence: number): AsyncGenerator<LogFinding, void, void> {
    const segment = segmentName(sequence);
    const file = await this.#files.open(join(this.#directory, segment), 'read');
    try {
      const fileBytes = await file.byteLength();
      yield { kind: 'segment', segment, offset: 0, byteLength: fileBytes };
      const header = await readSegmentHeader(file, sequence);
      if (!('wrong' in header)) {
        yield* this.#groups(file, header, SEGMENT_HEADER_BYTES);
        return;
      }
      const byteLength = fileBytes;
      yield { kind: 'damage', segment, offset: header.offset, byteLength, reason: header.wrong };
      yield* this.end();
      this.#expected = undefined;
    } finally {
      await file.close();
    }
  }

  *end(): Generator<LogFinding, void, void> {
    for (const { segment, offset, end } of this.#endings.splice(0)) {
      if (end > offset) yield { kind: 'tornTail', segment, offset, byteLength: end - offset };
    }
  }

  async *#groups(
    file: LogFile,
    header: SegmentHeader,
    start: number,
  ): AsyncGenerator<LogFinding, void, void> {
    const segment = segmentName(header.sequence);
    const fileBytes = await file.byteLength();
    const seed = segmentSeed(header);
    let from = start;
    let doubted: number | undefined;
    for (;;) {
      const scanner = new SegmentScanner(file, { fileBytes, seed, from });
      for (;;) {
        const group = await scanner.next();
        if (group === undefined) break;
        yield* this.#judge(group.sequence);
        this.#expected = group.sequence + 1;
        yield* findingsOf(group, segment);
      }
      from = scanner.offset;
      const sequence = this.#expected ?? 0;
      const rest = await examineRest(file, { fileBytes, seed, from, sequence });
      if (rest.laterGroup === undefined) {
        this.#endings.push({ segment, sequence: header.sequence, offset: from, end: rest.end });
        return;
      }
      if (doubted !== from) {
        doubted = from;
        continue;
      }
      const { offset: next } = rest.laterGroup;
      const reason = `group ${sequence} is not intact`;
      yield { kind: 'damage', segment, offset: from, byteLength: next - from, reason };
      this.#expected = rest.laterGroup.sequence;
      from = next;
    }
  }

  /** Says what the ends of the segments before were, now that the next group is known. */
  async *#judge(sequence: number): AsyncGenerator<LogFinding, void, void> {
    for (const ending of this.#endings.splice(0)) {
      if (sequence === this.#expected) this.#endings.push(ending);
      else yield* this.#lookAgain(ending);
    }
    const endings = this.#endings.splice(0);
    const expected = this.#expected ?? sequence;
    const damaged = endings.filter(({ offset, end }) => end > offset);
    if (sequence === expected) {
      for (const { segment, offset, end } of damaged) {
        yield { kind: 'residue', segment, offset, byteLength: end - offset };
      }
      return;
    }
    const reason = `group ${expected} is not intact, group ${sequence} follows`;
    for (const { segment, offset, end } of damaged.length > 0 ? damaged : endings.slice(0, 1)) {
      yield { kind: 'damage', segment, offset, byteLength: end - offset, reason };
    }
  }

  /** Goes on from where a segment ended at the first look. */
  async *#lookAgain({ segment, sequence, offset }: Ending): AsyncGenerator<LogFinding, void, void> {
    const file = await this.#files.open(join(this.#directory, segment), 'read');
    try {
      const header = await readSegmentHeader(file, sequence);
      if (!('wrong' in header)) yield* this.#groups(file, header, offset);
    } finally {
      await file.close();
    }
  }
}

function findingsOf(group: ScannedGroup, segment: string): LogFinding[] {
  const findings: LogFinding[] = [];
  const known = visitRecords(group, (record, offset, byteLength, payloadStart) => {
    const payloadEnd = payloadStart + byteLength - RECORD_HEADER_BYTES;
    const payload = group.bytes.subarray(payloadStart, payloadEnd);
    findings.push(findingOf(record, { segment, offset }, payload));
  });
  if (known) return findings;
  const { offset } = group;
  const byteLength = group.end - group.start;
  return [{ kind: 'damage', segment, offset, byteLength, reason: 'a record of unknown kind' }];
}

function findingOf(record: RecordFields, place: FindingPlace, payload: Buffer): LogFinding {
  const { shardId } = record;
  const index = BigInt(record.index);
  const term = BigInt(record.term);
  switch (record.kind) {
    case recordKind.term:
      return { kind: 'term', ...place, shardId, term };
    case recordKind.truncation:
      return { kind: 'truncation', ...place, shardId, throughIndex: index };
    case recordKind.checkpoint: {
      const firstIndex = BigInt(readUint64(payload, 0));
      return { kind: 'checkpoint', ...place, shardId, firstIndex, headIndex: index, term };
    }
    case recordKind.entry:
    case recordKind.carried: {
      const carried = record.kind === recordKind.carried;
      const copy = Buffer.from(payload);
      return { kind: 'entry', ...place, shardId, index, term, payload: copy, carried };
    }
  }
}
