/** Servers under test as processes of their own, on free loopback ports and scratch directories. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';

export interface ServerProcess {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  readonly directory: string;
  /** Ends the process with a signal and waits until it is gone. */
  end(signal?: NodeJS.Signals): Promise<void>;
}

const READY_TIMEOUT_MS = 120_000;
const nodeMain = fileURLToPath(new URL('../../../apps/node/dist/main.js', import.meta.url));

export async function scratchDirectory(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'raftseal-bench-'));
}

export async function removeDirectory(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
}

/** Redis with every write flushed before it is acknowledged. */
export async function startRedis(directory: string): Promise<ServerProcess> {
  const port = await freePort();
  const options = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', '', '--bind'];
  const args = ['--port', `${port}`, '--dir', directory, ...options, '127.0.0.1'];
  return ready('redis, appendfsync always', port, directory, spawn('redis-server', args, quiet));
}

export type NodeMode = 'sealed' | 'cleartext';

/** A raftseal node; `sealed` seals its log and its values. */
export async function startNode(directory: string, mode: NodeMode): Promise<ServerProcess> {
  const port = await freePort();
  const adminPort = await freePort();
  const sealing = mode === 'sealed' ? ['--trial'] : ['--encryption', 'off'];
  const args = [nodeMain, 'start', '--data', join(directory, 'data'), '--log-level', 'error'];
  const ports = ['--port', `${port}`, '--admin-port', `${adminPort}`];
  const env = { ...process.env, XDG_CONFIG_HOME: directory };
  const child = spawn(process.execPath, [...args, ...ports, ...sealing], { ...quiet, env });
  return ready(`raftseal, ${mode}`, port, directory, child);
}

const quiet: SpawnOptions = { stdio: ['ignore', 'ignore', 'inherit'] };

async function ready(
  name: string,
  port: number,
  directory: string,
  child: ChildProcess,
): Promise<ServerProcess> {
  const exited = once(child, 'exit');
  const failed = once(child, 'error').then(([error]) => {
    throw new Error(`${name} cannot be started: apt-get install redis-server`, { cause: error });
  });
  failed.catch(() => undefined);
  await Promise.race([
    answersPing(port),
    failed,
    exited.then(() => {
      throw new Error(`${name} ended before it served`);
    }),
  ]);
  return {
    name,
    port,
    pid: child.pid ?? 0,
    directory,
    end: async (signal = 'SIGTERM') => {
      child.kill(signal);
      await exited;
    },
  };
}

async function answersPing(port: number): Promise<void> {
  const client = new Redis(port, '127.0.0.1', {
    maxRetriesPerRequest: null,
    retryStrategy: () => 5,
  });
  client.on('error', () => undefined);
  const late = setTimeout(() => client.disconnect(), READY_TIMEOUT_MS);
  try {
    await client.ping();
  } finally {
    clearTimeout(late);
    client.disconnect();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
