/** What a node is started with, after the command line was read and checked. */
import { isIP } from 'node:net';
import { RaftsealError } from '@raftseal/interface';
import type { RotationPolicy } from './rotation-policy.ts';

export interface NodeConfig {
  /** Path of the data directory. */
  readonly dataPath: string;
  /** Undefined: as the directory has it, or the default for a new one. */
  readonly shardCount: number | undefined;
  /** `off`: values and logs stay in the clear, until encryption is enabled on the running node. */
  readonly encryption: 'on' | 'off';
  /**
   * One at least while encryption is on; with it off, needed to enable it later. Each key is wrapped
   * under all of them.
   */
  readonly kekUris: readonly string[];
  readonly redis: TlsListenerConfig & { readonly password: string | undefined };
  readonly admin: TlsListenerConfig & {
    /** Default: `admin.token` in the data directory, made at the first start. */
    readonly tokenPath: string | undefined;
  };
  /** Memory for values that GET finds without touching the disk, over all shards, in bytes. */
  readonly cacheBytesMax: number;
  /** When keys are rotated without an operator. Default: after 90 days. */
  readonly rotation?: RotationPolicy;
  /** Left out: this node is alone, and its logs are on its own disk. */
  readonly cluster?: ClusterConfig;
}

export interface ListenerConfig {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
}

/** A listener that clients of any kind use. Without `tls` it speaks in the clear. */
export interface TlsListenerConfig extends ListenerConfig {
  readonly tls?: ListenerTls;
}

export interface ListenerTls {
  /** PEM: the certificate of this node, then those between it and its CA. */
  readonly certificatePath: string;
  readonly keyPath: string;
  /** PEM: where given, clients must show a certificate that one of these CAs has signed. */
  readonly clientCaPath?: string;
}

/** A node whose logs are in etcd, shared with the other nodes of its cluster. */
export interface ClusterConfig {
  readonly etcd: EtcdConfig;
  /** A learner applies the logs and is never elected. */
  readonly role: 'voter' | 'learner';
  /** What a linearizable read rests on: the clock of the lease, or an answer of etcd to each. */
  readonly reads: 'lease' | 'strict';
  /** Where the other nodes of the cluster connect. */
  readonly peer: ListenerConfig & { readonly security: PeerSecurity };
  /** What other nodes and clients are told. Port 0 stands for the one that the listener gets. */
  readonly advertise: { readonly redis: Address; readonly peer: Address };
}

export interface EtcdConfig {
  /** Such as https://10.0.0.1:2379. */
  readonly endpoints: readonly string[];
  /** What every key of the cluster begins with, such as /raftseal. */
  readonly prefix: string;
  readonly caPath?: string;
  readonly certificatePath?: string;
  readonly keyPath?: string;
  readonly userName?: string;
  readonly passwordPath?: string;
  /** How large the database of etcd may grow, in bytes: its own quota. */
  readonly spaceBytesMax: number;
  /** For how long etcd believes a silent node to be alive, in ms. */
  readonly leaseTtlMs: number;
}

/** How nodes of one cluster know each other. */
export type PeerSecurity =
  | {
      readonly kind: 'mtls';
      /** PEM: the CA that signs the certificates of this cluster's nodes, and nobody else's. */
      readonly caPath: string;
      readonly certificatePath: string;
      readonly keyPath: string;
    }
  /** On loopback only: one secret that all nodes share, sent in the clear. */
  | { readonly kind: 'token'; readonly tokenPath: string };

export interface Address {
  readonly host: string;
  readonly port: number;
}

export const REDIS_PORT_DEFAULT = 6379;
export const ADMIN_PORT_DEFAULT = 7379;
export const PEER_PORT_DEFAULT = 8379;
export const ETCD_PREFIX_DEFAULT = '/raftseal';
/** What etcd takes if it is not told otherwise. */
export const ETCD_SPACE_BYTES_DEFAULT: number = 2 * 1024 * 1024 * 1024;
export const LEASE_TTL_MS_DEFAULT = 5_000;
const PREFIX_CHARACTERS_MAX = 200;
export const CACHE_BYTES_DEFAULT: number = 256 * 1024 * 1024;

/**
 * Refuses combinations that would start a node less safe than it looks.
 * @throws RAFTSEAL_NODE_KEK_REQUIRED, RAFTSEAL_NODE_EXPOSED, RAFTSEAL_NODE_OPTION
 */
export function checkConfig(config: NodeConfig): void {
  if (config.encryption === 'on' && config.kekUris.length === 0) {
    throw new RaftsealError(
      'RAFTSEAL_NODE_KEK_REQUIRED',
      'encryption is on and needs a KEK: give --kek file:/path or --kek env:NAME (make one with ' +
        '`raftseal kek create /path`), or --trial to try raftseal out with a key made for you',
    );
  }
  if (!isLoopback(config.redis.host) && config.redis.password === undefined) {
    throw exposed(
      `listening on ${config.redis.host} opens the store to the network: give --password-file, or ` +
        'listen on 127.0.0.1',
    );
  }
  if (config.cluster) checkClusterConfig(config.cluster);
}

function checkClusterConfig({ etcd, peer, advertise }: ClusterConfig): void {
  checkEtcdConfig(etcd);
  for (const { host } of [advertise.redis, advertise.peer]) {
    if (!isWildcard(host)) continue;
    const found = JSON.stringify(host);
    throw optionError(`other nodes and clients cannot connect to ${found}: give --advertise-host`);
  }
  if (peer.security.kind === 'mtls') return;
  for (const host of [peer.host, advertise.peer.host]) {
    if (isLoopback(host)) continue;
    throw exposed(
      `a peer token would go to and from ${host} in the clear: give --peer-ca, --peer-cert and ` +
        '--peer-key, or keep all nodes on 127.0.0.1',
    );
  }
}

function checkEtcdConfig(etcd: EtcdConfig): void {
  const urls = etcd.endpoints.map(endpointUrl);
  const [first] = urls;
  if (!first || urls.some(({ protocol }) => protocol !== first.protocol)) {
    throw optionError('--etcd: expected one URL or more, all of them http:// or all https://');
  }
  const exposedUrl = urls.find((url) => url.protocol === 'http:' && !isLoopback(hostOf(url)));
  if (exposedUrl) {
    throw exposed(
      `${exposedUrl.origin} would be used in the clear: have etcd serve https:// and give ` +
        '--etcd-ca, and --etcd-cert with --etcd-key or --etcd-user with --etcd-password-file',
    );
  }
  const hasFiles = etcd.caPath !== undefined || etcd.certificatePath !== undefined;
  if (first.protocol === 'http:' && hasFiles) {
    throw optionError('--etcd-ca and --etcd-cert need --etcd with https:// URLs');
  }
  if ((etcd.certificatePath === undefined) !== (etcd.keyPath === undefined)) {
    throw optionError('--etcd-cert and --etcd-key: expected both or none');
  }
  if ((etcd.userName === undefined) !== (etcd.passwordPath === undefined)) {
    throw optionError('--etcd-user and --etcd-password-file: expected both or none');
  }
  if (!/^(\/[\w.-]+)+$/.test(etcd.prefix) || etcd.prefix.length > PREFIX_CHARACTERS_MAX) {
    throw optionError(
      `--etcd-prefix: expected names of letters, digits, ., _ and -, such as ${ETCD_PREFIX_DEFAULT}` +
        ` or /prod/raftseal, at most ${PREFIX_CHARACTERS_MAX} characters`,
    );
  }
}

/** Names in it other than the address would be ignored, or be a password on a command line. */
function endpointUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url !== undefined && url.username === '' && /^https?:\/\/[^/?#]+\/?$/.test(text);
  if (isPlain) return url;
  throw optionError('--etcd: expected URLs such as https://10.0.0.1:2379, separated by commas');
}

function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '');
}

/** Addresses that stand for all of a machine's. */
function isWildcard(host: string): boolean {
  return host === '' || host === '*' || /^[0.]+$/.test(host) || /^[0:]+$/.test(host);
}

function exposed(message: string): RaftsealError {
  return new RaftsealError('RAFTSEAL_NODE_EXPOSED', message);
}

function optionError(message: string): RaftsealError {
  return new RaftsealError('RAFTSEAL_NODE_OPTION', message);
}

/** Whether an address can be reached from this machine alone. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}
