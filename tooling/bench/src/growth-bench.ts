/** Restart time and memory of a sealed node against the number of keys it holds. */
import { readFile } from 'node:fs/promises';
import { Redis } from 'ioredis';
import { VALUE_BYTES } from './redis-benchmark.ts';
import {
  removeDirectory,
  type ServerProcess,
  scratchDirectory,
  startNode,
} from './server-process.ts';
import { formatSpread, spread } from './statistics.ts';
import { table } from './table.ts';

const keyCounts = [10_000, 100_000, 1_000_000] as const;
const PIPELINE = 500;

export async function growthBench(rounds: number): Promise<string> {
  const rows: string[][] = [];
  for (const keys of keyCounts) {
    const directory = await scratchDirectory();
    try {
      rows.push(await grow(directory, keys, rounds));
    } finally {
      await removeDirectory(directory);
    }
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

async function grow(directory: string, keys: number, rounds: number): Promise<string[]> {
  let node = await startNode(directory, 'sealed');
  await load(node.port, keys);
  const loadedMb = await rssMb(node);
  const stopped: number[] = [];
  const killed: number[] = [];
  const restartedMb: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await node.end('SIGTERM');
    const afterStop = await timedStart(directory);
    stopped.push(afterStop.ms);
    restartedMb.push(await rssMb(afterStop.node));
    // Some writes that no checkpoint holds yet, so that there is a log to replay.
    await load(afterStop.node.port, Math.min(keys, 100_000));
    await afterStop.node.end('SIGKILL');
    const afterKill = await timedStart(directory);
    killed.push(afterKill.ms);
    node = afterKill.node;
  }
  await node.end();
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
): Promise<{ readonly node: ServerProcess; readonly ms: number }> {
  const startMs = performance.now();
  const node = await startNode(directory, 'sealed');
  return { node, ms: performance.now() - startMs };
}

async function load(port: number, keys: number): Promise<void> {
  const client = new Redis(port, '127.0.0.1');
  const value = 'x'.repeat(VALUE_BYTES);
  try {
    for (let first = 0; first < keys; first += PIPELINE) {
      const pipeline = client.pipeline();
      for (let i = first; i < Math.min(first + PIPELINE, keys); i++) {
        pipeline.set(`key:${i.toString().padStart(12, '0')}`, value);
      }
      await pipeline.exec();
    }
  } finally {
    client.disconnect();
  }
}

/** Resident memory, where /proc tells it. */
async function rssMb({ pid }: ServerProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? Number.NaN) / 1024;
}
