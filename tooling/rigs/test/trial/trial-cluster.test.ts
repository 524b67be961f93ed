/** The cluster to try out, as `npm run cluster` starts it: it serves, and leaves nothing behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { ClusterClient } from '../../src/history/cluster-client.ts';

const program = fileURLToPath(new URL('../../dist/trial/main.js', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'raftseal-rigs-'));
const STEP_TIMEOUT_MS = 120_000;

let child: ChildProcess | undefined;

afterAll(() => {
  child?.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

/** Starts it over the same data each time, and gives the Redis ports that it prints. */
async function start(): Promise<readonly number[]> {
  if (!existsSync(program)) throw new Error('tooling/rigs is not built: run `pnpm run build`');
  const options = ['--data', directory, '--shards', '4'];
  child = spawn(process.execPath, [program, ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  if (!child.stdout) throw new Error('the program has a standard output');
  const ports: number[] = [];
  for await (const line of createInterface(child.stdout)) {
    const port = /redis-cli -c -p (\d+)/.exec(line)?.[1];
    if (port !== undefined) ports.push(Number(port));
    if (line.startsWith('Ctrl-C')) break;
  }
  child.stdout.resume();
  return ports;
}

async function stop(): Promise<number | null> {
  if (!child) throw new Error('nothing was started');
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const [code] = (await exited) as [number | null];
  return code;
}

function clientOf(ports: readonly number[]): ClusterClient {
  const nodes = ports.map((port) => ({ host: '127.0.0.1', port }));
  return new ClusterClient({ nodes, timeoutMs: 10_000 });
}

describe('a cluster to try out', { timeout: STEP_TIMEOUT_MS }, () => {
  it('takes writes, stops when told to, and has them when it is started again', async () => {
    const keys = Array.from({ length: 20 }, (_, n) => `key ${n}`);
    const ports = await start();
    expect(ports).toHaveLength(3);
    const writer = clientOf(ports);
    for (const key of keys) {
      const written = await writer.perform([['SET', key, `value of ${key}`]]);
      expect(written).toEqual({ outcome: 'done', replies: ['OK'] });
    }
    writer.close();
    expect(await stop()).toBe(0);
    expect(await start()).toEqual(ports);
    const reader = clientOf(ports);
    for (const key of keys) {
      const read = await reader.perform([['GET', key]]);
      expect(read).toEqual({ outcome: 'done', replies: [`value of ${key}`] });
    }
    reader.close();
    expect(await stop()).toBe(0);
    for (const port of ports) await expect(fetch(`http://127.0.0.1:${port}`)).rejects.toThrow();
  });
});
