import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { octal, temporaryDirectory } from '../temporary-directory.ts';
import { type CommandEnd, runCommand } from './command-run.ts';

/** Two ports that were free a moment ago. */
async function freePorts(): Promise<readonly [number, number]> {
  const servers = [createServer(), createServer()];
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    ports.push(typeof address === 'object' ? (address?.port ?? 0) : 0);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return [ports[0] ?? 0, ports[1] ?? 0];
}

/** Runs `start` until the node is healthy, then sends it the signal that ends it. */
async function startAndEnd(
  args: readonly string[],
  signal: 'SIGTERM' | 'SIGINT' = 'SIGTERM',
): Promise<CommandEnd> {
  const [port, adminPort] = await freePorts();
  const ports = ['--port', `${port}`, '--admin-port', `${adminPort}`];
  const ended = runCommand(['start', '--log-level', 'silent', ...ports, ...args]);
  const healthy = async (): Promise<boolean> =>
    fetch(`http://127.0.0.1:${adminPort}/health`).then(
      ({ ok }) => ok,
      () => false,
    );
  let over = false;
  void ended.then(() => {
    over = true;
  });
  while (!over && !(await healthy())) await new Promise((done) => setTimeout(done, 5));
  if (!over) process.emit(signal, signal);
  return await ended;
}

function newKek(root: string): string {
  const path = join(root, 'kek');
  writeFileSync(path, Buffer.alloc(32, 7), { mode: 0o600 });
  return `file:${path}`;
}

describe('raftseal start', () => {
  // Once it is loaded, a port that was found free is soon taken.
  beforeAll(() => import('../../src/node.ts'));

  afterEach(() => void vi.unstubAllEnvs());

  it.each(['SIGTERM', 'SIGINT'] as const)('serves until %s, and exits with 0', async (signal) => {
    const root = temporaryDirectory();
    const data = join(root, 'data');
    const args = ['--data', data, '--kek', newKek(root), '--shards', '1'];
    expect(await startAndEnd(args, signal)).toEqual({ exitCode: 0, stdout: '', stderr: '' });
    expect(await readdir(data)).toEqual([
      'admin.token',
      'audit',
      'keys',
      'log',
      'raftseal.json',
      'shards',
    ]);
    expect(JSON.parse(await readFile(join(data, 'raftseal.json'), 'utf8'))).toMatchObject({
      shardCount: 1,
    });
    expect(process.listenerCount(signal)).toBe(0);
  });

  it('to try it out, makes a KEK in the folder of the user, once', async () => {
    const root = temporaryDirectory();
    vi.stubEnv('XDG_CONFIG_HOME', join(root, 'config'));
    const args = ['--data', join(root, 'data'), '--shards', '1', '--trial'];
    expect((await startAndEnd(args)).exitCode).toBe(0);
    const path = join(root, 'config', 'raftseal', 'trial.kek');
    const kek = await readFile(path);
    expect(kek).toHaveLength(32);
    expect(octal((await stat(path)).mode)).toBe('600');
    expect(octal((await stat(join(path, '..'))).mode)).toBe('700');
    expect((await startAndEnd(args)).exitCode).toBe(0);
    expect(await readFile(path)).toEqual(kek);
  });

  it('makes no KEK where it is given one, or needs none', async () => {
    const root = temporaryDirectory();
    vi.stubEnv('XDG_CONFIG_HOME', join(root, 'config'));
    const trial = ['--shards', '1', '--trial'];
    const withKek = [...trial, '--data', join(root, 'one'), '--kek', newKek(root)];
    expect((await startAndEnd(withKek)).exitCode).toBe(0);
    const inTheClear = [...trial, '--data', join(root, 'two'), '--encryption', 'off'];
    expect((await startAndEnd(inTheClear)).exitCode).toBe(0);
    expect(existsSync(join(root, 'config'))).toBe(false);
  });

  it('is refused without a KEK, before anything is made', async () => {
    const data = join(temporaryDirectory(), 'data');
    const end = await runCommand(['start', '--data', data]);
    expect(end.exitCode).toBe(1);
    expect(end.stderr).toMatch(/^raftseal: RAFTSEAL_NODE_KEK_REQUIRED: /);
    expect(existsSync(data)).toBe(false);
  });

  const wrong: readonly (readonly string[])[] = [
    ['--shards', '0'],
    ['--shards', '1025'],
    ['--port', '65536'],
    ['--port', '-1'],
    ['--admin-port', 'x'],
    ['--encryption', 'yes'],
    ['--cache', 'much'],
    ['--log-level', 'loud'],
    ['--password-file', '/none/such'],
  ];

  it.each(wrong)(
    'is refused with %s %s and exit status 2, before anything is made',
    async (...args) => {
      const root = temporaryDirectory();
      const data = join(root, 'data');
      const end = await runCommand(['start', '--data', data, '--kek', newKek(root), ...args]);
      expect(end).toMatchObject({ exitCode: 2, stdout: '' });
      expect(end.stderr).toMatch(/^raftseal: RAFTSEAL_NODE_OPTION: --[a-z-]+: /);
      expect(existsSync(data)).toBe(false);
    },
  );

  const etcd = ['--etcd', 'http://127.0.0.1:2379'];
  const token = ['--peer-token-file', '/t'];
  const wrongTogether: readonly (readonly [string, readonly string[]])[] = [
    ['RAFTSEAL_NODE_OPTION', ['--role', 'voter']],
    ['RAFTSEAL_NODE_OPTION', ['--tls-cert', '/c']],
    ['RAFTSEAL_NODE_OPTION', etcd],
    ['RAFTSEAL_NODE_OPTION', [...etcd, ...token, '--etcd-prefix', 'x']],
    ['RAFTSEAL_NODE_OPTION', [...etcd, ...token, '--etcd-user', 'x']],
    ['RAFTSEAL_NODE_OPTION', [...etcd, ...token, '--advertise-host', '0.0.0.0']],
    ['RAFTSEAL_NODE_EXPOSED', [...etcd, ...token, '--peer-host', '10.0.0.1']],
    ['RAFTSEAL_NODE_EXPOSED', [...etcd, ...token, '--advertise-host', '10.0.0.1']],
    ['RAFTSEAL_NODE_EXPOSED', ['--etcd', 'http://10.0.0.1:2379', ...token]],
  ];

  it.each(wrongTogether)(
    'is refused with %s for %s, before anything is made',
    async (code, args) => {
      const root = temporaryDirectory();
      const data = join(root, 'data');
      const end = await runCommand(['start', '--data', data, '--kek', newKek(root), ...args]);
      expect(end.stderr).toMatch(new RegExp(`^raftseal: ${code}: `));
      expect(end.exitCode).toBe(code === 'RAFTSEAL_NODE_OPTION' ? 2 : 1);
      expect(existsSync(data)).toBe(false);
    },
  );

  it('is refused where anybody could write to it without a password', async () => {
    const root = temporaryDirectory();
    const data = join(root, 'data');
    const exposed = ['start', '--data', data, '--kek', newKek(root), '--host', '0.0.0.0'];
    const end = await runCommand(exposed);
    expect(end.exitCode).toBe(1);
    expect(end.stderr).toMatch(/RAFTSEAL_NODE_EXPOSED/);
    expect(existsSync(data)).toBe(false);
  });

  it('is refused with a KEK that others may read', async () => {
    const root = temporaryDirectory();
    const uri = newKek(root);
    chmodSync(uri.replace('file:', ''), 0o644);
    const end = await runCommand(['start', '--data', join(root, 'data'), '--kek', uri]);
    expect(end.stderr).toMatch(/RAFTSEAL_KEK_FILE_MODE/);
    expect(end.exitCode).toBe(1);
  });
});
