/** Clients, recorder and checker together, against a real Redis: its histories are linearizable. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Load } from '../../src/history/load.ts';
import { HistoryRecorder } from '../../src/history/recorder.ts';
import { shardOfKey } from '../../src/history/slot.ts';
import { Workload } from '../../src/history/workload.ts';
import { linearize } from '../../src/linearizability/linearization.ts';
import { partitionByTag } from '../../src/linearizability/partition.ts';
import { Random } from '../../src/random.ts';

let redis: ChildProcess;
let port: number;
const directory = mkdtempSync(join(tmpdir(), 'raftseal-rigs-'));

beforeAll(async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  ({ port } = server.address() as AddressInfo);
  server.close();
  await once(server, 'close');
  const announced = ['--cluster-announce-ip', '127.0.0.1'];
  const cluster = ['--cluster-enabled', 'yes', '--cluster-port', `${port + 1}`, ...announced];
  const options = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', ...cluster];
  redis = spawn('redis-server', options, { cwd: directory, stdio: 'ignore' });
  for (let tries = 0; cli('cluster', 'addslotsrange', '0', '16383') !== 'OK'; tries++) {
    if (tries > 100) throw new Error('redis-server does not take the slots');
    await delay(50);
  }
  while (!cli('cluster', 'info').includes('cluster_state:ok')) await delay(50);
});

afterAll(() => {
  redis?.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

function cli(...args: readonly string[]): string {
  return spawnSync('redis-cli', ['-p', `${port}`, ...args], { encoding: 'utf8' }).stdout.trim();
}

describe('a load on a real Redis', () => {
  it('gives a history that is linearizable, on every shard and of every kind', async () => {
    const recorder = new HistoryRecorder();
    const random = new Random(1, 'load');
    const shardOf = (tag: string): number => shardOfKey(tag, 4);
    const load = new Load({
      nodes: [{ host: '127.0.0.1', port }],
      timeoutMs: 2_000,
      clients: 6,
      pauseMs: 1,
      directReadEveryMs: 10,
      random,
      recorder,
      workload: new Workload({ shardCount: 4, shardOf, random }),
    });
    await load.start();
    await delay(1_500);
    await load.stop();
    await load.readAll();
    load.close();
    const { history, totals } = recorder;
    expect({ refused: totals.refused, unknown: totals.unknown }).toEqual({
      refused: 0,
      unknown: 0,
    });
    const kinds = new Set(history.flatMap(({ commands }) => commands.map(([name]) => name)));
    expect([...kinds].sort().join(' ')).toBe('APPEND DEL GET GETSET HDEL HGET HSET INCR SET SETNX');
    expect(new Set(history.map(({ shardId }) => shardId)).size).toBe(4);
    for (const part of partitionByTag(history).values()) {
      expect(linearize(part).verdict).toBe('linearizable');
    }
  });
});
