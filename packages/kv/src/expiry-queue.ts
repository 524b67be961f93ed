/**
 * Times of expiry of keys in memory, earliest first: a binary heap. An item is not removed when its
 * key changes; whoever takes it looks whether it still holds. The heap is cleared of such items
 * when they could be most of it.
 */
import type { KeyEntry } from './key-entry.ts';

interface Item {
  readonly atMs: number;
  readonly entry: KeyEntry;
}

const REBUILD_SIZE_MIN = 1024;

export class ExpiryQueue {
  readonly #holds: (entry: KeyEntry) => boolean;
  #heap: Item[] = [];
  #rebuildAt = REBUILD_SIZE_MIN;

  /** @param holds whether the entry is still the one in memory for its key. */
  constructor(holds: (entry: KeyEntry) => boolean) {
    this.#holds = holds;
  }

  add(entry: KeyEntry): void {
    if (this.#heap.length >= this.#rebuildAt) this.#rebuild();
    this.#heap.push({ atMs: entry.expireAtMs, entry });
    this.#up(this.#heap.length - 1);
  }

  /** Removes and returns entries due before `nowMs`, at most `limit`. */
  take(nowMs: number, limit: number): KeyEntry[] {
    const due: KeyEntry[] = [];
    while (due.length < limit) {
      const top = this.#heap[0];
      if (top === undefined || top.atMs >= nowMs) break;
      this.#pop();
      if (this.#current(top)) due.push(top.entry);
    }
    return due;
  }

  clear(): void {
    this.#heap = [];
    this.#rebuildAt = REBUILD_SIZE_MIN;
  }

  #current({ atMs, entry }: Item): boolean {
    return entry.expireAtMs === atMs && entry.value !== undefined && this.#holds(entry);
  }

  #rebuild(): void {
    this.#heap = this.#heap
      .filter((item) => this.#current(item))
      .sort((left, right) => left.atMs - right.atMs);
    this.#rebuildAt = Math.max(REBUILD_SIZE_MIN, 2 * this.#heap.length);
  }

  #pop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#down(0);
  }

  #at(index: number): number {
    return this.#heap[index]?.atMs ?? Number.POSITIVE_INFINITY;
  }

  #swap(left: number, right: number): void {
    const a = this.#heap[left];
    const b = this.#heap[right];
    if (a === undefined || b === undefined) return;
    this.#heap[left] = b;
    this.#heap[right] = a;
  }

  #up(start: number): void {
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (this.#at(parent) <= this.#at(index)) return;
      this.#swap(parent, index);
      index = parent;
    }
  }

  #down(start: number): void {
    let index = start;
    for (;;) {
      const left = 2 * index + 1;
      const smaller = this.#at(left + 1) < this.#at(left) ? left + 1 : left;
      if (this.#at(smaller) >= this.#at(index)) return;
      this.#swap(smaller, index);
      index = smaller;
    }
  }
}
