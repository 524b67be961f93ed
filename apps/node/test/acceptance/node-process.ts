/** Nodes as real processes, as an operator runs them: built code, command line, signals. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

const START_TIMEOUT_MS = 60_000;
const CLI_TIMEOUT_MS = 120_000;

/** A scratch directory with a KEK in it; everything in it goes when the test ends. */
export interface Workspace {
  readonly path: string;
  readonly dataPath: string;
  readonly kekPath: string;
  remove(): Promise<void>;
}

export async function workspace(): Promise<Workspace> {
  const path = await mkdtemp(join(tmpdir(), 'raftseal-acceptance-'));
  const kekPath = join(path, 'kek');
  await writeFile(kekPath, randomBytes(32));
  await chmod(kekPath, 0o600);
  const remove = (): Promise<void> => rm(path, { recursive: true, force: true });
  return { path, kekPath, dataPath: join(path, 'data'), remove };
}

export interface NodeProcess {
  readonly redisPort: number;
  readonly adminUrl: string;
  client(): Redis;
  /** Stops it as an operator does; resolves to the exit code. */
  stop(): Promise<number | null>;
  kill(): Promise<void>;
}

/** Starts a node on free ports; resolves once it says that it is ready. */
export async function startNode(
  { dataPath, kekPath }: Pick<Workspace, 'dataPath' | 'kekPath'>,
  options: readonly string[] = [],
): Promise<NodeProcess> {
  const child = spawnNode(['--data', dataPath, '--kek', `file:${kekPath}`, ...options]);
  const ports = await readyPorts(child);
  const exited = once(child, 'exit');
  const clients: Redis[] = [];
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    child.kill(signal);
    await exited;
    for (const client of clients) client.disconnect();
    return child.exitCode;
  };
  return {
    redisPort: ports.redis,
    adminUrl: `http://127.0.0.1:${ports.admin}`,
    client: () => {
      const client = new Redis(ports.redis, '127.0.0.1', { retryStrategy: () => null });
      client.on('error', () => undefined);
      clients.push(client);
      return client;
    },
    stop: () => end('SIGTERM'),
    kill: async () => {
      await end('SIGKILL');
    },
  };
}

/** How a start ended that was refused. */
export interface Refusal {
  readonly exitCode: number | null;
  readonly stderr: string;
}

/** Starts a node that must not come up. */
export async function refusedStart(options: readonly string[]): Promise<Refusal> {
  return runCommand(['start', '--port', '0', '--admin-port', '0', ...options]);
}

/** Runs a `raftseal` command to its end. */
export function runCommand(
  args: readonly string[],
): Promise<Refusal & { readonly stdout: string }> {
  assertBuilt();
  return new Promise((resolve, reject) => {
    const child = execFile(
      process.execPath,
      [main, ...args],
      { timeout: CLI_TIMEOUT_MS, maxBuffer: 256 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (error?.killed) reject(error);
        else resolve({ exitCode: child.exitCode, stdout, stderr });
      },
    );
  });
}

/** Runs a command against a running node; fails where the command does. */
export async function command(
  node: NodeProcess,
  { dataPath }: Pick<Workspace, 'dataPath'>,
  args: readonly string[],
): Promise<string> {
  const result = await runCommand([...args, '--admin', node.adminUrl, '--data', dataPath]);
  if (result.exitCode !== 0) {
    throw new Error(`raftseal ${args.join(' ')}: ${result.stderr}${result.stdout}`);
  }
  return result.stdout;
}

function spawnNode(options: readonly string[]): ChildProcess {
  assertBuilt();
  const ports = ['--port', '0', '--admin-port', '0'];
  return spawn(process.execPath, [main, 'start', ...ports, ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

function assertBuilt(): void {
  if (!existsSync(main)) throw new Error('apps/node is not built: run `pnpm run build` first');
}

async function readyPorts(
  child: ChildProcess,
): Promise<{ readonly redis: number; readonly admin: number }> {
  const output: string[] = [];
  child.stderr?.on('data', (chunk: Buffer) => output.push(chunk.toString()));
  const late = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS);
  try {
    if (!child.stdout) throw new Error('a node process has a standard output');
    for await (const line of createInterface(child.stdout)) {
      output.push(line);
      const entry: unknown = JSON.parse(line);
      if (typeof entry === 'object' && entry !== null && 'redis' in entry && 'admin' in entry) {
        child.stdout.resume();
        return { redis: Number(entry.redis), admin: Number(entry.admin) };
      }
    }
    throw new Error(`the node did not become ready:\n${output.join('\n')}`);
  } finally {
    clearTimeout(late);
  }
}
