/** Restart time and memory of a sealed node against the number of keys it holds. */
import { readFile } from 'node:fs/promises';
import { loadKeys } from './load-keys.ts';
import { VALUE_BYTES } from './redis-benchmark.ts';
import { scratchDirectory } from './scratch-directory.ts';
import { type ServerProcess, startNode } from './server-process.ts';
import { formatSpread, spread } from './statistics.ts';
import { table } from './table.ts';
import { closing, type Teardown } from './teardown.ts';

const keyCounts = [10_000, 100_000, 1_000_000] as const;

export async function growthBench(rounds: number): Promise<string> {
  const rows: string[][] = [];
  for (const keys of keyCounts) {
    rows.push(await closing((teardown) => grow(keys, rounds, teardown)));
  }
  const head = [
    'keys',
    'RSS loaded MB',
    'restart after stop ms',
    'after kill -9 ms',
    'RSS then MB',
  ];
  return `## Restart and memory of a sealed node, ${VALUE_BYTES} B values\n\n${table(head, rows)}`;
}

async function grow(keys: number, rounds: number, teardown: Teardown): Promise<string[]> {
  const directory = await scratchDirectory(teardown);
  let node = await startNode(directory, 'sealed', teardown);
  await loadKeys({ port: node.port, keys });
  const loadedMb = await rssMb(node);
  const stopped: number[] = [];
  const killed: number[] = [];
  const restartedMb: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await node.end('SIGTERM');
    const afterStop = await timedStart(directory, teardown);
    stopped.push(afterStop.ms);
    restartedMb.push(await rssMb(afterStop.node));
    // Some writes that no checkpoint holds yet, so that there is a log to replay.
    await loadKeys({ port: afterStop.node.port, keys: Math.min(keys, 100_000) });
    await afterStop.node.end('SIGKILL');
    const afterKill = await timedStart(directory, teardown);
    killed.push(afterKill.ms);
    node = afterKill.node;
  }
  return [
    `${keys}`,
    loadedMb.toFixed(0),
    formatSpread(spread(stopped), 0),
    formatSpread(spread(killed), 0),
    formatSpread(spread(restartedMb), 0),
  ];
}

async function timedStart(
  directory: string,
  teardown: Teardown,
): Promise<{ readonly node: ServerProcess; readonly ms: number }> {
  const startMs = performance.now();
  const node = await startNode(directory, 'sealed', teardown);
  return { node, ms: performance.now() - startMs };
}

/** Resident memory, where /proc tells it. */
async function rssMb({ pid }: ServerProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? Number.NaN) / 1024;
}
