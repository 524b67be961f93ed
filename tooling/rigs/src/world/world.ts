/**
 * A cluster as an operator would set it up: three members of etcd and three nodes, as processes with
 * data directories of their own. On loopback they share this machine's ports and trust one token; in
 * namespaces each has a host of its own and they know each other by certificates.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { EtcdGateway } from '../checks/etcd-gateway.ts';
import type { Endpoint } from '../history/cluster-client.ts';
import { type CertificateFiles, certificateFiles, makeCertificates } from './certificates.ts';
import { type EtcdPlace, etcdCommand, etcdEndpoint } from './etcd-member.ts';
import { freePorts } from './free-ports.ts';
import { type CommandLine, loopbackHost } from './host.ts';
import { ManagedProcess } from './managed-process.ts';
import { makeNetwork, type NetworkHost } from './network.ts';
import { NodeAdmin } from './node-admin.ts';
import {
  dataPathOf,
  type NodePlace,
  nodeCommand,
  type RaftsealNodeOptions,
} from './raftseal-node.ts';

export interface WorldOptions {
  /** Everything is kept in it. */
  readonly directory: string;
  readonly hosts: 'loopback' | 'namespaces';
  readonly shardCount: number;
  readonly encryption: 'on' | 'off';
  readonly leaseTtlMs: number;
  /** The built `main.js` of the node. */
  readonly program: string;
  /** Variables that the nodes have besides those of this process. */
  readonly environment?: Readonly<Record<string, string>>;
  /** How long nodes are given to answer a change of keys or members. */
  readonly changeTimeoutMs?: number;
}

export interface EtcdMember {
  readonly process: ManagedProcess;
  readonly place: EtcdPlace;
}

export interface ClusterNode {
  readonly process: ManagedProcess;
  readonly place: NodePlace;
  readonly dataPath: string;
  readonly admin: NodeAdmin;
  /** From its next start on; the first time it is the file of the world. */
  startWithKeks(uris: readonly string[]): void;
}

type WorldParts = Pick<
  World,
  'directory' | 'members' | 'nodes' | 'network' | 'etcd' | 'password' | 'tokenPath' | 'kekPath'
>;

const MEMBERS = ['e1', 'e2', 'e3'];
const NODES = ['n1', 'n2', 'n3'];
const PREFIX = '/raftseal';
const READY_WITHIN_MS = 60_000;
const POLL_MS = 50;
const KEK_BYTES = 32;

export class World {
  /** Everything that the processes write is in it. */
  readonly directory: string;
  readonly members: readonly EtcdMember[];
  readonly nodes: readonly ClusterNode[];
  /** Undefined on loopback, where no traffic can be cut. */
  readonly network: readonly NetworkHost[] | undefined;
  readonly etcd: EtcdGateway;
  /** Undefined on loopback, where none is needed. */
  readonly password: string | undefined;
  readonly etcdPrefix: string = PREFIX;
  readonly tokenPath: string;
  readonly kekPath: string;

  private constructor(parts: WorldParts) {
    this.directory = parts.directory;
    this.members = parts.members;
    this.nodes = parts.nodes;
    this.network = parts.network;
    this.etcd = parts.etcd;
    this.password = parts.password;
    this.tokenPath = parts.tokenPath;
    this.kekPath = parts.kekPath;
  }

  /** Makes hosts, files and command lines; starts nothing. */
  static async make(options: WorldOptions): Promise<World> {
    const { directory } = options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const network =
      options.hosts === 'namespaces' ? await makeNetwork([...MEMBERS, ...NODES]) : undefined;
    const places = await placesOf(directory, network);
    const certificates = network && (await makeCertificates(directory, network));
    const certificateOf = (name: string): CertificateFiles | undefined => {
      const host = network?.find((each) => each.name === name);
      if (certificates === undefined || host === undefined) return undefined;
      return certificateFiles(certificates, host);
    };
    const secrets = await makeSecrets(directory, network !== undefined);
    const members = await Promise.all(
      places.members.map(async (place) => {
        const { name } = place.host;
        const own = await ownDirectory(directory, name);
        const certificate = certificateOf(name);
        const everyPlace = places.members;
        const command = etcdCommand({ place, everyPlace, directory: own, certificate });
        return { place, process: processOf(place.host, own, command) };
      }),
    );
    const isTls = certificates !== undefined;
    const endpoints = places.members.map((place) => etcdEndpoint(place, isTls));
    const nodes = await Promise.all(
      places.nodes.map(async (place) => {
        const own = await ownDirectory(directory, place.host.name);
        const commandWith = (kekUris: readonly string[]): CommandLine =>
          nodeCommand({
            ...options,
            ...secrets,
            kekUris,
            place,
            directory: own,
            etcdEndpoints: endpoints,
            etcdPrefix: PREFIX,
            certificate: certificateOf(place.host.name),
          });
        const token = await readFile(secrets.tokenPath, 'utf8');
        const admin = new NodeAdmin(place, token, options.changeTimeoutMs);
        const command = commandWith([`file:${secrets.kekPath}`]);
        const process = processOf(place.host, own, command, options.environment);
        const startWithKeks = (uris: readonly string[]): void =>
          process.useCommand(commandWith(uris));
        return { place, process, admin, dataPath: dataPathOf(own), startWithKeks };
      }),
    );
    const tls = await gatewayTls(certificateOf(MEMBERS[0] ?? ''));
    const { passwordPath } = secrets;
    const password = passwordPath && (await readFile(passwordPath, 'utf8'));
    const { tokenPath, kekPath } = secrets;
    const etcd = { endpoints, tls };
    return new World({ directory, members, nodes, network, etcd, password, tokenPath, kekPath });
  }

  /** Where clients connect. */
  get endpoints(): readonly Endpoint[] {
    return this.nodes.map(({ place }) => ({ host: place.host.address, port: place.redisPort }));
  }

  get processes(): readonly ManagedProcess[] {
    return [...this.members, ...this.nodes].map(({ process }) => process);
  }

  startEtcd(): void {
    for (const { process } of this.members) process.start();
  }

  startNodes(): void {
    for (const { process } of this.nodes) process.start();
  }

  /** Resolves once every shard is led by some node. */
  async ready(): Promise<void> {
    const deadlineMs = performance.now() + READY_WITHIN_MS;
    while (!(await this.#isServing())) {
      const ended = this.processes.find(({ state }) => state === 'ended');
      if (ended !== undefined || performance.now() > deadlineMs) {
        const found = ended
          ? `${ended.name} ended:\n${ended.output().slice(-2_000)}`
          : 'not in time';
        throw new Error(`the cluster does not become ready: ${found}`);
      }
      await delay(POLL_MS);
    }
  }

  /** Ends every process, the nodes first and in good order: etcd takes seconds to do so, and need not. */
  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(({ process }) => process.stop()));
    await this.kill();
  }

  async kill(): Promise<void> {
    await Promise.all(this.processes.map((process) => process.kill()));
  }

  async #isServing(): Promise<boolean> {
    const statuses = await Promise.all(
      this.nodes.map(({ admin }) => admin.status().catch(() => undefined)),
    );
    const shards = statuses[0]?.shards ?? [];
    return (
      statuses.every((status) => status !== undefined) &&
      shards.every(({ shardId }) =>
        statuses.some((status) => status?.shards[shardId]?.state === 'leading'),
      )
    );
  }
}

/** Ports are kept: a directory that is used again has the addresses of the first time in it. */
async function placesOf(
  directory: string,
  network: readonly NetworkHost[] | undefined,
): Promise<{ readonly members: readonly EtcdPlace[]; readonly nodes: readonly NodePlace[] }> {
  const ports = network ? [] : await keptPorts(join(directory, 'ports.json'));
  const next = (fixed: number): number => ports.pop() ?? fixed;
  const hostOf = (name: string): EtcdPlace['host'] =>
    network?.find((host) => host.name === name) ?? loopbackHost(name);
  return {
    members: MEMBERS.map((name) => ({
      host: hostOf(name),
      clientPort: next(2379),
      peerPort: next(2380),
    })),
    nodes: NODES.map((name) => ({
      host: hostOf(name),
      redisPort: next(6379),
      adminPort: next(7379),
      peerPort: next(8379),
    })),
  };
}

async function keptPorts(path: string): Promise<number[]> {
  if (existsSync(path)) return JSON.parse(await readFile(path, 'utf8')) as number[];
  const ports = [...(await freePorts(2 * MEMBERS.length + 3 * NODES.length))];
  await writeFile(path, JSON.stringify(ports));
  return ports;
}

/** Made once: without the KEK of the first time, nothing in the directory opens. */
async function makeSecrets(
  directory: string,
  isExposed: boolean,
): Promise<Pick<RaftsealNodeOptions, 'passwordPath' | 'tokenPath'> & { readonly kekPath: string }> {
  const secret = async (name: string, content: string | Buffer): Promise<string> => {
    const path = join(directory, name);
    if (!existsSync(path)) await writeFile(path, content, { mode: 0o600, flag: 'wx' });
    return path;
  };
  const password = randomBytes(16).toString('hex');
  return {
    kekPath: await secret('kek', randomBytes(KEK_BYTES)),
    passwordPath: isExposed ? await secret('password', password) : undefined,
    tokenPath: await secret('token', randomBytes(32).toString('base64url')),
  };
}

async function ownDirectory(directory: string, name: string): Promise<string> {
  const own = join(directory, name);
  await mkdir(own, { recursive: true, mode: 0o700 });
  return own;
}

function processOf(
  host: EtcdPlace['host'],
  directory: string,
  command: CommandLine,
  environment: Readonly<Record<string, string>> = {},
): ManagedProcess {
  const logPath = join(directory, 'output');
  return new ManagedProcess({ name: host.name, host, command, logPath, environment });
}

async function gatewayTls(files: CertificateFiles | undefined): Promise<EtcdGateway['tls']> {
  if (files === undefined) return undefined;
  const [ca, cert, key] = await Promise.all(
    [files.caPath, files.certificatePath, files.keyPath].map((path) => readFile(path, 'utf8')),
  );
  return ca && cert && key ? { ca, cert, key } : undefined;
}
