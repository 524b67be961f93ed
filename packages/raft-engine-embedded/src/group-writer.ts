/**
 * Group commit. Records gather while a flush is under way; then all of them go to disk as one
 * group, with one flush for all shards of the node. One flush at a time: group k + 1 is written
 * only after group k was flushed, which is what lets recovery tell a torn tail from damage.
 *
 * The first write or flush that fails is the last: what the device holds is unknown after it, and
 * an fsync that is tried again may report success for bytes that were dropped (Rebello et al.,
 * "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
 */
import { RECORD_HEADER_BYTES } from './format.ts';
import { GroupEncoder, type GroupRecord, groupBytes } from './group-encoder.ts';
import type { Segment } from './segment.ts';
import type { SegmentStore } from './segment-store.ts';

/** A group takes no further record from this size on. */
const GROUP_BYTES_MAX = 4 * 1024 * 1024;

/** A record on its way to disk; exactly one of its functions is called, once. */
export interface PendingRecord extends GroupRecord {
  /** It is on the device at this place. */
  readonly onFlushed: (segment: Segment, offset: number, byteLength: number) => void;
  readonly onFailed: (error: unknown) => void;
}

export interface GroupWriterOptions {
  readonly store: SegmentStore;
  /** Sequence of the next group. */
  readonly sequence: number;
  /** The last group of the log is a confirmation, or there is none. */
  readonly confirmed: boolean;
  /** State of all shards as the first records of a new segment. */
  readonly checkpoint: () => readonly GroupRecord[];
  /** Called once, before the `onFailed` of what was waiting; returns what these get. */
  readonly onFailure: (doing: string, cause: unknown) => unknown;
  /** A confirmation follows a group when nothing else did for so long. */
  readonly confirmAfterMs: number;
}

export class GroupWriter {
  readonly #options: GroupWriterOptions;
  readonly #encoder = new GroupEncoder();
  readonly #idle: Set<() => void> = new Set();
  #queue: PendingRecord[] = [];
  #sequence: number;
  #confirmed: boolean;
  #confirmWanted = false;
  #rollWanted = false;
  #running = false;
  #failure: { readonly error: unknown } | undefined;
  #confirmTimer: NodeJS.Timeout | undefined;

  constructor(options: GroupWriterOptions) {
    this.#options = options;
    this.#sequence = options.sequence;
    this.#confirmed = options.confirmed;
  }

  enqueue(record: PendingRecord): void {
    if (this.#failure !== undefined) {
      record.onFailed(this.#failure.error);
      return;
    }
    this.#queue.push(record);
    this.#start();
  }

  /** Resolves once nothing is queued or under way, whether it was flushed or failed. */
  async idle(): Promise<void> {
    if (!this.#running) return;
    await new Promise<void>((resolve) => this.#idle.add(resolve));
  }

  /**
   * Resolves once a later group, if only an empty one, proves the last group durable.
   * @throws the failure, if the writer failed.
   */
  async confirm(): Promise<void> {
    this.#confirmWanted = true;
    this.#start();
    await this.idle();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /**
   * Resolves once a new segment is the active one: every record from here on is written to it.
   * @throws the failure, if the writer failed.
   */
  roll(): Promise<void> {
    this.#rollWanted = true;
    return this.confirm();
  }

  /** Stops for good, as after a failed flush. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    clearTimeout(this.#confirmTimer);
    const { error: first } = this.#failure;
    for (const record of this.#queue.splice(0)) record.onFailed(first);
  }

  /** Ends the timer; the caller has waited for `idle`. */
  close(): void {
    clearTimeout(this.#confirmTimer);
  }

  #start(): void {
    if (this.#running || this.#failure !== undefined) return;
    this.#running = true;
    clearTimeout(this.#confirmTimer);
    void this.#run();
  }

  async #run(): Promise<void> {
    for (;;) {
      // One turn later, so that the group holds all appends of this turn and not just the first.
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#failure !== undefined) break;
      const isSettled = !this.#rollWanted && (!this.#confirmWanted || this.#confirmed);
      if (this.#queue.length === 0 && isSettled) break;
      const records = this.#takeGroup();
      try {
        await this.#write(records);
      } catch (error) {
        const failure = this.#options.onFailure('writing to the log', error);
        for (const record of records) record.onFailed(failure);
        this.fail(failure);
        break;
      }
    }
    this.#confirmWanted = false;
    this.#running = false;
    for (const resolve of this.#idle) resolve();
    this.#idle.clear();
    if (!this.#confirmed && this.#failure === undefined) this.#confirmLater();
  }

  #confirmLater(): void {
    this.#confirmTimer = setTimeout(() => {
      this.#confirmWanted = true;
      this.#start();
    }, this.#options.confirmAfterMs);
    this.#confirmTimer.unref();
  }

  #takeGroup(): PendingRecord[] {
    let byteLength = 0;
    let count = 0;
    while (count < this.#queue.length && byteLength < GROUP_BYTES_MAX) {
      const bytes = RECORD_HEADER_BYTES + (this.#queue[count]?.payload.byteLength ?? 0);
      if (count > 0 && byteLength + bytes > GROUP_BYTES_MAX) break;
      byteLength += bytes;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #write(records: readonly PendingRecord[]): Promise<void> {
    const { store } = this.#options;
    let segment = store.active;
    let preamble: readonly GroupRecord[] = [];
    if (segment === undefined || this.#rollWanted || !segment.fits(groupBytes(records))) {
      segment = await store.roll();
      this.#rollWanted = false;
      preamble = this.#options.checkpoint();
    }
    const all = preamble.length === 0 ? records : [...preamble, ...records];
    const { buffers, byteLength } = this.#encoder.encode(all, this.#sequence, segment.seed);
    let offset = segment.tail + groupBytes(preamble);
    await segment.appendGroup(buffers, byteLength);
    this.#sequence += 1;
    this.#confirmed = records.length === 0;
    store.prepare();
    for (const record of records) {
      const recordBytes = RECORD_HEADER_BYTES + record.payload.byteLength;
      record.onFlushed(segment, offset, recordBytes);
      offset += recordBytes;
    }
  }
}
