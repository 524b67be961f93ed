/**
 * The engine of one shard over the shared log of this node. The group has one member, so an
 * election is won as soon as its term is durable, and only a resignation or a failed disk ends it.
 */
import {
  type AppendOutcome,
  type AppendRequest,
  assert,
  type EngineLimits,
  type Leadership,
  type LogBounds,
  type LogEntry,
  type Member,
  type RaftEngine,
  type RaftsealError,
  type ReadRequest,
} from '@raftseal/interface';
import { readEntries } from './entry-reader.ts';
import { closedError, payloadTooLarge, truncatedError } from './errors.ts';
import { recordKind } from './format.ts';
import type { GroupRecord } from './group-encoder.ts';
import type { GroupWriter, PendingRecord } from './group-writer.ts';
import type { SegmentStore } from './segment-store.ts';
import type { Follower, ShardLog } from './shard-log.ts';

/** Entries handed over in one chunk, at most. */
const CHUNK_ENTRIES_MAX = 1024;
const noPayload = Buffer.alloc(0);

export interface EngineParts {
  readonly shard: ShardLog;
  readonly store: SegmentStore;
  readonly writer: GroupWriter;
  readonly limits: EngineLimits;
  readonly nodeId: string;
  /** Why the log takes no append any more, once it does not. */
  readonly failure: () => RaftsealError | undefined;
  /** Called after a truncation: segments may go. */
  readonly onTruncated: () => void;
}

interface Reign {
  readonly term: number;
  readonly controller: AbortController;
}

export class EmbeddedEngine implements RaftEngine {
  readonly limits: EngineLimits;
  readonly #parts: EngineParts;
  readonly #shard: ShardLog;
  #reign: Reign | undefined;
  #electing = false;
  #inFlight = 0;
  #closed: Promise<void> | undefined;

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.#shard = parts.shard;
    this.limits = parts.limits;
  }

  async elect(signal?: AbortSignal): Promise<Leadership> {
    this.#assertWritable();
    signal?.throwIfAborted();
    if (this.#electing) throw new TypeError('an election of this shard is under way already');
    this.#electing = true;
    try {
      this.#endReign('it stood for election again');
      const term = this.#shard.term + 1;
      await this.#write({ kind: recordKind.term, index: 0, term, payload: noPayload });
      this.#assertWritable();
      signal?.throwIfAborted();
      return this.#begin(term);
    } finally {
      this.#electing = false;
    }
  }

  append(request: AppendRequest): Promise<AppendOutcome> {
    const refusal = this.#refuse(request);
    if (refusal instanceof Error) return Promise.reject(refusal);
    if (refusal !== undefined) return Promise.resolve(refusal);
    const { payload } = request;
    const index = Number(request.index);
    const term = Number(request.term);
    this.#inFlight += 1;
    return new Promise((resolve, reject) => {
      this.#parts.writer.enqueue({
        kind: recordKind.entry,
        shardId: this.#shard.shardId,
        index,
        term,
        payload,
        onFlushed: (segment, offset, byteLength) => {
          this.#inFlight -= 1;
          this.#shard.noteAppended(index, { segment: segment.sequence, offset, byteLength });
          segment.noteEntry(this.#shard.shardId, index);
          this.#shard.keepRecent(index, term, payload);
          this.#shard.wake();
          resolve({ outcome: 'done' });
        },
        onFailed: (error) => {
          this.#inFlight -= 1;
          reject(error as Error);
        },
      });
    });
  }

  async *read(request: ReadRequest): AsyncGenerator<readonly LogEntry[], void, void> {
    this.#assertOpen();
    const { from, follow, signal } = request;
    if (from < 1n) throw new RangeError(`indexes start at 1, not ${from}`);
    const shard = this.#shard;
    const end = follow ? Number.MAX_SAFE_INTEGER : shard.headIndex;
    const reader: Follower = { next: Number(from) };
    if (follow) shard.follow(reader);
    try {
      while (this.#closed === undefined && !signal?.aborted && reader.next <= end) {
        if (reader.next < shard.firstIndex) throw truncatedError(reader.next, shard.firstIndex);
        if (reader.next > shard.headIndex) {
          this.#assertWritable();
          await shard.change(signal);
          continue;
        }
        const entries = await this.#chunk(reader.next, Math.min(end, shard.headIndex));
        if (entries === undefined) continue;
        reader.next += entries.length;
        yield entries;
      }
    } finally {
      if (follow) shard.unfollow(reader);
    }
  }

  async bounds(): Promise<LogBounds> {
    this.#assertOpen();
    const { firstIndex, headIndex } = this.#shard;
    return { firstIndex: BigInt(firstIndex), headIndex: BigInt(headIndex) };
  }

  async truncate(throughIndex: bigint): Promise<void> {
    this.#assertOpen();
    const { headIndex, firstIndex } = this.#shard;
    if (throughIndex > BigInt(headIndex)) {
      throw new RangeError(`cannot truncate through ${throughIndex}: the head is ${headIndex}`);
    }
    const index = Number(throughIndex);
    if (index < firstIndex) return;
    this.#assertWritable();
    const { term } = this.#shard;
    await this.#write({ kind: recordKind.truncation, index, term, payload: noPayload });
    this.#parts.onTruncated();
  }

  async members(): Promise<readonly Member[]> {
    this.#assertOpen();
    return [{ nodeId: this.#parts.nodeId, role: 'voter' }];
  }

  close(): Promise<void> {
    this.#closed ??= this.#drain();
    this.#endReign('the engine was closed');
    this.#shard.wake();
    return this.#closed;
  }

  /** The log failed: nobody leads, and nobody waits for what will not come. */
  onFailure(reason: string): void {
    this.#endReign(reason);
    this.#shard.wake();
  }

  async #drain(): Promise<void> {
    await Promise.resolve();
    if (this.#inFlight > 0 || this.#electing) await this.#parts.writer.idle();
  }

  /** Why an append cannot be made, if so: an error to throw, or the outcome. */
  #refuse({ term, index, payload }: AppendRequest): AppendOutcome | Error | undefined {
    if (this.#closed !== undefined) return closedError();
    const { payloadBytesMax, appendsInFlightMax } = this.limits;
    if (payload.byteLength > payloadBytesMax) {
      return payloadTooLarge(payload.byteLength, payloadBytesMax);
    }
    const failure = this.#parts.failure();
    if (failure !== undefined) return failure;
    if (this.#reign === undefined || term !== BigInt(this.#reign.term)) {
      return { outcome: 'fenced', reason: `this node does not lead in term ${term}` };
    }
    const expected = this.#shard.headIndex + this.#inFlight + 1;
    if (index !== BigInt(expected)) {
      return { outcome: 'fenced', reason: `the next index is ${expected}, not ${index}` };
    }
    if (this.#inFlight >= appendsInFlightMax) {
      return new RangeError(`more than ${appendsInFlightMax} appends of a shard in flight`);
    }
    return undefined;
  }

  /** The next entries up to `last`; undefined where truncation took them meanwhile. */
  async #chunk(next: number, last: number): Promise<readonly LogEntry[] | undefined> {
    const shard = this.#shard;
    const through = Math.min(last, next + CHUNK_ENTRIES_MAX - 1);
    const entries =
      shard.recentFrom(next, through) ??
      (await readEntries(this.#parts.store, shard, next, through));
    assert(
      entries !== undefined || next < shard.firstIndex,
      `shard ${shard.shardId}: entry ${next} has a place in the log`,
    );
    return entries;
  }

  #begin(term: number): Leadership {
    const controller = new AbortController();
    this.#reign = { term, controller };
    return {
      term: BigInt(term),
      headIndex: BigInt(this.#shard.headIndex),
      signal: controller.signal,
      // The group has no other member: nobody can be elected without this process knowing.
      isCurrent: () => !controller.signal.aborted,
      confirm: async () => {
        this.#assertOpen();
        return !controller.signal.aborted;
      },
      resign: async () => {
        if (this.#reign?.controller !== controller) return;
        this.#endReign('it resigned');
        if (this.#inFlight > 0) await this.#parts.writer.idle();
      },
    };
  }

  #endReign(reason: string): void {
    const reign = this.#reign;
    this.#reign = undefined;
    reign?.controller.abort(new Error(`leadership of shard ${this.#shard.shardId}: ${reason}`));
  }

  /** Writes a record that is no entry; the shard's state follows once it is flushed. */
  async #write(record: Omit<GroupRecord, 'shardId'>): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const pending: PendingRecord = {
        ...record,
        shardId: this.#shard.shardId,
        onFlushed: () => {
          if (record.kind === recordKind.term) this.#shard.term = record.term;
          else this.#shard.noteTruncated(record.index);
          this.#shard.wake();
          resolve();
        },
        onFailed: reject,
      };
      this.#parts.writer.enqueue(pending);
    });
  }

  #assertOpen(): void {
    if (this.#closed !== undefined) throw closedError();
  }

  #assertWritable(): void {
    this.#assertOpen();
    const failure = this.#parts.failure();
    if (failure !== undefined) throw failure;
  }
}
