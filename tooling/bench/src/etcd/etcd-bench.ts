/**
 * Proposals through sealed shard groups over etcd, against plain puts of the same size by as many
 * callers to the same members, which are as durable; and the appends of all shards in one
 * transaction against one transaction per shard. All in turns, in this one process.
 */
import { randomBytes } from 'node:crypto';
import { startEtcd } from '@raftseal/etcd-for-tests';
import { type LoadResult, VALUE_BYTES } from '../redis-benchmark.ts';
import { scratchDirectory } from '../scratch-directory.ts';
import { formatSpread, ratios, spread } from '../statistics.ts';
import { table } from '../table.ts';
import { closing } from '../teardown.ts';
import { type Call, type ClosedLoop, closedLoop } from './closed-loop.ts';
import { PlainEtcd } from './plain-etcd.ts';
import { type Commit, openSealedShards } from './sealed-shards.ts';

export interface EtcdBenchOptions {
  readonly rounds: number;
  /** Multiplies the length of every run. */
  readonly scale: number;
}

const memberCounts = [1, 3] as const;
const callerCounts = [1, 50, 500, 2000] as const;
const shardCounts = [1, 4, 16] as const;
const RUN_MS = 1_500;
const WARM_UP_MS = 500;
const SPACE_BYTES = 8 * 2 ** 30;
const PREFIX = 'bench';

interface Place {
  readonly endpoints: readonly string[];
  readonly plain: PlainEtcd;
}

interface Subject {
  readonly name: string;
  /** Undefined: plain puts. */
  readonly shards: { readonly count: number; readonly commit: Commit } | undefined;
}

const subjects: readonly Subject[] = [
  { name: 'plain puts', shards: undefined },
  ...shardCounts.flatMap((count) => {
    const commits: readonly Commit[] =
      count === 1
        ? ['one transaction for all shards']
        : ['one transaction for all shards', 'one transaction per shard'];
    return commits.map((commit) => {
      const name = count === 1 ? '1 shard' : `${count} shards, ${commit}`;
      return { name, shards: { count, commit } };
    });
  }),
];

export async function etcdBench({ rounds, scale }: EtcdBenchOptions): Promise<string> {
  const rows: string[][] = [];
  for (const members of memberCounts) {
    await closing(async (teardown) => {
      const directory = await scratchDirectory(teardown);
      const extraFlags = [`--quota-backend-bytes=${SPACE_BYTES}`];
      const etcd = await startEtcd({ members, directory, extraFlags });
      teardown.add(() => etcd.close());
      const [endpoint = ''] = etcd.endpoints;
      const plain = new PlainEtcd(endpoint);
      teardown.add(() => plain.close());
      for (const callers of callerCounts) {
        const loop = { callers, warmUpMs: WARM_UP_MS, durationMs: RUN_MS * scale };
        const results = await inTurns({ endpoints: etcd.endpoints, plain }, loop, rounds);
        rows.push(...report(`${members}`, callers, results));
      }
    });
  }
  const head = [
    'members',
    'callers',
    'what',
    'per second',
    'p50 ms',
    'p99 ms',
    '/ plain puts',
    '/ one per shard',
  ];
  const setting = `${VALUE_BYTES} B commands, sealed, ${rounds} rounds`;
  return `## Proposals over etcd, ${setting}\n\n${table(head, rows)}`;
}

type Results = ReadonlyMap<Subject, readonly LoadResult[]>;

async function inTurns(place: Place, loop: ClosedLoop, rounds: number): Promise<Results> {
  const results = new Map(subjects.map((subject) => [subject, [] as LoadResult[]]));
  for (let round = 0; round < rounds; round++) {
    for (const [subject, done] of results) {
      done.push(await measure(subject, place, loop));
      await place.plain.clear(PREFIX);
    }
  }
  return results;
}

function measure({ shards }: Subject, place: Place, loop: ClosedLoop): Promise<LoadResult> {
  const command = randomBytes(VALUE_BYTES);
  if (shards === undefined) return closedLoop(putOf(place.plain, command), loop);
  return closing(async (teardown) => {
    const { endpoints } = place;
    const { count: shardCount, commit } = shards;
    const options = { endpoints, prefix: PREFIX, shardCount, commit, spaceBytesMax: SPACE_BYTES };
    const groups = await openSealedShards(options, teardown);
    let next = 0;
    const propose: Call = (_, done) => {
      next = (next + 1) % groups.length;
      groups[next]?.propose(command, done);
    };
    return closedLoop(propose, loop);
  });
}

/** Each put has a key of its own, as each entry of a log has. */
function putOf(plain: PlainEtcd, value: Buffer): Call {
  let puts = 0;
  return (_, done) => {
    puts += 1;
    plain.put(Buffer.from(`${PREFIX}/${puts.toString(16).padStart(16, '0')}`), value, done);
  };
}

function report(members: string, callers: number, results: Results): string[][] {
  const ratesOf = (wanted: (subject: Subject) => boolean): number[] => {
    const found = [...results].find(([subject]) => wanted(subject));
    return (found?.[1] ?? []).map(({ perSecond }) => perSecond);
  };
  const puts = ratesOf(({ shards }) => shards === undefined);
  return [...results].map(([subject, runs]) => {
    const { name, shards } = subject;
    const own = runs.map(({ perSecond }) => perSecond);
    const single = ratesOf(
      (other) =>
        shards?.commit === 'one transaction for all shards' &&
        other.shards?.commit === 'one transaction per shard' &&
        other.shards.count === shards.count,
    );
    return [
      members,
      `${callers}`,
      name,
      formatSpread(spread(own), 0),
      formatSpread(spread(runs.map(({ p50Ms }) => p50Ms)), 2),
      formatSpread(spread(runs.map(({ p99Ms }) => p99Ms)), 1),
      shards === undefined ? '1' : formatSpread(spread(ratios(own, puts)), 1),
      single.length === 0 ? '' : formatSpread(spread(ratios(own, single)), 2),
    ];
  });
}
