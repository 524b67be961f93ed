/** What a node is started with, after the command line was read and checked. */
import { isIP } from 'node:net';
import { RaftsealError } from '@raftseal/interface';

export interface NodeConfig {
  /** Path of the data directory. */
  readonly dataPath: string;
  /** Undefined: as the directory has it, or the default for a new one. */
  readonly shardCount: number | undefined;
  /** `off`: values and logs stay in the clear, until encryption is enabled on the running node. */
  readonly encryption: 'on' | 'off';
  /** Required while encryption is on; with it off, needed to enable it later. */
  readonly kekUri: string | undefined;
  readonly redis: ListenerConfig & { readonly password: string | undefined };
  readonly admin: ListenerConfig & {
    /** Default: `admin.token` in the data directory, made at the first start. */
    readonly tokenPath: string | undefined;
  };
  /** Memory for values that GET finds without touching the disk, over all shards, in bytes. */
  readonly cacheBytesMax: number;
}

export interface ListenerConfig {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
}

export const REDIS_PORT_DEFAULT = 6379;
export const ADMIN_PORT_DEFAULT = 7379;
export const CACHE_BYTES_DEFAULT: number = 256 * 1024 * 1024;

/**
 * Refuses combinations that would start a node less safe than it looks.
 * @throws RAFTSEAL_NODE_KEK_REQUIRED, RAFTSEAL_NODE_EXPOSED
 */
export function checkConfig(config: NodeConfig): void {
  if (config.encryption === 'on' && config.kekUri === undefined) {
    throw new RaftsealError(
      'RAFTSEAL_NODE_KEK_REQUIRED',
      'encryption is on and needs a KEK: give --kek file:/path or --kek env:NAME (make one with ' +
        '`raftseal kek create /path`), or --trial to try raftseal out with a key made for you',
    );
  }
  if (!isLoopback(config.redis.host) && config.redis.password === undefined) {
    throw new RaftsealError(
      'RAFTSEAL_NODE_EXPOSED',
      `listening on ${config.redis.host} opens the store to the network: give --password-file, or ` +
        'listen on 127.0.0.1',
    );
  }
}

/** Whether an address can be reached from this machine alone. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}
