/** Options of a node that shares its logs, in etcd, with others. */
import { type Command, Option } from 'commander';
import {
  type Address,
  type ClusterConfig,
  ETCD_PREFIX_DEFAULT,
  ETCD_SPACE_BYTES_DEFAULT,
  type EtcdConfig,
  LEASE_TTL_MS_DEFAULT,
  PEER_PORT_DEFAULT,
  type PeerSecurity,
} from '../config.ts';
import { byteSize, oneOf, optionError, portBounds, wholeNumber } from './options.ts';

/** None has a default of its own: without `--etcd` none may be given. */
export interface ClusterOptions {
  readonly etcd?: readonly string[];
  readonly etcdPrefix?: string;
  readonly etcdCa?: string;
  readonly etcdCert?: string;
  readonly etcdKey?: string;
  readonly etcdUser?: string;
  readonly etcdPasswordFile?: string;
  readonly etcdSpace?: number;
  readonly leaseTtl?: number;
  readonly role?: 'voter' | 'learner';
  readonly reads?: 'lease' | 'strict';
  readonly peerHost?: string;
  readonly peerPort?: number;
  readonly peerCa?: string;
  readonly peerCert?: string;
  readonly peerKey?: string;
  readonly peerTokenFile?: string;
  readonly advertiseHost?: string;
  readonly advertisePort?: number;
  readonly advertisePeerPort?: number;
}

/** Below, a pause of the process or of the network would cost leadership. */
const leaseBounds = { min: 2_000, max: 60_000 };

export function withCluster(command: Command): Command {
  for (const option of [...etcdOptions(), ...peerOptions()]) command.addOption(option);
  return command;
}

function etcdOptions(): readonly Option[] {
  return [
    new Option(
      '--etcd <urls>',
      'node of a cluster: URLs of the etcd that holds its logs',
    ).argParser((text) => text.split(',').map((url) => url.trim())),
    new Option('--etcd-prefix <path>', `what the cluster's keys begin with (default: /raftseal)`),
    new Option('--etcd-ca <file>', 'CA of the certificates of etcd'),
    new Option('--etcd-cert <file>', 'certificate of this node for etcd'),
    new Option('--etcd-key <file>', 'its private key, mode 0600'),
    new Option('--etcd-user <name>', 'user of etcd'),
    new Option('--etcd-password-file <file>', 'the password of that user, mode 0600'),
    new Option('--etcd-space <size>', 'quota of the database of etcd (default: 2g)').argParser(
      byteSize('etcd-space'),
    ),
    new Option(
      '--lease-ttl <ms>',
      'how long a silent node counts as alive (default: 5000)',
    ).argParser(wholeNumber('lease-ttl', leaseBounds)),
    new Option('--role <role>', 'voter, or learner: never leads (default: voter)').argParser(
      oneOf('role', ['voter', 'learner']),
    ),
    new Option(
      '--reads <mode>',
      'lease, or strict: etcd is asked for each read (default: lease)',
    ).argParser(oneOf('reads', ['lease', 'strict'])),
  ];
}

function peerOptions(): readonly Option[] {
  const port = (name: string, min: number) => wholeNumber(name, { ...portBounds, min });
  return [
    new Option('--peer-host <address>', 'other nodes: address (default: 127.0.0.1)'),
    new Option('--peer-port <n>', `other nodes: port (default: ${PEER_PORT_DEFAULT})`).argParser(
      port('peer-port', 0),
    ),
    new Option('--peer-ca <file>', 'CA that signs the nodes of this cluster, and nothing else'),
    new Option('--peer-cert <file>', 'certificate of this node for the others'),
    new Option('--peer-key <file>', 'its private key, mode 0600'),
    new Option(
      '--peer-token-file <file>',
      'on loopback, in place of certificates: one token for all',
    ),
    new Option(
      '--advertise-host <address>',
      'where others reach this node (default: as listening)',
    ),
    new Option('--advertise-port <n>', 'Redis port that clients are told').argParser(
      port('advertise-port', 1),
    ),
    new Option('--advertise-peer-port <n>', 'peer port that other nodes are told').argParser(
      port('advertise-peer-port', 1),
    ),
  ];
}

/**
 * @param redis where the Redis listener is
 * @returns undefined for a node that is alone
 * @throws RAFTSEAL_NODE_OPTION
 */
export function clusterOf(options: ClusterOptions, redis: Address): ClusterConfig | undefined {
  const { etcd } = options;
  if (etcd === undefined) return refuseWithoutEtcd(options);
  const host = options.peerHost ?? '127.0.0.1';
  const port = options.peerPort ?? PEER_PORT_DEFAULT;
  const { advertiseHost } = options;
  return {
    etcd: etcdOf(options, etcd),
    role: options.role ?? 'voter',
    reads: options.reads ?? 'lease',
    peer: { host, port, security: securityOf(options) },
    advertise: {
      redis: { host: advertiseHost ?? redis.host, port: options.advertisePort ?? redis.port },
      peer: { host: advertiseHost ?? host, port: options.advertisePeerPort ?? port },
    },
  };
}

function refuseWithoutEtcd(options: ClusterOptions): undefined {
  const names = [...etcdOptions(), ...peerOptions()];
  const given = names.find((option) => Object.hasOwn(options, option.attributeName()));
  if (!given) return undefined;
  throw optionError(
    `${given.long}: expected --etcd as well, which makes this node one of a cluster`,
  );
}

function etcdOf(options: ClusterOptions, endpoints: readonly string[]): EtcdConfig {
  const { etcdCa, etcdCert, etcdKey, etcdUser, etcdPasswordFile } = options;
  return {
    endpoints,
    prefix: options.etcdPrefix ?? ETCD_PREFIX_DEFAULT,
    spaceBytesMax: options.etcdSpace ?? ETCD_SPACE_BYTES_DEFAULT,
    leaseTtlMs: options.leaseTtl ?? LEASE_TTL_MS_DEFAULT,
    ...(etcdCa === undefined ? {} : { caPath: etcdCa }),
    ...(etcdCert === undefined ? {} : { certificatePath: etcdCert }),
    ...(etcdKey === undefined ? {} : { keyPath: etcdKey }),
    ...(etcdUser === undefined ? {} : { userName: etcdUser }),
    ...(etcdPasswordFile === undefined ? {} : { passwordPath: etcdPasswordFile }),
  };
}

function securityOf(options: ClusterOptions): PeerSecurity {
  const { peerCa, peerCert, peerKey, peerTokenFile } = options;
  const files = [peerCa, peerCert, peerKey];
  if (peerTokenFile !== undefined && files.every((file) => file === undefined)) {
    return { kind: 'token', tokenPath: peerTokenFile };
  }
  if (peerTokenFile === undefined && peerCa && peerCert && peerKey) {
    return { kind: 'mtls', caPath: peerCa, certificatePath: peerCert, keyPath: peerKey };
  }
  throw optionError(
    '--peer-ca, --peer-cert and --peer-key: expected all three, or, where all nodes run on one ' +
      'machine, --peer-token-file in place of them',
  );
}
