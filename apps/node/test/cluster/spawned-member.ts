/** Nodes of a cluster as processes of their own, which can be stopped, resumed and killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { NodeStatus, ShardDigest } from '../../src/admin/operations.ts';
import type { NodeConfig } from '../../src/config.ts';
import type { LogLine } from './cluster-steps.ts';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

export class SpawnedMember {
  readonly config: NodeConfig;
  readonly #child: ChildProcess;
  readonly #lines: LogLine[] = [];
  readonly #errors: string[] = [];
  readonly #exited: Promise<unknown>;

  /** Spawns it, and kills it when the test is over, if it has not ended before. */
  constructor(config: NodeConfig) {
    if (!existsSync(main)) throw new Error('apps/node is not built: run `pnpm run build` first');
    this.config = config;
    const args = [main, 'start', ...argumentsOf(config)];
    this.#child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#exited = once(this.#child, 'exit');
    const { stdout, stderr } = this.#child;
    if (!stdout || !stderr) throw new Error('a child has an output');
    createInterface(stdout).on('line', (line) => this.#lines.push(JSON.parse(line) as LogLine));
    createInterface(stderr).on('line', (line) => this.#errors.push(line));
    const kill = (): unknown => this.#child.kill('SIGKILL');
    process.once('exit', kill);
    this.#child.once('exit', () => process.off('exit', kill));
    onTestFinished(() => this.kill());
  }

  /** Resolves once the node serves. */
  static async start(config: NodeConfig): Promise<SpawnedMember> {
    const member = new SpawnedMember(config);
    await member.said(({ admin }) => admin !== undefined);
    return member;
  }

  get log(): readonly LogLine[] {
    return this.#lines;
  }

  /** Lines of its standard error. */
  get errors(): readonly string[] {
    return this.#errors;
  }

  get redisPort(): number {
    return this.#lines.find(({ redis }) => redis !== undefined)?.redis ?? 0;
  }

  get adminUrl(): string {
    const adminPort = this.#lines.find(({ admin }) => admin !== undefined)?.admin;
    return `http://127.0.0.1:${adminPort}`;
  }

  /** Resolves with the first line of its log that is as asked. */
  async said(isIt: (line: LogLine) => boolean): Promise<LogLine> {
    for (;;) {
      const found = this.#lines.find(isIt);
      if (found) return found;
      if (this.#hasEnded) {
        const said = [...this.#lines.map((line) => JSON.stringify(line)), ...this.#errors];
        throw new Error(`the node has ended:\n${said.join('\n')}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  status(): Promise<NodeStatus> {
    return this.#ask('/v1/status');
  }

  digest(): Promise<Readonly<Record<number, ShardDigest>>> {
    return this.#ask('/v1/digest');
  }

  /** SIGSTOP: it does nothing, and its connections stay open. */
  pause(): void {
    this.#child.kill('SIGSTOP');
  }

  /** SIGCONT */
  resume(): void {
    this.#child.kill('SIGCONT');
  }

  /** SIGTERM, as an operator stops it. */
  terminate(): void {
    this.#child.kill('SIGTERM');
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** Resolves to its exit status; null where a signal ended it. */
  async ended(): Promise<number | null> {
    await this.#exited;
    return this.#child.exitCode;
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  async #ask<T>(path: string): Promise<T> {
    const token = (await readFile(join(this.config.dataPath, 'admin.token'), 'utf8')).trim();
    const headers = { authorization: `Bearer ${token}` };
    const signal = AbortSignal.timeout(10_000);
    const response = await fetch(`${this.adminUrl}${path}`, { headers, signal });
    if (!response.ok) throw new Error(`${path} is answered with ${response.status}`);
    return (await response.json()) as T;
  }
}

/** The command line that starts a node of this configuration, on ports that are free. */
function argumentsOf({ dataPath, shardCount, encryption, kekUris, cluster }: NodeConfig): string[] {
  if (!cluster) throw new TypeError('a member of a cluster has its configuration');
  const { etcd, peer, role, reads, advertise } = cluster;
  if (peer.security.kind !== 'token') throw new TypeError('members of a test share a token');
  const options: Readonly<Record<string, string | number | undefined>> = {
    data: dataPath,
    encryption,
    port: 0,
    'admin-port': 0,
    shards: shardCount,
    kek: kekUris[0],
    etcd: etcd.endpoints.join(),
    'etcd-prefix': etcd.prefix,
    'etcd-space': etcd.spaceBytesMax,
    'lease-ttl': etcd.leaseTtlMs,
    role,
    reads,
    'peer-port': peer.port,
    'peer-token-file': peer.security.tokenPath,
    'advertise-peer-port': advertise.peer.port === 0 ? undefined : advertise.peer.port,
  };
  return Object.entries(options).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, `${value}`],
  );
}
