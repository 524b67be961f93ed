/** `raftseal start`: runs a node in the foreground until SIGTERM or SIGINT. */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { createKekFile } from '@raftseal/kek-file';
import { Command, Option } from 'commander';
import { type Logger, pino } from 'pino';
import {
  ADMIN_PORT_DEFAULT,
  CACHE_BYTES_DEFAULT,
  checkConfig,
  type NodeConfig,
  REDIS_PORT_DEFAULT,
} from '../config.ts';
import { isShardCount } from '../data-directory.ts';
import { type ClusterOptions, clusterOf, withCluster } from './cluster-options.ts';
import { DATA_PATH_DEFAULT } from './node-address.ts';
import {
  byteSize,
  configurationPath,
  kekOption,
  oneOf,
  optionError,
  portBounds,
  secretFromFile,
  wholeNumber,
} from './options.ts';
import { type RotationOptions, rotationOf, withRotation } from './rotation-options.ts';
import { type TlsOptions, tlsOf, withTls } from './tls-options.ts';

const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;

interface StartOptions extends TlsOptions, ClusterOptions, RotationOptions {
  readonly data: string;
  readonly shards?: number;
  readonly encryption: 'on' | 'off';
  readonly kek?: readonly string[];
  readonly trial?: boolean;
  readonly host: string;
  readonly port: number;
  readonly passwordFile?: string;
  readonly adminHost: string;
  readonly adminPort: number;
  readonly tokenFile?: string;
  readonly cache: number;
  readonly logLevel: (typeof logLevels)[number];
}

export function startCommand(): Command {
  const option = (flags: string, description: string): Option => new Option(flags, description);
  const command = new Command('start')
    .description('run a node')
    .addOption(option('--data <dir>', 'data directory').default(DATA_PATH_DEFAULT))
    .addOption(
      option(
        '--shards <n>',
        'shards of a new data directory (default: 4); fixed for its life',
      ).argParser(wholeNumber('shards', { min: 1, max: 1024 })),
    )
    .addOption(
      option('--encryption <on|off>', 'off: in the clear, until `encryption enable`')
        .default('on')
        .argParser(oneOf('encryption', ['on', 'off'])),
    )
    .addOption(kekOption())
    .addOption(option('--trial', 'without --kek: make a KEK in the user configuration folder'))
    .addOption(option('--host <address>', 'Redis protocol: address').default('127.0.0.1'))
    .addOption(
      option('--port <n>', 'Redis protocol: port')
        .default(REDIS_PORT_DEFAULT)
        .argParser(wholeNumber('port', portBounds)),
    )
    .addOption(option('--password-file <file>', 'clients must AUTH with its content'))
    .addOption(option('--admin-host <address>', 'admin API: address').default('127.0.0.1'))
    .addOption(
      option('--admin-port <n>', 'admin API: port')
        .default(ADMIN_PORT_DEFAULT)
        .argParser(wholeNumber('admin-port', portBounds)),
    )
    .addOption(option('--token-file <file>', 'admin token, instead of one made in --data'))
    .addOption(
      option('--cache <size>', 'memory for opened values, such as 256m')
        .default(CACHE_BYTES_DEFAULT, '256m')
        .argParser(byteSize('cache')),
    )
    .addOption(
      option('--log-level <level>', logLevels.join(', '))
        .default('info')
        .argParser(oneOf('log-level', logLevels)),
    );
  return withCluster(withTls(withRotation(command))).action(async (options: StartOptions) => {
    const log = pino({ level: options.logLevel, base: null });
    const kekUris = options.kek ?? (await trialKek(options, log));
    await runUntilSignalled(configOf(options, kekUris), log);
  });
}

function configOf(options: StartOptions, kekUris: readonly string[]): NodeConfig {
  if (options.shards !== undefined && !isShardCount(options.shards)) {
    throw optionError('--shards: expected 1 to 1024');
  }
  const { passwordFile, host, port } = options;
  const tls = tlsOf(options);
  const withListenerTls = tls === undefined ? {} : { tls };
  const cluster = clusterOf(options, { host, port });
  const config: NodeConfig = {
    dataPath: options.data,
    shardCount: options.shards,
    encryption: options.encryption,
    kekUris,
    redis: {
      host,
      port,
      password:
        passwordFile === undefined ? undefined : secretFromFile('password-file', passwordFile),
      ...withListenerTls,
    },
    admin: {
      host: options.adminHost,
      port: options.adminPort,
      tokenPath: options.tokenFile,
      ...withListenerTls,
    },
    cacheBytesMax: options.cache,
    rotation: rotationOf(options),
    ...(cluster === undefined ? {} : { cluster }),
  };
  checkConfig(config);
  return config;
}

/**
 * A KEK for trying raftseal out. It stays out of the data directory, so that a copy of the data
 * alone opens nothing; but it is on the same machine, and that is no way to run production.
 */
async function trialKek(options: StartOptions, log: Logger): Promise<readonly string[]> {
  if (!options.trial || options.encryption === 'off') return [];
  const path = configurationPath('trial.kek');
  if (!existsSync(path)) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    await createKekFile(path);
  }
  log.warn(
    `TRIAL MODE: the key-encryption key is ${path}, on this machine, unprotected. Without it the ` +
      'data is lost. For anything real make a key elsewhere and start with --kek.',
  );
  return [`file:${path}`];
}

async function runUntilSignalled(config: NodeConfig, log: Logger): Promise<void> {
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.once('SIGTERM', stop).once('SIGINT', stop);
  const { startNode } = await import('../node.ts');
  const node = await startNode(config, { log, signal: stopping.signal });
  await node.stopped;
}
