/**
 * An ordinary cluster client, set up so that no command whose outcome is unknown is sent again: a
 * second copy of an increment would be counted as one operation and be blamed on the cluster.
 *
 * ioredis sends a command again (as of 5.11)
 * - after MOVED and ASK, up to `maxRedirections` times, and after TRYAGAIN: these words say that
 *   nothing was done, and that they are true is part of what is tested;
 * - after CLUSTERDOWN, unless `retryDelayOnClusterDown` is 0;
 * - after its connection broke, unless `retryDelayOnFailover` is 0: the one that must not be;
 * - over a new connection of the same node, never: a node's connection is not opened again
 *   (`clusterNodeRetryStrategy` is null) but replaced, and what was under way has failed by then.
 *   `autoResendUnfulfilledCommands` and `maxRetriesPerRequest` say the same once more.
 *
 * It also sends READONLY to every node that it takes for a replica, and reads from such a node when
 * the connection to the master is gone: answers that may be stale, since READONLY asks for them.
 * Here nothing asks for them.
 */
import { Cluster, type Redis } from 'ioredis';
import type { Command, Reply } from '../linearizability/operation.ts';
import { type Outcome, outcomeOfError, replyOf } from './outcome.ts';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface ClusterClientOptions {
  readonly nodes: readonly Endpoint[];
  readonly password?: string;
  /** How long an answer is waited for. */
  readonly timeoutMs: number;
}

const CONNECT_TIMEOUT_MS = 1_000;
const SLOTS_REFRESH_MS = 1_000;
const RECONNECT_MS = 100;
const REDIRECTIONS_MAX = 6;

/** For what waits in the library's queues, where its own timeout does not count. */
const GRACE_MS = 500;

export class ClusterClient {
  readonly #cluster: Cluster;
  readonly #timeoutMs: number;

  constructor({ nodes, password, timeoutMs }: ClusterClientOptions) {
    this.#timeoutMs = timeoutMs;
    this.#cluster = new Cluster([...nodes], {
      clusterRetryStrategy: () => RECONNECT_MS,
      clusterNodeRetryStrategy: null,
      maxRedirections: REDIRECTIONS_MAX,
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
      retryDelayOnTryAgain: 20,
      retryDelayOnMoved: 20,
      slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
      slotsRefreshInterval: SLOTS_REFRESH_MS,
      redisOptions: {
        ...(password === undefined ? {} : { password }),
        commandTimeout: timeoutMs,
        connectTimeout: CONNECT_TIMEOUT_MS,
        autoResendUnfulfilledCommands: false,
        maxRetriesPerRequest: 0,
      },
    });
    this.#cluster.on('error', () => undefined);
    this.#cluster.on('+node', (node: Redis) => {
      node.readonly = () => Promise.resolve('OK');
    });
  }

  /** Resolves once the cluster was reached; never fails. */
  async ready(): Promise<void> {
    if (this.#cluster.status === 'ready') return;
    await new Promise<void>((resolve) => this.#cluster.once('ready', resolve));
  }

  /** Never fails: see {@link Outcome}. Several commands are one transaction. */
  async perform(commands: readonly Command[]): Promise<Outcome> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Outcome>((resolve) => {
      const outcome: Outcome = { outcome: 'unknown', reason: 'no answer in time' };
      timer = setTimeout(resolve, this.#timeoutMs + GRACE_MS, outcome);
    });
    const performed = this.#send(commands).then(
      (replies): Outcome => ({ outcome: 'done', replies }),
      outcomeOfError,
    );
    try {
      return await Promise.race([performed, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#cluster.disconnect();
  }

  async #send(commands: readonly Command[]): Promise<readonly Reply[]> {
    const [first, ...others] = commands;
    if (first === undefined) throw new RangeError('an operation has one command at least');
    if (others.length === 0) return [replyOf(await this.#cluster.call(...lowerCase(first)))];
    const transaction = this.#cluster.multi();
    for (const command of commands) transaction.call(...lowerCase(command));
    const results = await transaction.exec();
    if (results === null) throw new Error('EXEC answered nil, without a WATCH');
    return results.map(([error, reply]) => replyOf(error ?? reply));
  }
}

/** ioredis finds the keys of a command by its name in small letters. */
function lowerCase([name, ...args]: Command): [string, ...string[]] {
  return [name.toLowerCase(), ...args];
}
