/**
 * The durable state of one shard's log in memory: its bounds, its term, where its entries stand,
 * and the newest entries themselves for as long as a reader follows them. It changes only when a
 * group was flushed, or while the log is opened.
 */
import { assert, type LogEntry } from '@raftseal/interface';
import { EntryIndex, type RecordPlace } from './entry-index.ts';

/** Newest entries kept for followers, at most. */
const RECENT_BYTES_MAX = 1024 * 1024;

/** A reader that follows the tail, and the index it wants next. */
export interface Follower {
  next: number;
}

export class ShardLog {
  readonly shardId: number;
  term = 0;
  firstIndex = 1;
  headIndex = 0;
  readonly places: EntryIndex = new EntryIndex();
  readonly #followers: Set<Follower> = new Set();
  readonly #waiting: Set<() => void> = new Set();
  #recent: LogEntry[] = [];
  #recentBytes = 0;

  constructor(shardId: number) {
    this.shardId = shardId;
  }

  /** Notes an entry that was flushed. */
  noteAppended(index: number, place: RecordPlace): void {
    assert(index === this.headIndex + 1, 'an entry follows the head');
    this.headIndex = index;
    this.places.set(index, place.segment, place.offset, place.byteLength);
  }

  /** Keeps a flushed entry for followers, if there are any; the payload is copied. */
  keepRecent(index: number, term: number, payload: Uint8Array): void {
    if (this.#followers.size === 0) return;
    const copy = Buffer.from(payload);
    this.#recent.push({ index: BigInt(index), term: BigInt(term), payload: copy });
    this.#recentBytes += copy.length;
    if (this.#recentBytes > RECENT_BYTES_MAX || this.#recent.length % 64 === 0) this.#forget();
  }

  noteTruncated(throughIndex: number): void {
    if (throughIndex < this.firstIndex) return;
    this.firstIndex = throughIndex + 1;
    this.places.dropBelow(this.firstIndex);
  }

  /** The recent entries from `index` through `last`, if the first of them is still kept. */
  recentFrom(index: number, last: number): readonly LogEntry[] | undefined {
    const oldest = this.#recent[0];
    if (oldest === undefined) return undefined;
    const start = index - Number(oldest.index);
    if (start < 0 || start >= this.#recent.length) return undefined;
    return this.#recent.slice(start, start + last - index + 1);
  }

  follow(follower: Follower): void {
    this.#followers.add(follower);
  }

  unfollow(follower: Follower): void {
    this.#followers.delete(follower);
    this.#forget();
  }

  /** Wakes everybody who waits for a change. */
  wake(): void {
    for (const wake of this.#waiting) wake();
  }

  /** Resolves at the next `wake`, or when the signal aborts. */
  async change(signal: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }

  /** Drops what every follower has, and what is too much for those who lag. */
  #forget(): void {
    let wanted = Number.POSITIVE_INFINITY;
    for (const { next } of this.#followers) wanted = Math.min(wanted, next);
    let drop = 0;
    for (const entry of this.#recent) {
      if (Number(entry.index) >= wanted && this.#recentBytes <= RECENT_BYTES_MAX) break;
      this.#recentBytes -= entry.payload.byteLength;
      drop += 1;
    }
    this.#recent = this.#recent.slice(drop);
  }
}
