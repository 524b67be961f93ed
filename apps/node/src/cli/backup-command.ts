/** `raftseal backup`: takes backups, keeps count of them, verifies and restores them. */
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { pino } from 'pino';
import type { BackupStatus, BackupSummary } from '../admin/operations.ts';
import type { RestoreSummary } from '../backup/restore.ts';
import type { BackupVerification } from '../backup/verification.ts';
import { KekSet } from '../kek-set.ts';
import { type ClusterOptions, clusterOf, withCluster } from './cluster-options.ts';
import {
  adminClient,
  DATA_PATH_DEFAULT,
  type NodeAddressOptions,
  withNodeAddress,
} from './node-address.ts';
import { kekOption, wholeNumber } from './options.ts';
import { table } from './table.ts';

/** Exit status where a backup cannot be restored. */
const NOT_RESTORABLE_STATUS = 3;

export function backupCommand(): Command {
  return new Command('backup')
    .description('sealed backups of every shard')
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(forgetCommand())
    .addCommand(verifyCommand())
    .addCommand(restoreCommand());
}

function createCommand(): Command {
  return withNodeAddress(new Command('create'))
    .description('have a node take a backup, on its own disk; everything in it is sealed')
    .requiredOption('--out <dir>', 'a new or empty directory, on the machine of the node')
    .action(async ({ out, ...address }: NodeAddressOptions & { readonly out: string }) => {
      const client = await adminClient(address);
      const path = resolve(out);
      const summary = await client.post<BackupSummary>('/v1/backups/create', { path }, 0);
      const { backupId, rows, bytes } = summary;
      process.stdout.write(`${backupId}: ${rows} rows, ${bytes} bytes, in ${summary.path}\n`);
    });
}

function listCommand(): Command {
  return withNodeAddress(new Command('list'))
    .description('name the backups whose keys are kept')
    .action(async (options: NodeAddressOptions) => {
      const client = await adminClient(options);
      const { backups } = await client.get<{ backups: BackupStatus[] }>('/v1/backups');
      const rows = backups.map(({ backupId, createdAt, dekIds }) => [
        backupId,
        createdAt,
        dekIds.join(' '),
      ]);
      process.stdout.write(`${table(['backup', 'registered', 'needs DEKs'], rows)}\n`);
    });
}

function forgetCommand(): Command {
  return withNodeAddress(new Command('forget'))
    .description('keep the keys of a backup no longer: it is gone, or will not be restored')
    .argument('<backup>', 'its id')
    .action(async (backupId: string, options: NodeAddressOptions) => {
      await (await adminClient(options)).post('/v1/backups/forget', { backupId });
      process.stdout.write(`forgot ${backupId}: its keys can be retired\n`);
    });
}

interface VerifyOptions {
  readonly kek: readonly string[];
  readonly json?: boolean;
}

function verifyCommand(): Command {
  return new Command('verify')
    .description('read a whole backup, offline, and say whether it can be restored')
    .argument('<dir>', 'the directory of the backup')
    .addOption(kekOption().makeOptionMandatory())
    .option('--json', 'as JSON')
    .action(async (path: string, { kek, json }: VerifyOptions) => {
      const keks = await KekSet.open(kek);
      try {
        const { verifyBackup } = await import('../backup/verification.ts');
        const found = await verifyBackup(path, keks);
        const text = json ? JSON.stringify(found, null, 2) : verificationText(found);
        process.stdout.write(`${text}\n`);
        if (!found.restorable) process.exitCode = NOT_RESTORABLE_STATUS;
      } finally {
        await keks.close();
      }
    });
}

interface RestoreOptions extends ClusterOptions {
  readonly data: string;
  readonly kek: readonly string[];
  readonly backupKek?: readonly string[];
  readonly shards?: number;
  readonly replace?: boolean;
}

function restoreCommand(): Command {
  const command = new Command('restore')
    .description('restore a backup as a new cluster, with new keys; the node must not run')
    .argument('<dir>', 'the directory of the backup')
    .option('--data <dir>', 'the data directory to make', DATA_PATH_DEFAULT)
    .addOption(kekOption().makeOptionMandatory())
    .addOption(
      new Option(
        '--backup-kek <uri>',
        'KEK of the keys in the backup, where it is another',
      ).argParser((uri: string, given: readonly string[] | undefined) => [...(given ?? []), uri]),
    )
    .addOption(
      new Option('--shards <n>', 'shards of the new cluster (default: as the backup)').argParser(
        wholeNumber('shards', { min: 1, max: 1024 }),
      ),
    )
    .option('--replace', 'rename a data directory that is there, and keep it beside the new one');
  return withCluster(command).action(async (path: string, options: RestoreOptions) => {
    const log = pino({ level: 'warn', base: null });
    const { restoreBackup } = await import('../backup/restore.ts');
    const summary = await restoreBackup(
      {
        backupPath: path,
        dataPath: options.data,
        kekUris: options.kek,
        backupKekUris: options.backupKek ?? options.kek,
        shardCount: options.shards,
        replace: options.replace === true,
        cluster: clusterOf(options, { host: '127.0.0.1', port: 0 }),
      },
      log,
    );
    process.stdout.write(`${restoredText(summary, options.data)}\n`);
  });
}

export function verificationText(found: BackupVerification): string {
  const shards = found.shards.map(({ shardId, index, bytes, sealed }) => [
    `shard ${shardId}`,
    index,
    bytes,
    Object.entries(sealed)
      .map(([dekId, rows]) => `${dekId}: ${rows}`)
      .join(', ') || '-',
  ]);
  const deks = found.keys.map(({ dekId, purpose }) => `${dekId} (${purpose})`);
  return [
    `backup ${found.backupId} of cluster ${found.clusterId}, ${found.createdAt}, raftseal ${found.release}`,
    `needs DEKs ${deks.join(', ')}; any of these KEKs opens them: ${found.kekUris.join(', ')}`,
    '',
    table(['file of', 'index', 'bytes', 'rows by DEK'], shards),
    '',
    ...found.problems.map((line) => `PROBLEM: ${line}`),
    found.restorable
      ? `can be restored: ${found.rows} rows, content ${found.contentDigest}`
      : `CANNOT BE RESTORED: ${found.problems.length} problems`,
  ].join('\n');
}

function restoredText(summary: RestoreSummary, dataPath: string): string {
  const { backupId, rows, expired, importMs, keptPath } = summary;
  const rate = importMs > 0 ? `, ${Math.round((1000 * rows) / importMs)} rows/s` : '';
  return [
    `restored ${backupId} to ${dataPath}: ${rows} rows${rate}; ${expired} had expired`,
    ...(keptPath === undefined ? [] : [`what was there before is kept in ${keptPath}`]),
    'start the node: it is a new cluster with new keys',
  ].join('\n');
}
