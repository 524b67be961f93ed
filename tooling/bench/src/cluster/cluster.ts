/** Three members of etcd and nodes over them, as processes on loopback that trust one token. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startEtcd } from '@raftseal/etcd-for-tests';
import { scratchDirectory } from '../scratch-directory.ts';
import { freePort, nodeMain, type ServerProcess, startServer } from '../server-process.ts';
import type { Teardown } from '../teardown.ts';
import { until } from '../until.ts';

export interface ClusterOptions {
  readonly shardCount: number;
  readonly leaseTtlMs: number;
}

/** As the admin API shows it. */
export interface NodeStatus {
  readonly ready: boolean;
  readonly shards: readonly {
    readonly shardId: number;
    readonly state: string;
    readonly appliedIndex: string;
    readonly durableIndex: string;
  }[];
}

interface NodePlace {
  readonly name: string;
  readonly directory: string;
  readonly redisPort: number;
  readonly adminPort: number;
  readonly token: string;
  readonly command: readonly [program: string, ...args: string[]];
}

const ANSWER_WITHIN_MS = 5_000;
const READY_WITHIN_MS = 60_000;
/** Longer than the nodes take to consider another transfer. */
const SETTLED_FOR_MS = 2_000;
const SETTLED_WITHIN_MS = 120_000;
const SPACE_BYTES = 8 * 2 ** 30;

export class ClusterNode {
  readonly redisPort: number;
  readonly #place: NodePlace;
  readonly #teardown: Teardown;
  #process: ServerProcess | undefined;

  constructor(place: NodePlace, teardown: Teardown) {
    this.redisPort = place.redisPort;
    this.#place = place;
    this.#teardown = teardown;
  }

  get name(): string {
    return this.#place.name;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Resolves once the node is ready; again after it has ended, over the same data. */
  async start(): Promise<void> {
    const { name, directory, redisPort: port, command } = this.#place;
    const log = await open(this.#logPath, 'a');
    try {
      const options = { stdio: ['ignore', log.fd, 'inherit'] as const };
      const server = { name, port, directory, command, options: { stdio: [...options.stdio] } };
      this.#process = await startServer(server, this.#teardown);
    } finally {
      await log.close();
    }
    const isReady = async (): Promise<boolean> => (await this.status()).ready;
    await until(isReady, { what: `${name} to be ready`, withinMs: READY_WITHIN_MS });
  }

  /** The signal is sent before this returns; resolves once the process is gone. */
  async end(signal: NodeJS.Signals): Promise<void> {
    await this.#process?.end(signal);
  }

  status(): Promise<NodeStatus> {
    return this.#get<NodeStatus>('/v1/status');
  }

  /** How many entries the log of a shard has, `most` being counted; undefined while it changes. */
  async logLength(shardId: number, most: number): Promise<number | undefined> {
    const path = `/v1/log?shard=${shardId}&limit=${most}`;
    const entries = await this.#get<readonly unknown[]>(path).catch(() => undefined);
    return entries?.length;
  }

  /** What the node has logged with this message: one record for each time, in order. */
  async logged(message: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const lines = (await readFile(this.#logPath, 'utf8')).trim().split('\n');
    const records = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    return records.filter(({ msg }) => msg === message);
  }

  get #logPath(): string {
    return join(this.#place.directory, 'log');
  }

  async #get<Answer>(path: string): Promise<Answer> {
    const response = await fetch(`http://127.0.0.1:${this.#place.adminPort}${path}`, {
      headers: { authorization: `Bearer ${this.#place.token}` },
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    if (!response.ok) throw new Error(`${path} answered ${response.status}`);
    return (await response.json()) as Answer;
  }
}

export class Cluster {
  readonly nodes: ClusterNode[] = [];
  readonly shardIds: readonly number[];
  readonly #options: ClusterOptions;
  readonly #directory: string;
  readonly #etcdEndpoints: readonly string[];
  readonly #teardown: Teardown;

  /** Starts the members of etcd, and no node yet. */
  static async start(options: ClusterOptions, teardown: Teardown): Promise<Cluster> {
    const directory = await scratchDirectory(teardown);
    const extraFlags = [`--quota-backend-bytes=${SPACE_BYTES}`];
    const etcd = await startEtcd({ members: 3, directory, extraFlags });
    teardown.add(() => etcd.close());
    const secret = (name: string, content: string | Buffer): Promise<void> =>
      writeFile(join(directory, name), content, { mode: 0o600 });
    await secret('kek', randomBytes(32));
    await secret('token', randomBytes(32).toString('hex'));
    return new Cluster(options, directory, etcd.endpoints, teardown);
  }

  private constructor(
    options: ClusterOptions,
    directory: string,
    etcdEndpoints: readonly string[],
    teardown: Teardown,
  ) {
    this.shardIds = Array.from({ length: options.shardCount }, (_, shardId) => shardId);
    this.#options = options;
    this.#directory = directory;
    this.#etcdEndpoints = etcdEndpoints;
    this.#teardown = teardown;
  }

  /** Adds a node; it does not run yet. */
  async add(role: 'voter' | 'learner'): Promise<ClusterNode> {
    const name = `node ${this.nodes.length + 1}`;
    const directory = join(this.#directory, `node-${this.nodes.length + 1}`);
    await mkdir(directory, { mode: 0o700 });
    const [redisPort, adminPort, peerPort] = [await freePort(), await freePort(), await freePort()];
    const tokenPath = join(this.#directory, 'token');
    const flags: Readonly<Record<string, string>> = {
      data: join(directory, 'data'),
      shards: `${this.#options.shardCount}`,
      kek: `file:${join(this.#directory, 'kek')}`,
      port: `${redisPort}`,
      'admin-port': `${adminPort}`,
      'token-file': tokenPath,
      etcd: this.#etcdEndpoints.join(),
      'etcd-space': `${SPACE_BYTES}`,
      'lease-ttl': `${this.#options.leaseTtlMs}`,
      role,
      'peer-port': `${peerPort}`,
      'peer-token-file': tokenPath,
    };
    const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]);
    const command = [process.execPath, nodeMain, 'start', ...args] as const;
    const token = await readFile(tokenPath, 'utf8');
    const place = { name, directory, redisPort, adminPort, token, command };
    const node = new ClusterNode(place, this.#teardown);
    this.nodes.push(node);
    return node;
  }

  /** Resolves once each node leads as many shards, and has led them for a while. */
  async settled(): Promise<void> {
    const share = this.shardIds.length / this.nodes.length;
    let led: readonly string[] = [];
    let sinceMs = performance.now();
    const isSettled = async (): Promise<boolean> => {
      const found = await Promise.all(this.nodes.map(ledBy));
      const texts = found.map((shardIds) => `[${shardIds.join()}]`);
      const isShared = found.every(({ length }) => Math.abs(length - share) < 1);
      if (!isShared || texts.join() !== led.join()) sinceMs = performance.now();
      led = texts;
      return performance.now() - sinceMs > SETTLED_FOR_MS;
    };
    const what = (): string => `nodes that lead as many shards each, not ${led.join()}`;
    await until(isSettled, { what, withinMs: SETTLED_WITHIN_MS, everyMs: 100 });
  }
}

/** Ids of the shards that a node leads. */
export async function ledBy(node: ClusterNode): Promise<readonly number[]> {
  const { shards } = await node.status();
  return shards.filter(({ state }) => state === 'leading').map(({ shardId }) => shardId);
}
