/** Starts front ends over memory shards, and ends them after each test. */
import { slotOf } from '@raftseal/kv';
import { afterEach } from 'vitest';
import {
  type RedisServer,
  type RedisServerOptions,
  type RedisServerParts,
  redisServer,
  type ServerEvent,
} from '../../src/redis/index.ts';
import { MemoryKeyspace, type MemoryShard } from './memory-keyspace.ts';
import { RawClient } from './raw-client.ts';

export interface Serving {
  readonly server: RedisServer;
  readonly port: number;
  readonly keyspace: MemoryKeyspace;
  /** The first shard. */
  readonly shard: MemoryShard;
  /** What the server reported. */
  readonly events: ServerEvent[];
  readonly client: () => Promise<RawClient>;
}

export interface ServeOptions extends Partial<RedisServerOptions> {
  readonly shardCount?: number;
  readonly infoSection?: RedisServerParts['infoSection'];
}

const running: RedisServer[] = [];
const clients: RawClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await Promise.all(running.splice(0).map((server) => server.close(0)));
});

export async function serve(options: ServeOptions = {}): Promise<Serving> {
  const { shardCount, infoSection, ...bounds } = options;
  const keyspace = new MemoryKeyspace(shardCount);
  const events: ServerEvent[] = [];
  const server = redisServer(
    { host: '127.0.0.1', port: 0, authFailureDelayMs: 0, ...bounds },
    {
      keyspace,
      report: (event) => events.push(event),
      ...(infoSection === undefined ? {} : { infoSection }),
    },
  );
  const client = await listening(server);
  return { server, port: server.port, keyspace, shard: keyspace.shard(0), events, client };
}

/** Starts a server until the end of the test. @returns what opens a client of it */
export async function listening(server: RedisServer): Promise<() => Promise<RawClient>> {
  await server.listen();
  running.push(server);
  return async () => {
    const opened = await RawClient.open(server.port);
    clients.push(opened);
    return opened;
  };
}

/** Waits until something holds that comes about by itself. */
export async function eventually(holds: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 5000; !holds(); ) {
    if (Date.now() > deadline) throw new Error(`it never came about: ${String(holds)}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A key of the given shard. */
export function keyOn({ keyspace }: Serving, shard: number, prefix = 'key'): string {
  for (let i = 0; ; i++) {
    const key = `${prefix}:${i}`;
    if (keyspace.shardOf(slotOf(key)) === keyspace.shard(shard)) return key;
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
