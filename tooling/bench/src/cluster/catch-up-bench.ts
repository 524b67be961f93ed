/**
 * How fast a node catches up with one that leads every shard: a new learner, for which the log no
 * longer reaches back far enough, installs snapshots; then it is stopped (SIGSTOP) while as many
 * keys are written again, and follows the log when it goes on; then, level with the leader, it shows
 * how soon after its acknowledgement a write can be read on it.
 */
import { Redis } from 'ioredis';
import { loadKeys } from '../load-keys.ts';
import { VALUE_BYTES } from '../redis-benchmark.ts';
import { formatSpread, quantile, spread } from '../statistics.ts';
import { table } from '../table.ts';
import { closing, type Teardown } from '../teardown.ts';
import { until } from '../until.ts';
import { Cluster, type ClusterNode } from './cluster.ts';

const keyCounts = [10_000, 100_000] as const;
const SHARD_COUNT = 4;
const LEASE_TTL_MS = 5_000;
const VISIBLE_WRITES = 500;
/** Of a log that was truncated as far as it ever is. */
const TRUNCATED_LENGTH = 2;
const CAUGHT_UP_WITHIN_MS = 120_000;

interface CatchUp {
  readonly snapshotMs: number;
  readonly logMs: number;
  /** From the acknowledgement of each write until it was read on the learner. */
  readonly visibleMs: readonly number[];
}

export async function catchUpBench(rounds: number): Promise<string> {
  const rows: string[][] = [];
  for (const keys of keyCounts) {
    const found: CatchUp[] = [];
    for (let round = 0; round < rounds; round++) {
      found.push(await closing((teardown) => measure(keys, teardown)));
    }
    rows.push(report(keys, found));
  }
  const head = [
    'keys',
    'snapshots: rows/s',
    'MB/s of values',
    'log: writes/s',
    'MB/s of values',
    'visible after ms, p50',
    'p99',
  ];
  const setting = `${VALUE_BYTES} B values, ${SHARD_COUNT} shards, ${rounds} rounds`;
  return `## A learner that catches up, ${setting}\n\n${table(head, rows)}`;
}

async function measure(keys: number, teardown: Teardown): Promise<CatchUp> {
  const options = { shardCount: SHARD_COUNT, leaseTtlMs: LEASE_TTL_MS };
  const cluster = await Cluster.start(options, teardown);
  const leader = await cluster.add('voter');
  await leader.start();
  await loadKeys({ port: leader.redisPort, keys });
  await truncated(leader);
  const learner = await cluster.add('learner');
  await learner.start();
  const snapshotMs = await installedInMs(learner);
  const logMs = await followedInMs(leader, learner, keys);
  const visibleMs = await visibleAfterMs(leader, learner, teardown);
  return { snapshotMs, logMs, visibleMs };
}

/** Resolves once no log has more than its last entries: the rest is in the stores alone. */
async function truncated(leader: ClusterNode): Promise<void> {
  const isTruncated = async (): Promise<boolean> => {
    const { shards } = await leader.status();
    const lengths = await Promise.all(
      shards.map(({ shardId }) => leader.logLength(shardId, TRUNCATED_LENGTH + 1)),
    );
    return lengths.every((length) => length !== undefined && length <= TRUNCATED_LENGTH);
  };
  const what = 'truncated logs';
  await until(isTruncated, { what, withinMs: CAUGHT_UP_WITHIN_MS, everyMs: 250 });
}

/** From when it was admitted until the last shard was installed, by its own log. */
async function installedInMs(learner: ClusterNode): Promise<number> {
  const [admitted] = await learner.logged('admitted to the cluster');
  const installed = await learner.logged('a snapshot was installed');
  if (new Set(installed.map(({ shardId }) => shardId)).size !== SHARD_COUNT) {
    throw new Error(`expected a snapshot of each shard to be installed, found ${installed.length}`);
  }
  return Number(installed.at(-1)?.time) - Number(admitted?.time);
}

async function followedInMs(
  leader: ClusterNode,
  learner: ClusterNode,
  keys: number,
): Promise<number> {
  process.kill(learner.pid, 'SIGSTOP');
  await loadKeys({ port: leader.redisPort, keys, prefix: 'late:' });
  const wanted = await appliedIndexes(leader);
  const goesOnMs = performance.now();
  process.kill(learner.pid, 'SIGCONT');
  const isLevel = async (): Promise<boolean> => (await appliedIndexes(learner)) === wanted;
  await until(isLevel, {
    what: 'the learner to be level with the leader',
    withinMs: CAUGHT_UP_WITHIN_MS,
    everyMs: 5,
  });
  return performance.now() - goesOnMs;
}

async function appliedIndexes(node: ClusterNode): Promise<string> {
  const { shards } = await node.status();
  return shards.map(({ appliedIndex }) => appliedIndex).join();
}

async function visibleAfterMs(
  leader: ClusterNode,
  learner: ClusterNode,
  teardown: Teardown,
): Promise<readonly number[]> {
  const writer = new Redis(leader.redisPort, '127.0.0.1');
  const reader = new Redis(learner.redisPort, '127.0.0.1');
  teardown.add(() => writer.disconnect());
  teardown.add(() => reader.disconnect());
  await reader.readonly();
  const delaysMs: number[] = [];
  for (let n = 0; n < VISIBLE_WRITES; n++) {
    const key = `key:${n}`;
    const value = `${n}`;
    await writer.set(key, value);
    const acknowledgedMs = performance.now();
    while ((await reader.get(key)) !== value);
    delaysMs.push(performance.now() - acknowledgedMs);
  }
  return delaysMs;
}

function report(keys: number, found: readonly CatchUp[]): string[] {
  const rates = (times: readonly number[]): readonly [string, string] => {
    const perSecond = times.map((ms) => (keys * 1000) / ms);
    const megabytes = perSecond.map((rate) => (rate * VALUE_BYTES) / 1e6);
    return [formatSpread(spread(perSecond), 0), formatSpread(spread(megabytes), 1)];
  };
  const visible = (share: number): string =>
    formatSpread(spread(found.map(({ visibleMs }) => quantile(visibleMs, share))), 2);
  return [
    `${keys}`,
    ...rates(found.map(({ snapshotMs }) => snapshotMs)),
    ...rates(found.map(({ logMs }) => logMs)),
    visible(0.5),
    visible(0.99),
  ];
}
