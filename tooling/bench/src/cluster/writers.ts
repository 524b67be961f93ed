/**
 * Clients that write to each shard again and again, and note when they were answered.
 *
 * - `direct`: one that knows every node, goes at once where it is sent, and after any other failure
 *   asks the next node: it shows when the cluster takes writes again.
 * - `ioredis`: that library's cluster client as it comes, with its own pauses between attempts: it
 *   shows what an ordinary client sees.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Redis, Cluster as RedisCluster } from 'ioredis';
import type { Teardown } from '../teardown.ts';
import { longestPauseMs, type Window } from './pauses.ts';
import { shardKeys } from './shard-keys.ts';

export const clientNames = ['direct', 'ioredis'] as const;
export type ClientName = (typeof clientNames)[number];

/** Between two writes to a shard: nothing shorter is seen. */
const PAUSE_MS = 5;
const RETRY_MS = 2;
const ANSWER_WITHIN_MS = 20_000;

type Write = (key: string, value: string) => Promise<unknown>;

export class Writers {
  readonly #acknowledgedMs: Record<ClientName, number[][]>;
  #stopped = false;

  static async start(
    ports: readonly number[],
    shardCount: number,
    teardown: Teardown,
  ): Promise<Writers> {
    const writers = new Writers(shardCount);
    const nodes = new Map(ports.map((port) => [port, connection(port)]));
    const cluster = new RedisCluster(ports.map((port) => ({ host: '127.0.0.1', port })));
    cluster.on('error', () => undefined);
    const [first] = nodes.values();
    if (first === undefined) throw new RangeError('there are no nodes');
    await Promise.all([...nodes.values()].map((node) => node.connect()));
    const keys = await shardKeys(first, shardCount);
    for (const [shardId, key] of keys.entries()) {
      void writers.#run('direct', shardId, key, directWrite(nodes, ports));
      void writers.#run('ioredis', shardId, key, (name, value) => cluster.set(name, value));
    }
    teardown.add(() => {
      writers.#stopped = true;
      cluster.disconnect();
      for (const node of nodes.values()) node.disconnect();
    });
    return writers;
  }

  private constructor(shardCount: number) {
    const perShard = (): number[][] => Array.from({ length: shardCount }, () => []);
    this.#acknowledgedMs = { direct: perShard(), ioredis: perShard() };
  }

  /** Whether every write loop has been answered since a moment. */
  areAnsweredSince(sinceMs: number): boolean {
    const shards = Object.values(this.#acknowledgedMs).flat();
    return shards.every((acknowledgedMs) => (acknowledgedMs.at(-1) ?? 0) > sinceMs);
  }

  longestPauseMs(client: ClientName, shardId: number, window: Window): number {
    return longestPauseMs(this.#acknowledgedMs[client][shardId] ?? [], window);
  }

  async #run(client: ClientName, shardId: number, key: string, write: Write): Promise<void> {
    const acknowledgedMs = this.#acknowledgedMs[client][shardId];
    for (let n = 1; !this.#stopped; n++) {
      try {
        await write(key, `${n}`);
        acknowledgedMs?.push(performance.now());
        await delay(PAUSE_MS);
      } catch {
        await delay(RETRY_MS);
      }
    }
  }
}

/** Nothing waits in the client: what cannot be sent now, and what was not answered, fails. */
function connection(port: number): Redis {
  const node = new Redis(port, '127.0.0.1', {
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: ANSWER_WITHIN_MS,
    retryStrategy: () => 20,
  });
  return node.on('error', () => undefined);
}

function directWrite(nodes: ReadonlyMap<number, Redis>, ports: readonly number[]): Write {
  let place = 0;
  return async (key, value) => {
    try {
      return await nodes.get(ports[place] ?? 0)?.set(key, value);
    } catch (error) {
      const [, port] = /^MOVED \d+ \S*:(\d+)$/.exec((error as Error).message) ?? [];
      const there = ports.indexOf(Number(port));
      place = there === -1 ? (place + 1) % ports.length : there;
      throw error;
    }
  };
}
