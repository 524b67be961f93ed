/** A cluster of one or three members on loopback ports, and what was set up in it. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EtcdTls, makeCertificates } from './certificates.ts';
import { freePorts } from './free-ports.ts';
import { type EtcdMember, Member } from './member.ts';
import { run } from './program.ts';

export interface EtcdUser {
  readonly name: string;
  /** Without one, the user is known by the common name of a client certificate only. */
  readonly password?: string;
  /** May read and write every key that begins so. */
  readonly keyPrefix: string;
}

export interface EtcdOptions {
  /** Default 1. */
  readonly members?: 1 | 3;
  /** Where the members keep their data; default: a new temporary directory. */
  readonly directory?: string;
  /** Clients come over TLS; with `clientCertificates` only those with a certificate. */
  readonly tls?: { readonly clientCertificates: boolean };
  /** Authentication is on: user `root` with this password, and these others. */
  readonly auth?: { readonly rootPassword: string; readonly users: readonly EtcdUser[] };
  readonly extraFlags?: readonly string[];
}

export interface EtcdCluster {
  /** One URL for each member, in order. */
  readonly endpoints: readonly string[];
  /** Present with the option `tls`. */
  readonly tls: EtcdTls | undefined;
  member(place: number): EtcdMember;
  /** Runs etcdctl, as root where authentication is on; resolves with its standard output. */
  etcdctl(...args: readonly string[]): Promise<string>;
  /** Ends the processes and removes what they wrote. Idempotent. */
  close(): Promise<void>;
}

const ATTEMPTS = 5;

/** Resolves once every member is healthy. */
export async function startEtcd(options: EtcdOptions = {}): Promise<EtcdCluster> {
  for (let attempt = 1; ; attempt++) {
    const cluster = await prepare(options);
    try {
      await cluster.start();
      return cluster;
    } catch (error) {
      await cluster.close();
      const isPortTaken = String(error).includes('address already in use');
      if (!isPortTaken || attempt === ATTEMPTS) throw error;
    }
  }
}

async function prepare(options: EtcdOptions): Promise<Cluster> {
  const parent = options.directory ?? tmpdir();
  await mkdir(parent, { recursive: true });
  const directory = await mkdtemp(join(parent, 'etcd-'));
  const tls = options.tls && (await makeCertificates(directory));
  const count = options.members ?? 1;
  const ports = await freePorts(3 * count);
  const at = (member: number, port: number): string => `127.0.0.1:${ports[3 * member + port]}`;
  const names = Array.from({ length: count }, (_, place) => `m${place}`);
  const shared = [
    '--initial-cluster',
    names.map((name, place) => `${name}=http://${at(place, 1)}`).join(),
    '--initial-cluster-token',
    directory,
    '--logger=zap',
    '--log-level=warn',
    ...(options.tls ? tlsFlags(directory, options.tls) : []),
    ...(options.extraFlags ?? []),
  ];
  const members: Member[] = [];
  for (const [place, name] of names.entries()) {
    const endpoint = `${tls ? 'https' : 'http'}://${at(place, 0)}`;
    const metricsUrl = `http://${at(place, 2)}`;
    const memberDirectory = join(directory, name);
    await mkdir(memberDirectory);
    const hasMajority = (): boolean =>
      2 * members.filter((member) => member.isRunning).length > members.length;
    const own = ['--name', name, '--listen-client-urls', endpoint];
    own.push('--advertise-client-urls', endpoint, '--listen-metrics-urls', metricsUrl);
    own.push('--listen-peer-urls', `http://${at(place, 1)}`);
    own.push('--initial-advertise-peer-urls', `http://${at(place, 1)}`);
    const flags = [...own, ...shared];
    members.push(
      new Member({ directory: memberDirectory, endpoint, metricsUrl, flags, hasMajority }),
    );
  }
  return new Cluster(directory, members, tls, options.auth);
}

function tlsFlags(directory: string, tls: { readonly clientCertificates: boolean }): string[] {
  const file = (name: string): string => join(directory, name);
  const server = ['--cert-file', file('server.pem'), '--key-file', file('server-key.pem')];
  if (!tls.clientCertificates) return server;
  return [...server, '--client-cert-auth', '--trusted-ca-file', file('ca.pem')];
}

class Cluster implements EtcdCluster {
  readonly endpoints: readonly string[];
  readonly tls: EtcdTls | undefined;
  readonly #directory: string;
  readonly #members: readonly Member[];
  readonly #auth: EtcdOptions['auth'];
  #accessFlags: Promise<string[]> | undefined;
  #isAuthOn = false;
  #closed: Promise<void> | undefined;

  constructor(
    directory: string,
    members: readonly Member[],
    tls: EtcdTls | undefined,
    auth: EtcdOptions['auth'],
  ) {
    this.#directory = directory;
    this.#members = members;
    this.#auth = auth;
    this.tls = tls;
    this.endpoints = members.map(({ endpoint }) => endpoint);
  }

  async start(): Promise<void> {
    for (const member of this.#members) member.start();
    await Promise.all(this.#members.map((member) => member.healthy()));
    if (this.#auth !== undefined) await this.#enableAuth(this.#auth);
  }

  member(place: number): EtcdMember {
    const member = this.#members[place];
    if (member === undefined) throw new RangeError(`there is no member ${place}`);
    return member;
  }

  async etcdctl(...args: readonly string[]): Promise<string> {
    this.#accessFlags ??= this.#tlsFlags();
    const patience = ['--command-timeout', '15s'];
    const flags = [...(await this.#accessFlags), ...patience, '--endpoints', this.endpoints.join()];
    const auth = this.#isAuthOn ? this.#auth : undefined;
    if (auth) flags.push('--user', `root:${auth.rootPassword}`);
    return run('etcdctl', [...flags, ...args], { environment: { ETCDCTL_API: '3' } });
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.kill()));
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #enableAuth({ rootPassword, users }: NonNullable<EtcdOptions['auth']>): Promise<void> {
    await this.etcdctl('user', 'add', `root:${rootPassword}`);
    await this.etcdctl('user', 'grant-role', 'root', 'root');
    for (const { name, password, keyPrefix } of users) {
      const user = password === undefined ? ['--no-password', name] : [`${name}:${password}`];
      await this.etcdctl('user', 'add', ...user);
      await this.etcdctl('role', 'add', name);
      const grant = ['role', 'grant-permission', '--prefix', name, 'readwrite', keyPrefix];
      await this.etcdctl(...grant);
      await this.etcdctl('user', 'grant-role', name, name);
    }
    await this.etcdctl('auth', 'enable');
    this.#isAuthOn = true;
  }

  async #tlsFlags(): Promise<string[]> {
    if (this.tls === undefined) return [];
    const { certificatePem, keyPem } = await this.tls.clientCertificate('root');
    const file = (name: string): string => join(this.#directory, name);
    await writeFile(file('etcdctl.pem'), certificatePem);
    await writeFile(file('etcdctl-key.pem'), keyPem, { mode: 0o600 });
    const own = ['--cert', file('etcdctl.pem'), '--key', file('etcdctl-key.pem')];
    return ['--cacert', file('ca.pem'), ...own];
  }
}
