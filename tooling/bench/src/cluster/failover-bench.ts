/**
 * How long writes stand still when a node is killed, when it is stopped in good order, and when it
 * comes back and its shards are handed back to it. Three nodes over three members of etcd; on
 * loopback the connections of a killed process break at once, so what is left is the lease.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { quantile } from '../statistics.ts';
import { table } from '../table.ts';
import { closing, type Teardown } from '../teardown.ts';
import { until } from '../until.ts';
import { Cluster, type ClusterNode, ledBy } from './cluster.ts';
import type { Window } from './pauses.ts';
import { type ClientName, clientNames, Writers } from './writers.ts';

const NODE_COUNT = 3;
const SHARD_COUNT = 12;
/** The default, and the least that a node takes. */
const leaseTtls = [5_000, 2_000] as const;
const CALM_MS = 2_000;
const RESUMED_WITHIN_MS = 60_000;

type Fault = 'no fault' | 'kill -9' | 'SIGTERM' | 'back again';

/** Pauses in ms, of every shard that was concerned, each time. */
type Pauses = Map<Fault, Record<ClientName, number[]>>;

export async function failoverBench(rounds: number): Promise<string> {
  const rows: string[][] = [];
  for (const leaseTtlMs of leaseTtls) {
    const pauses = await closing((teardown) => measure(leaseTtlMs, rounds, teardown));
    rows.push(...report(leaseTtlMs, pauses));
  }
  const head = ['lease ms', 'event', 'client', 'pauses', 'median ms', 'p99 ms', 'longest ms'];
  const setting = `${NODE_COUNT} nodes, ${SHARD_COUNT} shards, each event ${rounds} times`;
  return `## Pauses of writes per shard, ${setting}\n\n${table(head, rows)}`;
}

async function measure(leaseTtlMs: number, rounds: number, teardown: Teardown): Promise<Pauses> {
  const cluster = await Cluster.start({ shardCount: SHARD_COUNT, leaseTtlMs }, teardown);
  for (let n = 0; n < NODE_COUNT; n++) await (await cluster.add('voter')).start();
  await cluster.settled();
  const ports = cluster.nodes.map(({ redisPort }) => redisPort);
  const writers = await Writers.start(ports, SHARD_COUNT, teardown);
  await allResumed(writers);
  const pauses: Pauses = new Map();
  const note = (fault: Fault, shardIds: readonly number[], window: Window): void => {
    const found = pauses.get(fault) ?? { direct: [], ioredis: [] };
    pauses.set(fault, found);
    for (const client of clientNames) {
      found[client].push(...shardIds.map((id) => writers.longestPauseMs(client, id, window)));
    }
  };
  for (let round = 0; round < rounds; round++) {
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      const calmMs = performance.now();
      await delay(CALM_MS);
      note('no fault', cluster.shardIds, { fromMs: calmMs, untilMs: performance.now() });
      const victim = cluster.nodes[(2 * round + (signal === 'SIGTERM' ? 1 : 0)) % NODE_COUNT];
      if (victim === undefined) throw new RangeError('there are no nodes');
      const shardIds = await ledBy(victim);
      const fault = signal === 'SIGKILL' ? 'kill -9' : signal;
      note(fault, shardIds, await ended(victim, signal, writers));
      note('back again', shardIds, await backAgain(victim, cluster, writers));
    }
  }
  return pauses;
}

async function ended(
  victim: ClusterNode,
  signal: NodeJS.Signals,
  writers: Writers,
): Promise<Window> {
  const fromMs = performance.now();
  await victim.end(signal);
  await allResumed(writers);
  // A shard may change hands more than once.
  await delay(CALM_MS);
  await allResumed(writers);
  return { fromMs, untilMs: performance.now() };
}

async function backAgain(victim: ClusterNode, cluster: Cluster, writers: Writers): Promise<Window> {
  const fromMs = performance.now();
  await victim.start();
  await cluster.settled();
  await allResumed(writers);
  return { fromMs, untilMs: performance.now() };
}

async function allResumed(writers: Writers): Promise<void> {
  const sinceMs = performance.now();
  const what = 'a write to each shard to be acknowledged';
  await until(() => writers.areAnsweredSince(sinceMs), { what, withinMs: RESUMED_WITHIN_MS });
}

function report(leaseTtlMs: number, pauses: Pauses): string[][] {
  return [...pauses].flatMap(([fault, byClient]) =>
    clientNames.map((client) => {
      const found = byClient[client];
      const shown = [0.5, 0.99, 1].map((share) => quantile(found, share).toFixed(0));
      return [`${leaseTtlMs}`, fault, client, `${found.length}`, ...shown];
    }),
  );
}
