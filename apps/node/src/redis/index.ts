/**
 * The Redis front end of a node: a TCP server that speaks RESP2 and RESP3 and reaches the store
 * through the port {@link Keyspace} alone. It answers as Redis 7 does, byte for byte, but for this:
 *
 * - There is one database, one user, no replica and no blocking, scripting or pub/sub command.
 * - Commands of the front end (DBSIZE, KEYS) inside MULTI run after the data commands around them.
 * - A key that was absent when it was watched, set and deleted since, does not abort EXEC.
 * - With several shards, all keys of a command, a transaction and its WATCH share one slot.
 * - In a cluster (`Keyspace.topology`) it answers as Redis Cluster does: `router.ts` says who is sent
 *   where, `slot-map.ts` how leaders and followers are shown as masters and replicas. What changes
 *   a cluster is refused, and WATCH is for the leader alone, in READONLY mode too.
 * - CONFIG SET changes nothing but thresholds without an effect; SHUTDOWN and DEBUG are refused.
 * - WAIT answers 0 at once: an answered write is already as durable as it gets.
 */
import type { AddressInfo } from 'node:net';
import { FrontEnd, type RedisServerParts } from './front-end.ts';
import type { RedisServerOptions } from './options.ts';
import type { RedisStatistics } from './statistics.ts';

export type { ServerEvent } from './client.ts';
export type { ClusterNode, ClusterTopology, SlotRange } from './cluster-topology.ts';
export type { RedisServerParts } from './front-end.ts';
export type { Keyspace, ProposalDone, ReadConfirmed, Shard } from './keyspace.ts';
export type { RedisServerOptions } from './options.ts';
export { shardErrorText } from './shard-errors.ts';
export type { RedisStatistics } from './statistics.ts';

export interface RedisServer {
  /** @throws RAFTSEAL_NODE_PORT where the address cannot be listened on. */
  listen(): Promise<void>;
  /**
   * Takes no further client and no further request, gives what was answered `graceMs` (default 1
   * s) to leave, and closes every connection. Idempotent.
   */
  close(graceMs?: number): Promise<void>;
  /** Undefined while the server does not listen. */
  address(): AddressInfo | undefined;
  /** The port listened on; the one asked for before that. */
  readonly port: number;
  /** Number of clients connected now. */
  readonly clientCount: number;
  /** Counters since the start; live. */
  readonly statistics: Readonly<RedisStatistics>;
}

/** Makes a server; it listens once `listen()` is called. Throws RangeError for a bad bound. */
export function redisServer(options: RedisServerOptions, parts: RedisServerParts): RedisServer {
  return new FrontEnd(options, parts);
}
