/**
 * Kills the node that leads most shards, starts it again, and so on, while clients write. Says what
 * they saw: for how long writes stood still, and at the end that every acknowledged one is there.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ClusterClient } from '../history/cluster-client.ts';
import { shardOfKey } from '../history/slot.ts';
import type { ClusterNode, World } from '../world/world.ts';

export interface ChaosOptions {
  readonly shardCount: number;
  readonly print: (text: string) => void;
  readonly signal: AbortSignal;
}

const CLIENTS = 8;
const ANSWER_TIMEOUT_MS = 1_500;
const CALM_MS = 4_000;
const DOWN_MS = 3_000;
const REFUSED_PAUSE_MS = 20;
const KEYS = 1_000;

interface Tally {
  acknowledged: number;
  refused: number;
  unknown: number;
  /** When the last write of each shard was acknowledged. */
  readonly lastMs: number[];
  /** By shard, the longest time between two of them since it was last asked. */
  readonly longestMs: number[];
}

export async function chaos(world: World, options: ChaosOptions): Promise<void> {
  const { shardCount, print, signal } = options;
  const now = performance.now();
  const tally: Tally = {
    acknowledged: 0,
    refused: 0,
    unknown: 0,
    lastMs: Array.from({ length: shardCount }, () => now),
    longestMs: Array.from({ length: shardCount }, () => 0),
  };
  const clients = Array.from(
    { length: CLIENTS },
    () => new ClusterClient({ nodes: world.endpoints, timeoutMs: ANSWER_TIMEOUT_MS }),
  );
  await Promise.all(clients.map((client) => client.ready()));
  const written = new Map<string, Written>();
  const writing = Promise.all(
    clients.map((client, id) => writeOn(client, id, shardCount, tally, written, signal)),
  );
  while (!signal.aborted) await killLeader(world, tally, print, signal);
  await writing;
  await world.ready();
  const lost = await lostOf(clients, written);
  print(
    `${tally.acknowledged} writes acknowledged, ${lost} lost; ${tally.refused} refused, ` +
      `${tally.unknown} without an answer`,
  );
  if (lost > 0) process.exitCode = 1;
  for (const client of clients) client.close();
}

/** What a key may hold: the last acknowledged number, or a later one that was sent. */
interface Written {
  acknowledged: number;
  sent: number;
}

async function writeOn(
  client: ClusterClient,
  id: number,
  shardCount: number,
  tally: Tally,
  written: Map<string, Written>,
  signal: AbortSignal,
): Promise<void> {
  for (let n = 1; !signal.aborted; n++) {
    const key = `client:${id}:${n % KEYS}`;
    const entry = written.get(key) ?? { acknowledged: 0, sent: 0 };
    entry.sent = n;
    written.set(key, entry);
    const { outcome } = await client.perform([['SET', key, `${n}`]]);
    if (outcome === 'done') {
      entry.acknowledged = n;
      tally.acknowledged++;
      note(tally, shardOfKey(key, shardCount));
    } else {
      tally[outcome]++;
      await delay(REFUSED_PAUSE_MS);
    }
  }
}

function note({ lastMs, longestMs }: Tally, shardId: number): void {
  const now = performance.now();
  longestMs[shardId] = Math.max(longestMs[shardId] ?? 0, now - (lastMs[shardId] ?? now));
  lastMs[shardId] = now;
}

async function killLeader(
  world: World,
  tally: Tally,
  print: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  if (await isOver(CALM_MS, signal)) return;
  const { node, shards } = await busiest(world);
  tally.longestMs.fill(0);
  const { acknowledged, refused, unknown } = tally;
  print(`kill -9 ${node.process.name}, which leads ${shards} shards`);
  await node.process.kill();
  await isOver(DOWN_MS, signal);
  node.process.start();
  await isOver(DOWN_MS, signal);
  const longest = Math.max(...tally.longestMs);
  print(
    `  ${tally.acknowledged - acknowledged} writes acknowledged since; the shard that stood still ` +
      `longest did for ${(longest / 1000).toFixed(1)} s; ${tally.refused - refused} refused, ` +
      `${tally.unknown - unknown} without an answer`,
  );
}

async function busiest(
  world: World,
): Promise<{ readonly node: ClusterNode; readonly shards: number }> {
  const found = await Promise.all(
    world.nodes.map(async (node) => {
      const status = await node.admin.status().catch(() => undefined);
      const led = status?.shards.filter(({ state }) => state === 'leading') ?? [];
      return { node, shards: led.length };
    }),
  );
  return found.reduce((a, b) => (b.shards > a.shards ? b : a));
}

/** Waits, and says whether the end came meanwhile. */
async function isOver(ms: number, signal: AbortSignal): Promise<boolean> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
  return signal.aborted;
}

async function lostOf(
  clients: readonly ClusterClient[],
  written: ReadonlyMap<string, Written>,
): Promise<number> {
  const left = [...written];
  let lost = 0;
  const readers = clients.map(async (client) => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const [key, { acknowledged, sent }] = next;
      const outcome = await client.perform([['GET', key]]);
      if (outcome.outcome !== 'done') {
        left.push(next);
        await delay(REFUSED_PAUSE_MS);
        continue;
      }
      const found = Number(outcome.replies[0] ?? 0);
      if (found < acknowledged || found > sent) lost++;
    }
  });
  await Promise.all(readers);
  return lost;
}
