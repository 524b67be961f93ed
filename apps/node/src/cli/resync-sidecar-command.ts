/** `raftseal resync-sidecar`: a new sidecar for a stopped node, from another one or its own log. */
import { Command } from 'commander';
import { pino } from 'pino';
import { type ClusterOptions, clusterOf, withCluster } from './cluster-options.ts';
import { DATA_PATH_DEFAULT } from './node-address.ts';
import { kekOption } from './options.ts';

interface ResyncOptions extends ClusterOptions {
  readonly data: string;
  readonly kek: readonly string[];
}

export function resyncSidecarCommand(): Command {
  const command = new Command('resync-sidecar')
    .description(
      'rebuild the sidecar of a stopped node: from another node, or an old one from its own log',
    )
    .option('--data <dir>', 'the data directory', DATA_PATH_DEFAULT)
    .addOption(kekOption().makeOptionMandatory());
  return withCluster(command).action(async (options: ResyncOptions) => {
    const cluster = clusterOf(options, { host: '127.0.0.1', port: 0 });
    const log = pino({ level: 'warn', base: null });
    const { resyncSidecar } = await import('../cluster/resync.ts');
    await resyncSidecar({ dataPath: options.data, kekUris: options.kek, cluster }, log);
    process.stdout.write('the sidecar was rebuilt: start the node\n');
  });
}
