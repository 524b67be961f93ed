/** The real Redis, started for a test on a free port of the loopback interface. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { exchange } from './raw-client.ts';

export interface RedisReference {
  readonly port: number;
  stop(): void;
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = address !== null && typeof address === 'object' ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

async function answers(port: number, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (child.exitCode !== null) throw new Error(`redis-server ended with code ${child.exitCode}`);
    const reply = await exchange(port, 'PING\r\n').catch(() => '');
    if (/^[+-]/.test(reply)) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('redis-server does not answer');
}

export async function redisReference(...options: readonly string[]): Promise<RedisReference> {
  const version = spawnSync('redis-server', ['--version'], { encoding: 'utf8' });
  if (version.error !== undefined) {
    throw new Error(
      'redis-server is missing: these tests compare with it; run apt-get install redis-server',
    );
  }
  const port = await freePort();
  const child = spawn(
    'redis-server',
    ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
      .concat(['--databases', '1', '--loglevel', 'warning'])
      .concat(options),
    { stdio: 'ignore', cwd: '/tmp' },
  );
  try {
    await answers(port, child);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  return { port, stop: () => child.kill('SIGKILL') };
}
