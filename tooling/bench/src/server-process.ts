/** Servers under test as processes of their own, on free loopback ports and scratch directories. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import type { Teardown } from './teardown.ts';

export interface ServerProcess {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  readonly directory: string;
  /** Ends the process with a signal and waits until it is gone. */
  end(signal?: NodeJS.Signals): Promise<void>;
}

export interface ServerCommand {
  readonly name: string;
  /** Where it answers PING. */
  readonly port: number;
  readonly directory: string;
  readonly command: readonly [program: string, ...args: string[]];
  readonly options?: SpawnOptions;
}

const READY_TIMEOUT_MS = 120_000;
const ENDED_WITHIN_MS = 30_000;
/** Asks the kernel to end a program with the process that started it, however that ends. */
const SETPRIV = '/usr/bin/setpriv';

export const nodeMain: string = fileURLToPath(
  new URL('../../../apps/node/dist/main.js', import.meta.url),
);

/** Redis with every write flushed before it is acknowledged. */
export async function startRedis(directory: string, teardown: Teardown): Promise<ServerProcess> {
  const port = await freePort();
  const options = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', '', '--bind'];
  const args = ['--port', `${port}`, '--dir', directory, ...options, '127.0.0.1'];
  const name = 'redis, appendfsync always';
  return startServer({ name, port, directory, command: ['redis-server', ...args] }, teardown);
}

export type NodeMode = 'sealed' | 'cleartext';

/** A raftseal node; `sealed` seals its log and its values. */
export async function startNode(
  directory: string,
  mode: NodeMode,
  teardown: Teardown,
): Promise<ServerProcess> {
  const port = await freePort();
  const adminPort = await freePort();
  const sealing = mode === 'sealed' ? ['--trial'] : ['--encryption', 'off'];
  const args = [nodeMain, 'start', '--data', join(directory, 'data'), '--log-level', 'error'];
  const ports = ['--port', `${port}`, '--admin-port', `${adminPort}`];
  const env = { ...process.env, XDG_CONFIG_HOME: directory };
  const command = [process.execPath, ...args, ...ports, ...sealing] as const;
  const name = `raftseal, ${mode}`;
  return startServer({ name, port, directory, command, options: { env } }, teardown);
}

/** Resolves once the server answers; the teardown ends it, if nobody has before. */
export async function startServer(
  { name, port, directory, command, options }: ServerCommand,
  teardown: Teardown,
): Promise<ServerProcess> {
  const [program, ...args] = existsSync(SETPRIV)
    ? ([SETPRIV, '--pdeathsig', 'KILL', ...command] as const)
    : command;
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'], ...options });
  const end = (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => endChild(child, signal);
  teardown.add(() => end());
  const client = clientInWaiting(port);
  const late = setTimeout(() => client.disconnect(), READY_TIMEOUT_MS);
  try {
    const exited = once(child, 'exit').then(() => {
      throw new Error('it ended');
    });
    await Promise.race([client.ping(), exited]);
  } catch (error) {
    throw new Error(`${name} does not serve: is ${command[0]} installed?`, { cause: error });
  } finally {
    clearTimeout(late);
    client.disconnect();
  }
  return { name, port, pid: child.pid ?? 0, directory, end };
}

async function endChild(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const isGone = child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
  if (isGone) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  const insist = setTimeout(() => child.kill('SIGKILL'), ENDED_WITHIN_MS);
  await exited;
  clearTimeout(insist);
}

/** Connects again and again, until it is disconnected. */
function clientInWaiting(port: number): Redis {
  const client = new Redis(port, '127.0.0.1', {
    maxRetriesPerRequest: null,
    retryStrategy: () => 5,
  });
  return client.on('error', () => undefined);
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
