/**
 * One segment file while the log is open: its descriptor, how far it is written, and the highest
 * entry of each shard in it. The file stays open for as long as somebody reads it.
 */
import { assert } from '@raftseal/interface';
import { type SegmentHeader, segmentSeed } from './format.ts';
import { type LogFile, readFully, writeAllFlushed } from './log-files.ts';

const NAME = /^([0-9a-f]{16})\.seg$/;

/** File name of a segment; names sort like sequences. */
export function segmentName(sequence: number): string {
  return `${sequence.toString(16).padStart(16, '0')}.seg`;
}

/** The sequence that a file name stands for, or undefined for another kind of file. */
export function segmentSequence(name: string): number | undefined {
  const digits = NAME.exec(name)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 16);
}

export class Segment {
  readonly sequence: number;
  readonly name: string;
  readonly seed: number;
  /** Bytes of the file; a group too large for an empty segment makes its file grow. */
  byteLength: number;
  /** Where the next group goes. */
  tail: number;
  /** By shard: highest index of an entry that stands here and nowhere later. */
  readonly lastIndexes: Map<number, number> = new Map();
  readonly #file: LogFile;
  #readers = 0;
  #dropped = false;

  constructor(header: SegmentHeader, file: LogFile, byteLength: number, tail: number) {
    this.sequence = header.sequence;
    this.name = segmentName(header.sequence);
    this.seed = segmentSeed(header);
    this.byteLength = byteLength;
    this.tail = tail;
    this.#file = file;
  }

  /** True if a group of that many bytes fits without making the file grow. */
  fits(byteLength: number): boolean {
    return this.tail + byteLength <= this.byteLength;
  }

  noteEntry(shardId: number, index: number): void {
    const last = this.lastIndexes.get(shardId);
    if (last === undefined || last < index) this.lastIndexes.set(shardId, index);
  }

  /** Writes one group at the tail; resolves once it is on the device. */
  async appendGroup(buffers: readonly Uint8Array[], byteLength: number): Promise<void> {
    await writeAllFlushed(this.#file, buffers, this.tail);
    this.tail += byteLength;
    if (this.tail > this.byteLength) this.byteLength = this.tail;
  }

  /** Fills `target` from `offset`; returns fewer bytes than that only at the end of the file. */
  async read(target: Uint8Array, offset: number): Promise<number> {
    assert(!this.#dropped, `segment ${this.name} is not read after it was dropped`);
    this.#readers += 1;
    try {
      return await readFully(this.#file, target, offset);
    } finally {
      this.#readers -= 1;
      if (this.#dropped && this.#readers === 0) await this.#file.close();
    }
  }

  /** Closes the file once its last reader is done. */
  async drop(): Promise<void> {
    if (this.#dropped) return;
    this.#dropped = true;
    if (this.#readers === 0) await this.#file.close();
  }
}
