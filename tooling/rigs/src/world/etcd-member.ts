/** The command line and the addresses of one member of an etcd cluster. */
import { join } from 'node:path';
import type { CertificateFiles } from './certificates.ts';
import type { CommandLine, Host } from './host.ts';

export interface EtcdPlace {
  readonly host: Host;
  readonly clientPort: number;
  readonly peerPort: number;
}

export interface EtcdMemberOptions {
  readonly place: EtcdPlace;
  readonly everyPlace: readonly EtcdPlace[];
  readonly directory: string;
  /** Undefined: in the clear, which is for loopback. */
  readonly certificate: CertificateFiles | undefined;
}

export function etcdEndpoint({ host, clientPort }: EtcdPlace, isTls: boolean): string {
  return `${isTls ? 'https' : 'http'}://${host.address}:${clientPort}`;
}

export function etcdCommand(options: EtcdMemberOptions): CommandLine {
  const { place, everyPlace, directory, certificate } = options;
  const isTls = certificate !== undefined;
  const peerUrl = ({ host, peerPort }: EtcdPlace): string =>
    `${isTls ? 'https' : 'http'}://${host.address}:${peerPort}`;
  const client = etcdEndpoint(place, isTls);
  const flags: Readonly<Record<string, string>> = {
    name: place.host.name,
    'data-dir': join(directory, 'data'),
    'listen-client-urls': client,
    'advertise-client-urls': client,
    'listen-peer-urls': peerUrl(place),
    'initial-advertise-peer-urls': peerUrl(place),
    'initial-cluster': everyPlace.map((each) => `${each.host.name}=${peerUrl(each)}`).join(),
    'initial-cluster-token': 'raftseal-rig',
    logger: 'zap',
    'log-level': 'warn',
    ...(certificate ? tlsFlags(certificate) : {}),
  };
  return ['etcd', ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`)];
}

function tlsFlags({ caPath, certificatePath, keyPath }: CertificateFiles): Record<string, string> {
  return {
    'trusted-ca-file': caPath,
    'cert-file': certificatePath,
    'key-file': keyPath,
    'client-cert-auth': 'true',
    'peer-trusted-ca-file': caPath,
    'peer-cert-file': certificatePath,
    'peer-key-file': keyPath,
    'peer-client-cert-auth': 'true',
  };
}
