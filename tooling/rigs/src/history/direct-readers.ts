/**
 * Readers that ask each node by itself, whoever leads, and do not wait for one answer before they
 * send the next question. Cluster clients soon leave a node that was deposed without knowing it;
 * these do not, so that what such a node still answers, or answers first when it wakes up, is seen.
 */
import { Redis } from 'ioredis';
import type { ClusterClientOptions, Endpoint } from './cluster-client.ts';
import { type Outcome, outcomeOfError, replyOf } from './outcome.ts';
import type { HistoryRecorder } from './recorder.ts';
import type { Workload } from './workload.ts';

export interface DirectReadersOptions extends Omit<ClusterClientOptions, 'timeoutMs'> {
  readonly recorder: HistoryRecorder;
  readonly workload: Workload;
  /** How long each waits before its next read, in ms. */
  readonly everyMs: number;
}

/** An answer counts however late it comes: what a node says after a long sleep matters most. */
const ANSWER_TIMEOUT_MS = 15_000;
const UNANSWERED_MAX = 300;
const RECONNECT_MS = 200;
const FIRST_CLIENT = 1_000;

export class DirectReaders {
  readonly #options: DirectReadersOptions;
  readonly #connections: readonly Redis[];
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #pending: Set<Promise<unknown>> = new Set();

  constructor(options: DirectReadersOptions) {
    this.#options = options;
    this.#connections = options.nodes.map((node) => connect(node, options.password));
  }

  start(): void {
    for (const [place, connection] of this.#connections.entries()) {
      this.#timers.push(setInterval(() => this.#read(connection, place), this.#options.everyMs));
    }
  }

  /** Resolves once no answer is waited for any more. */
  async stop(): Promise<void> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    for (const connection of this.#connections) connection.disconnect();
    await Promise.all(this.#pending);
  }

  #read(connection: Redis, place: number): void {
    const { recorder, workload } = this.#options;
    const read = workload.currentRead();
    if (read === undefined || this.#pending.size > UNANSWERED_MAX) return;
    if (connection.status !== 'ready') return;
    const [[name, ...args]] = read.commands;
    const perform = (): Promise<Outcome> =>
      connection
        .call(name.toLowerCase(), ...args)
        .then((reply): Outcome => ({ outcome: 'done', replies: [replyOf(reply)] }), outcomeOfError);
    const recorded = recorder.recordProbe(FIRST_CLIENT + place, read, perform);
    this.#pending.add(recorded);
    void recorded.finally(() => this.#pending.delete(recorded));
  }
}

function connect({ host, port }: Endpoint, password: string | undefined): Redis {
  const connection = new Redis({
    host,
    port,
    ...(password === undefined ? {} : { password }),
    commandTimeout: ANSWER_TIMEOUT_MS,
    retryStrategy: () => RECONNECT_MS,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
  });
  connection.on('error', () => undefined);
  return connection;
}
