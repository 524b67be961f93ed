/**
 * Reads along every entry that is put into the logs, from the first one on: by the end of a run the
 * nodes may have truncated them. Follows the members of etcd in turn, from one to the next where it
 * breaks or falls silent, and misses nothing as long as etcd has not compacted what it needs.
 */
import { setTimeout as delay } from 'node:timers/promises';
import {
  base64,
  callEtcd,
  type EtcdGateway,
  type WatchMessage,
  watchEtcd,
} from './etcd-gateway.ts';
import { logPlaceOf, readEntry, type StoredEntry } from './log-entry.ts';

export interface LogRecorderOptions extends EtcdGateway {
  readonly prefix: string;
}

/** A stream that is silent for so long may come from a member that stands still or is cut off. */
const SILENT_MS = 1_500;
const PAUSE_MS = 100;
const MARK = 'rig/mark';

export class LogRecorder {
  readonly #options: LogRecorderOptions;
  readonly #entries: Map<number, StoredEntry[]> = new Map();
  readonly #problems: string[] = [];
  readonly #stopping = new AbortController();
  #nextRevision = 1n;
  #mark = '';
  #following: Promise<void> | undefined;

  constructor(options: LogRecorderOptions) {
    this.#options = options;
  }

  /** The logs by shard, in the order in which the entries were put. */
  get logs(): ReadonlyMap<number, readonly StoredEntry[]> {
    return this.#entries;
  }

  /** What happened to a log that must not, or what was missed. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  start(): void {
    this.#following = this.#follow();
  }

  /** Resolves once everything that was put before this call has been read. */
  async catchUp(timeoutMs: number): Promise<void> {
    const mark = `${process.pid} ${performance.now()}`;
    const deadlineMs = performance.now() + timeoutMs;
    const put = { key: base64(MARK), value: base64(mark) };
    for (let isPut = false; this.#mark !== mark; await delay(PAUSE_MS / 4)) {
      if (performance.now() > deadlineMs) throw new Error('the log recorder does not catch up');
      // Put again after no answer: twice the same mark marks as well as once.
      if (!isPut) isPut = await isAnswered(callEtcd(this.#options, 'kv/put', put));
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#following;
  }

  async #follow(): Promise<void> {
    const { endpoints } = this.#options;
    for (let turn = 0; !this.#stopping.signal.aborted; turn++) {
      const endpoint = endpoints[turn % endpoints.length];
      if (endpoint === undefined) throw new RangeError('a recorder needs an endpoint');
      const silence = new AbortController();
      const timer = setTimeout(() => silence.abort(), SILENT_MS);
      const signal = AbortSignal.any([this.#stopping.signal, silence.signal]);
      try {
        for await (const message of watchEtcd(
          this.#options,
          endpoint,
          this.#nextRevision,
          signal,
        )) {
          timer.refresh();
          this.#take(message);
        }
      } catch {
        // Another member takes over, from where this one ended.
      } finally {
        clearTimeout(timer);
      }
      await delay(PAUSE_MS, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
    }
  }

  #take({ events = [], compact_revision }: WatchMessage): void {
    if (compact_revision !== undefined && BigInt(compact_revision) > 0n) {
      this.#problems.push(`etcd was compacted to ${compact_revision}: entries were missed`);
      this.#nextRevision = BigInt(compact_revision);
      return;
    }
    for (const { type, kv } of events) {
      const key = Buffer.from(kv.key, 'base64').toString();
      const value = Buffer.from(kv.value ?? '', 'base64');
      this.#nextRevision = BigInt(kv.mod_revision) + 1n;
      if (type === 'DELETE') continue;
      if (key === MARK) this.#mark = value.toString();
      const place = logPlaceOf(key, this.#options.prefix);
      if (place === undefined) continue;
      if (kv.version !== '1') {
        this.#problems.push(`entry ${place.index} of shard ${place.shardId} was written again`);
      }
      const entries = this.#entries.get(place.shardId) ?? [];
      entries.push(readEntry(place, value));
      this.#entries.set(place.shardId, entries);
    }
  }
}

function isAnswered(call: Promise<unknown>): Promise<boolean> {
  return call.then(
    () => true,
    () => false,
  );
}
