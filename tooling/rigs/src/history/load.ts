/** Clients that work side by side until they are told to stop, every operation recorded. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../random.ts';
import { ClusterClient, type ClusterClientOptions } from './cluster-client.ts';
import { DirectReaders } from './direct-readers.ts';
import type { HistoryRecorder } from './recorder.ts';
import type { Assignment, Workload } from './workload.ts';

export interface LoadOptions extends ClusterClientOptions {
  readonly clients: number;
  /** The mean pause of one client between two operations, in ms. */
  readonly pauseMs: number;
  /** How often each node is read from directly, in ms. */
  readonly directReadEveryMs: number;
  readonly recorder: HistoryRecorder;
  readonly workload: Workload;
  readonly random: Random;
}

/** A client that was refused, or lost its connection, waits: nothing is won by asking at once. */
const REFUSED_PAUSE_MS = 60;

const FINAL_READ_TRIES = 100;

export class Load {
  readonly #options: LoadOptions;
  readonly #clients: readonly ClusterClient[];
  readonly #readers: DirectReaders;
  readonly #stopping = new AbortController();
  #working: Promise<unknown> | undefined;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#clients = Array.from({ length: options.clients }, () => new ClusterClient(options));
    this.#readers = new DirectReaders({ ...options, everyMs: options.directReadEveryMs });
  }

  /** Resolves once every client has reached the cluster; then they work. */
  async start(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.ready()));
    this.#readers.start();
    this.#working = Promise.all(this.#clients.map((client, id) => this.#work(client, id)));
  }

  /** Resolves once every operation under way has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#working;
    await this.#readers.stop();
  }

  /** Reads every key that was ever used, once more; after the end of the load. */
  async readAll(): Promise<void> {
    const left = [...this.#options.workload.everyRead()];
    const readers = this.#clients.map(async (client, id) => {
      for (let next = left.pop(); next !== undefined; next = left.pop()) {
        await this.#readForCertain(client, id, next);
      }
    });
    await Promise.all(readers);
  }

  close(): void {
    for (const client of this.#clients) client.close();
    void this.#readers.stop();
  }

  async #readForCertain(client: ClusterClient, id: number, read: Assignment): Promise<void> {
    for (let tries = 0; tries < FINAL_READ_TRIES; tries++) {
      const { outcome } = await this.#options.recorder.record(id, read, () =>
        client.perform(read.commands),
      );
      if (outcome === 'done') return;
      await delay(REFUSED_PAUSE_MS);
    }
    throw new Error(`the keys of {${read.tag}} could not be read after the load`);
  }

  async #work(client: ClusterClient, id: number): Promise<void> {
    const { recorder, workload, random, pauseMs } = this.#options;
    while (!this.#stopping.signal.aborted) {
      const assignment = workload.next();
      const outcome = await recorder.record(id, assignment, () =>
        client.perform(assignment.commands),
      );
      workload.ended(assignment, outcome);
      const pause = outcome.outcome === 'done' ? pauseMs : REFUSED_PAUSE_MS;
      await delay(random.between(0, 2 * pause));
    }
  }
}
