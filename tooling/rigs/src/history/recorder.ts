/**
 * Writes down what clients do. One process, and so one clock and one order of events: an operation
 * begins when it is handed to the client library and ends when the library hands back its answer,
 * which is at the latest as early, and at the earliest as late, as the truth.
 */
import type { Command, Operation } from '../linearizability/operation.ts';
import type { Outcome } from './outcome.ts';

export interface RecordedOperation extends Operation {
  readonly shardId: number;
}

/** Commands of one hash tag, and the shard that it belongs to. */
export interface Request {
  readonly shardId: number;
  readonly commands: readonly Command[];
}

export interface HistoryTotals {
  readonly done: number;
  readonly refused: number;
  readonly unknown: number;
  /** Refusals and unknown outcomes by their first words. */
  readonly reasons: ReadonlyMap<string, number>;
}

export class HistoryRecorder {
  readonly #operations: RecordedOperation[] = [];
  readonly #reasons: Map<string, number> = new Map();
  readonly #now: () => number;
  #lastMs = 0;
  #refused = 0;
  #unknown = 0;
  #probes = 0;

  /** @param now in ms, never going back; default: since the process started */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** What was done or may have been, in the order in which the answers came. */
  get history(): readonly RecordedOperation[] {
    return this.#operations;
  }

  get totals(): HistoryTotals {
    const done = this.#operations.length - this.#unknown - this.#probes;
    const [refused, unknown] = [this.#refused, this.#unknown];
    return { done, refused, unknown, reasons: this.#reasons };
  }

  /** Performs an operation and records it. Never fails: what fails is an outcome. */
  async record(
    client: number,
    request: Request,
    perform: () => Promise<Outcome>,
  ): Promise<Outcome> {
    const outcome = await this.#recorded(client, request, perform);
    if (outcome.outcome !== 'done') this.#count(outcome.reason);
    if (outcome.outcome === 'refused') this.#refused++;
    if (outcome.outcome === 'unknown') this.#unknown++;
    return outcome;
  }

  /** As `record`, for reads that are expected to be refused: they do not count in the totals. */
  async recordProbe(
    client: number,
    request: Request,
    perform: () => Promise<Outcome>,
  ): Promise<void> {
    const { outcome } = await this.#recorded(client, request, perform);
    if (outcome !== 'refused') this.#probes++;
  }

  async #recorded(
    client: number,
    { shardId, commands }: Request,
    perform: () => Promise<Outcome>,
  ): Promise<Outcome> {
    const invokedAt = this.#tick();
    const outcome = await perform();
    const answeredAt = this.#tick();
    if (outcome.outcome === 'refused') return outcome;
    const isDone = outcome.outcome === 'done';
    this.#operations.push({
      client,
      shardId,
      commands,
      invokedAt,
      returnedAt: isDone ? answeredAt : Number.POSITIVE_INFINITY,
      replies: isDone ? outcome.replies : undefined,
    });
    return outcome;
  }

  /** Later than every moment before it: the clock may stand still between two events. */
  #tick(): number {
    this.#lastMs = Math.max(this.#now(), this.#lastMs + 1e-6);
    return this.#lastMs;
  }

  #count(reason: string): void {
    const words = reason.split(' ').slice(0, 2).join(' ').replace(/:$/, '');
    const key = words.startsWith('MOVED') ? 'MOVED' : words;
    this.#reasons.set(key, (this.#reasons.get(key) ?? 0) + 1);
  }
}
