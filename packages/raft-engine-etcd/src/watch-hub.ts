/**
 * All watches of this process on one stream. A stream that breaks off, or falls silent, is opened
 * again at the next member, and each watch goes on after the last change that it was told of.
 *
 * Silence is told from rest by asking for the progress. The revision in the answer is not used: a
 * member may send it before changes that it covers (etcd before 3.4.25 and 3.5.8).
 */
import type { EtcdClient } from './client.ts';
import { reasonOf } from './errors.ts';
import type { EtcdEvent } from './events.ts';
import { type Event, type WatchRequest, type WatchResponse, watchFilter } from './messages.ts';
import { Bell, sleep } from './waiting.ts';

export interface WatchTarget {
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
  /** First revision wanted; at least 1. */
  readonly from: bigint;
  readonly withDeletes: boolean;
  /**
   * Changes in the order of their revisions. Those of the last revision may come again after the
   * stream was opened anew. Must not throw.
   */
  readonly onEvents: (events: readonly Event[]) => void;
  /** Changes are missing, and the watch has ended: etcd has compacted them. */
  readonly onCompacted: () => void;
}

interface Watch {
  readonly target: WatchTarget;
  next: bigint;
}

interface Ending {
  readonly reason: string;
  readonly isRefusal: boolean;
  /** The stream was of use for a while. */
  readonly wasHeard: boolean;
}

const TICK_MS = 500;
/** So many ticks without a word, after being asked, and the stream is given up. */
const SILENT_TICKS_MAX = 2;
const RETRY_DELAY_MS = 50;
const RETRY_DELAY_MS_MAX = 1_000;

export class WatchHub {
  readonly #client: EtcdClient;
  readonly #onEvent: (event: EtcdEvent) => void;
  readonly #watches: Map<number, Watch> = new Map();
  readonly #added = new Bell();
  #lastId = 0;
  #send: ((request: WatchRequest) => void) | undefined;
  #running = false;
  #heard = false;

  constructor(client: EtcdClient, onEvent: (event: EtcdEvent) => void) {
    this.#client = client;
    this.#onEvent = onEvent;
  }

  /** Returns what ends the watch. */
  watch(target: WatchTarget): () => void {
    this.#lastId += 1;
    const id = this.#lastId;
    const watch = { target, next: target.from };
    this.#watches.set(id, watch);
    this.#send?.(createRequest(id, watch));
    this.#added.ring();
    if (!this.#running) void this.#run();
    return () => {
      if (this.#watches.delete(id)) this.#send?.({ cancelRequest: { watchId: id } });
    };
  }

  async #run(): Promise<void> {
    this.#running = true;
    const { closing } = this.#client;
    let place = this.#client.current;
    let failures = 0;
    while (!closing.aborted) {
      if (this.#watches.size === 0) await this.#added.next(Number.POSITIVE_INFINITY, closing);
      const { reason, isRefusal, wasHeard } = await this.#serve(place);
      if (closing.aborted) break;
      failures = wasHeard && !isRefusal ? 1 : failures + 1;
      const message = `the stream of changes is opened again: ${reason}`;
      this.#onEvent({ kind: isRefusal ? 'access-denied' : 'watch-reopened', message });
      place = (place + 1) % this.#client.endpoints.length;
      await sleep(Math.min(RETRY_DELAY_MS * 2 ** (failures - 1), RETRY_DELAY_MS_MAX), closing);
    }
    this.#running = false;
  }

  /** Resolves with the reason once the stream has ended. */
  async #serve(place: number): Promise<Ending> {
    const { closing } = this.#client;
    try {
      const { stream, token } = await this.#client.openWatch(place);
      return await new Promise((resolve) => {
        let isOver = false;
        let wasHeard = false;
        this.#heard = false;
        const end = (reason: string, isRefusal = false): void => {
          if (isOver) return;
          isOver = true;
          clearInterval(ticker);
          closing.removeEventListener('abort', onClosing);
          if (isRefusal) this.#client.forgetToken(token);
          this.#send = undefined;
          stream.cancel();
          resolve({ reason, isRefusal, wasHeard });
        };
        const onClosing = (): void => end('the log is being closed');
        const ticker = this.#listen(end);
        closing.addEventListener('abort', onClosing);
        stream.on('error', (error: Error) => end(error.message));
        stream.on('end', () => end('the member ended it'));
        stream.on('data', (response: WatchResponse) => {
          if (isOver) return;
          this.#heard = true;
          wasHeard = true;
          const refusal = this.#take(response);
          if (refusal !== undefined) end(refusal, true);
        });
        this.#send = (request) => stream.write(request);
        for (const [id, watch] of this.#watches) this.#send(createRequest(id, watch));
      });
    } catch (error) {
      return { reason: reasonOf(error), isRefusal: false, wasHeard: false };
    }
  }

  /** Asks for a sign of life, and ends the stream that gives none. */
  #listen(end: (reason: string) => void): NodeJS.Timeout {
    let silentTicks = 0;
    const ticker = setInterval(() => {
      // What has arrived is handled first: this process may have been stopped for a while.
      setImmediate(() => {
        silentTicks = this.#heard ? 0 : silentTicks + 1;
        this.#heard = false;
        if (silentTicks < SILENT_TICKS_MAX) this.#send?.({ progressRequest: {} });
        else end('the member says nothing');
      });
    }, TICK_MS);
    return ticker.unref();
  }

  /** Why the stream is of no use any more, if so. */
  #take(response: WatchResponse): string | undefined {
    const { canceled, compactRevision, cancelReason, events } = response;
    const id = Number(response.watchId);
    const watch = this.#watches.get(id);
    if (canceled) {
      if (compactRevision === '0' && cancelReason !== '') return cancelReason;
      this.#watches.delete(id);
      watch?.target.onCompacted();
      return undefined;
    }
    const last = events.at(-1);
    if (watch === undefined || last === undefined) return undefined;
    // More changes of this revision follow in the next fragment.
    watch.next = BigInt(last.kv.modRevision) + (response.fragment ? 0n : 1n);
    watch.target.onEvents(events);
    return undefined;
  }
}

function createRequest(watchId: number, { target, next }: Watch): WatchRequest {
  const { key, rangeEnd, withDeletes } = target;
  const filters = withDeletes ? [] : [watchFilter.noDelete];
  const startRevision = next.toString();
  return {
    createRequest: { key, rangeEnd, startRevision, filters, watchId, fragment: true },
  };
}
