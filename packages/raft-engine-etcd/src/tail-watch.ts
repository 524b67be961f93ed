/** The entries that are put at the tail of one log, held until they are asked for. */
import type { LogEntry } from '@raftseal/interface';
import { decodeEntry } from './entry-codec.ts';
import { corruptError } from './errors.ts';
import type { BoundsParts } from './log-bounds.ts';
import type { Event } from './messages.ts';
import { Bell } from './waiting.ts';
import type { WatchHub } from './watch-hub.ts';

/** From here on, a reader that does not ask goes on with pages. */
const HELD_BYTES_MAX = 4 * 1024 * 1024;
const HELD_ENTRIES_MAX = 4_096;

export class TailWatch {
  readonly #parts: BoundsParts;
  readonly #arrived = new Bell();
  readonly #endWatch: () => void;
  #next: bigint;
  #held: LogEntry[] = [];
  #heldBytes = 0;
  #isOver = false;
  #damage: unknown;

  /** @param options.from the first revision wanted. */
  constructor(
    parts: BoundsParts & { readonly hub: WatchHub },
    { next, from }: { readonly next: bigint; readonly from: bigint },
  ) {
    const { hub, keys, shardId } = parts;
    this.#parts = parts;
    this.#next = next;
    this.#endWatch = hub.watch({
      key: keys.entry(shardId, next),
      rangeEnd: keys.entriesEnd(shardId),
      from,
      withDeletes: false,
      onEvents: (events) => this.#hold(events),
      onCompacted: () => this.end(),
    });
  }

  /**
   * What has arrived, never nothing; undefined once the signal is aborted, or once the watch is
   * over and everything that it held was taken.
   * @throws RAFTSEAL_ENGINE_CORRUPT (fatal)
   */
  async take(signal: AbortSignal): Promise<readonly LogEntry[] | undefined> {
    while (this.#held.length === 0) {
      if (signal.aborted) return undefined;
      if (this.#damage !== undefined) throw this.#damage;
      if (this.#isOver) return undefined;
      await this.#arrived.next(Number.POSITIVE_INFINITY, signal);
    }
    if (signal.aborted) return undefined;
    const entries = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    return entries;
  }

  /** Idempotent. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#endWatch();
    this.#arrived.ring();
  }

  #hold(events: readonly Event[]): void {
    for (const { kv } of events) {
      if (this.#isOver) return;
      try {
        this.#holdOne(kv.key, kv.value);
      } catch (error) {
        this.#damage = error;
        this.end();
      }
    }
    this.#arrived.ring();
  }

  #holdOne(key: Buffer, value: Buffer): void {
    const { keys, shardId } = this.#parts;
    const index = keys.indexOf(key);
    if (index === undefined) {
      throw corruptError(shardId, `${keys.nameOf(key)} stands among its entries and is none`);
    }
    // Behind the reader: told again, or changed by another hand.
    if (index < this.#next) return;
    if (index > this.#next || this.#heldBytes > HELD_BYTES_MAX) {
      this.end();
      return;
    }
    this.#held.push(decodeEntry(shardId, index, value));
    this.#heldBytes += value.byteLength;
    this.#next += 1n;
    if (this.#held.length >= HELD_ENTRIES_MAX) this.end();
  }
}
