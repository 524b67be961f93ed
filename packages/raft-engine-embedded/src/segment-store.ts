/**
 * The segment files of a log: the one that is written, those before it, and the spare after it.
 *
 * A segment is made under a temporary name, filled with zeros and flushed, then renamed, then its
 * directory is flushed: a `.seg` file is whole and has its full length from the first moment. The
 * zeros are written so that appends only overwrite allocated blocks, which spares every flush the
 * journal of the file system; they are written in the background, in chunks with pauses, as soon
 * as the segment before is a quarter full.
 */
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { assert } from '@raftseal/interface';
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES } from './format.ts';
import { type LogFile, type LogFiles, writeAll } from './log-files.ts';
import { Segment, segmentName } from './segment.ts';

const ZEROS_CHUNK_BYTES = 1024 * 1024;
const ZEROS_PAUSE_MS = 5;
/** Shares of the active segment: above the first a spare is made, above the second in haste. */
const SPARE_FROM = 0.25;
const HASTE_FROM = 0.6;

export interface SegmentStoreOptions {
  readonly files: LogFiles;
  readonly directory: string;
  readonly logId: Buffer;
  readonly segmentBytes: number;
  /** Called where making a spare failed for another reason than a full disk. */
  readonly onFailure: (doing: string, cause: unknown) => void;
}

export class SegmentStore {
  readonly #options: SegmentStoreOptions;
  /** In order of their sequences; the last is the active one. */
  readonly #segments: Segment[];
  #spare: Promise<Segment> | undefined;
  #inHaste = false;
  #closing = false;

  /** @param segments what was found at open, active segment last; may be empty. */
  constructor(options: SegmentStoreOptions, segments: Segment[], spare: Segment | undefined) {
    this.#options = options;
    this.#segments = segments;
    this.#spare = spare && Promise.resolve(spare);
  }

  get segments(): readonly Segment[] {
    return this.#segments;
  }

  get active(): Segment | undefined {
    return this.#segments.at(-1);
  }

  /** The segment of a sequence; undefined once it was dropped. */
  find(sequence: number): Segment | undefined {
    const first = this.#segments[0];
    return first && this.#segments[sequence - first.sequence];
  }

  /** Makes the next segment the active one. */
  async roll(): Promise<Segment> {
    this.#inHaste = true;
    let next: Segment;
    try {
      next = await (this.#spare ?? this.#make());
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      // What a full disk refused earlier may fit by now; no data hangs on the abandoned file.
      next = await this.#make();
    }
    this.#spare = undefined;
    this.#inHaste = false;
    assert(next.sequence === (this.active?.sequence ?? 0) + 1, 'segment sequences are dense');
    this.#segments.push(next);
    return next;
  }

  /** Starts on the next spare when the active segment has come far enough. */
  prepare(): void {
    const { active } = this;
    if (active === undefined || this.#closing) return;
    const share = active.tail / active.byteLength;
    if (share > HASTE_FROM) this.#inHaste = true;
    if (share < SPARE_FROM || this.#spare !== undefined) return;
    this.#spare = this.#make();
    this.#spare.catch((error: unknown) => {
      if (this.#closing || isDiskFull(error)) return;
      this.#options.onFailure('making a segment file', error);
    });
  }

  /** Deletes the oldest segment; its name is gone for good when this resolves. */
  async removeOldest(): Promise<void> {
    const oldest = this.#segments[0];
    assert(oldest !== undefined && this.#segments.length > 1, 'the active segment stays');
    const { files, directory } = this.#options;
    this.#segments.shift();
    await files.remove(join(directory, oldest.name));
    await files.flushDirectory(directory);
    await oldest.drop();
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#inHaste = true;
    const spare = await this.#spare?.catch(() => undefined);
    await Promise.all(this.#segments.map((segment) => segment.drop()));
    await spare?.drop();
  }

  async #make(): Promise<Segment> {
    const { files, directory, logId, segmentBytes } = this.#options;
    const header = {
      sequence: (this.active?.sequence ?? 0) + 1,
      logId,
      byteLength: segmentBytes,
    };
    const path = join(directory, segmentName(header.sequence));
    const fresh = `${path}.new`;
    await files.remove(fresh).catch((error: unknown) => {
      if ((error as { code?: unknown }).code !== 'ENOENT') throw error;
    });
    const file = await files.open(fresh, 'create');
    try {
      await this.#fill(file, encodeSegmentHeader(header));
      await file.flush();
    } finally {
      await file.close();
    }
    await files.rename(fresh, path);
    await files.flushDirectory(directory);
    const durable = await files.open(path, 'durable');
    return new Segment(header, durable, segmentBytes, SEGMENT_HEADER_BYTES);
  }

  async #fill(file: LogFile, headerPage: Buffer): Promise<void> {
    const { segmentBytes } = this.#options;
    await writeAll(file, headerPage, 0);
    const zeros = Buffer.alloc(Math.min(ZEROS_CHUNK_BYTES, segmentBytes));
    for (let at = headerPage.length; at < segmentBytes; at += zeros.length) {
      if (this.#closing) throw new Error('the log was closed');
      await writeAll(file, zeros.subarray(0, segmentBytes - at), at);
      if (this.#inHaste || this.#segments.length === 0) continue;
      await file.flush();
      await pause(ZEROS_PAUSE_MS);
    }
  }
}

function isDiskFull(error: unknown): boolean {
  const { code, errno } = error as { code?: unknown; errno?: unknown };
  // Node has a number for a quota that is used up, and no name.
  return code === 'ENOSPC' || errno === -constants.errno.EDQUOT;
}
