/** The command line and the addresses of one node of a cluster. */
import { join } from 'node:path';
import type { CertificateFiles } from './certificates.ts';
import type { CommandLine, Host } from './host.ts';

export interface NodePlace {
  readonly host: Host;
  readonly redisPort: number;
  readonly adminPort: number;
  readonly peerPort: number;
}

export interface RaftsealNodeOptions {
  readonly place: NodePlace;
  readonly directory: string;
  /** The built `main.js` of the node. */
  readonly program: string;
  readonly etcdEndpoints: readonly string[];
  readonly etcdPrefix: string;
  readonly shardCount: number;
  readonly encryption: 'on' | 'off';
  readonly kekUris: readonly string[];
  readonly leaseTtlMs: number;
  /** Files that all nodes share. The token is for admins, and for peers without certificates. */
  readonly passwordPath: string | undefined;
  readonly tokenPath: string;
  readonly certificate: CertificateFiles | undefined;
}

export function dataPathOf(directory: string): string {
  return join(directory, 'data');
}

export function nodeCommand(options: RaftsealNodeOptions): CommandLine {
  const { place, certificate } = options;
  const { address } = place.host;
  const flags: Readonly<Record<string, string>> = {
    data: dataPathOf(options.directory),
    shards: `${options.shardCount}`,
    encryption: options.encryption,
    host: address,
    port: `${place.redisPort}`,
    ...(options.passwordPath ? { 'password-file': options.passwordPath } : {}),
    'admin-host': address,
    'admin-port': `${place.adminPort}`,
    'token-file': options.tokenPath,
    etcd: options.etcdEndpoints.join(),
    'etcd-prefix': options.etcdPrefix,
    'lease-ttl': `${options.leaseTtlMs}`,
    'peer-host': address,
    'peer-port': `${place.peerPort}`,
    'advertise-host': address,
    ...(certificate ? tlsFlags(certificate) : { 'peer-token-file': options.tokenPath }),
  };
  const given = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
  const keks = options.kekUris.flatMap((uri) => ['--kek', uri]);
  return [process.execPath, options.program, 'start', ...given, ...keks];
}

function tlsFlags({ caPath, certificatePath, keyPath }: CertificateFiles): Record<string, string> {
  return {
    'etcd-ca': caPath,
    'etcd-cert': certificatePath,
    'etcd-key': keyPath,
    'peer-ca': caPath,
    'peer-cert': certificatePath,
    'peer-key': keyPath,
  };
}
