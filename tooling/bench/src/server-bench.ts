/**
 * SET and GET through the Redis protocol: a sealed node, a node in the clear, and Redis flushing
 * every write, in turns, over the same keys and sizes.
 */
import { CLIENTS, KEYS, type LoadResult, redisBenchmark, VALUE_BYTES } from './redis-benchmark.ts';
import { scratchDirectory } from './scratch-directory.ts';
import { type ServerProcess, startNode, startRedis } from './server-process.ts';
import { formatSpread, ratios, spread } from './statistics.ts';
import { table } from './table.ts';
import { closing } from './teardown.ts';

export interface ServerBenchOptions {
  readonly rounds: number;
  /** Multiplies the number of requests of every run. */
  readonly scale: number;
}

const cases = [
  { command: 'set', pipeline: 1, requests: 150_000 },
  { command: 'get', pipeline: 1, requests: 200_000 },
  { command: 'set', pipeline: 16, requests: 600_000 },
  { command: 'get', pipeline: 16, requests: 1_000_000 },
] as const;

export function serverBench(options: ServerBenchOptions): Promise<string> {
  return closing(async (teardown) => {
    const redis = await startRedis(await scratchDirectory(teardown), teardown);
    const sealed = await startNode(await scratchDirectory(teardown), 'sealed', teardown);
    const cleartext = await startNode(await scratchDirectory(teardown), 'cleartext', teardown);
    const servers = [redis, sealed, cleartext];
    for (const { port } of servers) {
      await redisBenchmark({ port, command: 'set', requests: 5 * KEYS, pipeline: 16 });
    }
    const rows: string[][] = [];
    for (const { command, pipeline, requests } of cases) {
      const load = { command, pipeline, requests: Math.round(requests * options.scale) };
      rows.push(...report(load, await inTurns(servers, load, options.rounds)));
    }
    const head = ['command', 'server', 'per second', 'p50 ms', 'p99 ms', '/ redis', '/ cleartext'];
    const setting = `${VALUE_BYTES} B values, ${KEYS} keys, ${CLIENTS} connections`;
    return `## SET and GET, ${setting}, ${options.rounds} rounds\n\n${table(head, rows)}`;
  });
}

type Case = {
  readonly command: 'set' | 'get';
  readonly pipeline: number;
  readonly requests: number;
};

async function inTurns(
  servers: readonly ServerProcess[],
  load: Case,
  rounds: number,
): Promise<readonly (readonly [ServerProcess, LoadResult[]])[]> {
  const results = servers.map((server) => [server, []] as [ServerProcess, LoadResult[]]);
  for (let round = 0; round < rounds; round++) {
    for (const [{ port }, done] of results) done.push(await redisBenchmark({ port, ...load }));
  }
  return results;
}

function report(
  { command, pipeline }: Case,
  results: readonly (readonly [ServerProcess, readonly LoadResult[]])[],
): string[][] {
  const rates = results.map(([, runs]) => runs.map(({ perSecond }) => perSecond));
  const [redis = [], , cleartext = []] = rates;
  return results.map(([{ name }, runs], i) => {
    const own = rates[i] ?? [];
    return [
      `${command.toUpperCase()}, pipeline ${pipeline}`,
      name,
      formatSpread(spread(own), 0),
      formatSpread(spread(runs.map(({ p50Ms }) => p50Ms)), 2),
      formatSpread(spread(runs.map(({ p99Ms }) => p99Ms)), 1),
      i === 0 ? '1' : formatSpread(spread(ratios(own, redis)), 2),
      i === 1 ? formatSpread(spread(ratios(own, cleartext)), 2) : '',
    ];
  });
}
