/** Options of TLS on the ports for clients and for the admin API. */
import { type Command, Option } from 'commander';
import type { ListenerTls } from '../config.ts';
import { optionError } from './options.ts';

export interface TlsOptions {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
}

export function withTls(command: Command): Command {
  const option = (flags: string, description: string): Option => new Option(flags, description);
  return command
    .addOption(option('--tls-cert <file>', 'TLS for Redis protocol and admin API: certificate'))
    .addOption(option('--tls-key <file>', 'its private key, mode 0600'))
    .addOption(option('--tls-ca <file>', 'clients must show a certificate of this CA'));
}

/** @throws RAFTSEAL_NODE_OPTION */
export function tlsOf({ tlsCert, tlsKey, tlsCa }: TlsOptions): ListenerTls | undefined {
  if (tlsCert !== undefined && tlsKey !== undefined) {
    const own = { certificatePath: tlsCert, keyPath: tlsKey };
    return tlsCa === undefined ? own : { ...own, clientCaPath: tlsCa };
  }
  if (tlsCert === undefined && tlsKey === undefined && tlsCa === undefined) return undefined;
  throw optionError('--tls-cert and --tls-key: expected both, with or without --tls-ca');
}
