/**
 * Everything that stands under one name, as it was a moment ago: listed, and from there on kept
 * current by its changes.
 *
 * It is listed again now and then. etcd 3.4 and 3.5 may drop the news of a deletion around a
 * compaction (etcd-io/etcd 18089), and whoever waits for that deletion would wait for ever.
 */
import type { EtcdClient } from './client.ts';
import type { Keys } from './keys.ts';
import { listRange } from './listing.ts';
import { type Event, eventType, type KeyValue } from './messages.ts';
import { Bell } from './waiting.ts';
import type { WatchHub } from './watch-hub.ts';

const RETRY_DELAY_MS = 200;

export interface PrefixViewParts {
  readonly client: EtcdClient;
  readonly hub: WatchHub;
  readonly keys: Keys;
}

export interface PrefixViewOptions {
  /** What the names begin with; empty for all. */
  readonly under: string;
  readonly listEveryMs: number;
  readonly signal: AbortSignal;
}

export class PrefixView {
  /** Rings after each change. */
  readonly changed: Bell = new Bell();
  readonly #parts: PrefixViewParts;
  readonly #options: PrefixViewOptions;
  readonly #outdated = new Bell();
  #states: Map<string, KeyValue> = new Map();
  #revision = 0n;
  #listedRevision = 0n;
  #isWatching = false;
  #endWatch: () => void = () => {};
  #changes = 0;

  constructor(parts: PrefixViewParts, options: PrefixViewOptions) {
    this.#parts = parts;
    this.#options = options;
    void this.#run();
  }

  /** By name. */
  get states(): ReadonlyMap<string, KeyValue> {
    return this.#states;
  }

  /** Everything up to here is in `states`; 0 before the first listing. */
  get revision(): bigint {
    return this.#revision;
  }

  /** How many changes there were, the first listing included. */
  get changes(): number {
    return this.#changes;
  }

  async #run(): Promise<void> {
    const { signal, listEveryMs } = this.#options;
    const { closing } = this.#parts.client;
    while (!signal.aborted && !closing.aborted) {
      const isListed = await this.#list().then(
        () => true,
        // Compacted while it was listed, or refused: whoever looks at this is still there.
        () => false,
      );
      if (isListed && !this.#isWatching) this.#watch();
      await this.#outdated.next(isListed ? listEveryMs : RETRY_DELAY_MS, signal, closing);
    }
    this.#endWatch();
    this.changed.ring();
  }

  async #list(): Promise<void> {
    const { client, keys } = this.#parts;
    const { under, signal } = this.#options;
    const { kvs, revision } = await listRange(client, keys.under(under), { signal });
    // A member that lags says less than is known already.
    if (revision < this.#revision) return;
    const listed = new Map(kvs.map((kv) => [keys.nameOf(kv.key), kv]));
    const isChanged = this.#revision === 0n || !areSame(this.#states, listed);
    this.#listedRevision = revision;
    this.#revision = revision;
    if (!isChanged) return;
    this.#states = listed;
    this.#noteChange();
  }

  #watch(): void {
    this.#isWatching = true;
    this.#endWatch = this.#parts.hub.watch({
      ...this.#parts.keys.under(this.#options.under),
      from: this.#revision + 1n,
      withDeletes: true,
      onEvents: (events) => this.#apply(events),
      onCompacted: () => {
        this.#isWatching = false;
        this.#outdated.ring();
      },
    });
  }

  #apply(events: readonly Event[]): void {
    let isChanged = false;
    for (const { type, kv } of events) {
      const revision = BigInt(kv.modRevision);
      if (revision <= this.#listedRevision) continue;
      const name = this.#parts.keys.nameOf(kv.key);
      if (type === eventType.delete) this.#states.delete(name);
      else this.#states.set(name, kv);
      this.#revision = revision;
      isChanged = true;
    }
    if (isChanged) this.#noteChange();
  }

  #noteChange(): void {
    this.#changes += 1;
    this.changed.ring();
  }
}

function areSame(
  one: ReadonlyMap<string, KeyValue>,
  other: ReadonlyMap<string, KeyValue>,
): boolean {
  if (one.size !== other.size) return false;
  for (const [name, { modRevision }] of one) {
    if (other.get(name)?.modRevision !== modRevision) return false;
  }
  return true;
}
