/** `raftseal verify`: reads everything on disk and says what is sealed and what is not. */
import { Command } from 'commander';
import { pino } from 'pino';
import { CACHE_BYTES_DEFAULT } from '../config.ts';
import type { VerifyReport } from '../verify/report.ts';
import { checkCertificateFile, issueCertificate } from './certificate.ts';
import { adminClient, type NodeAddressOptions, withNodeAddress } from './node-address.ts';
import { kekOption, optionError } from './options.ts';
import { table } from './table.ts';

interface VerifyOptions extends NodeAddressOptions {
  readonly offline?: boolean;
  readonly kek?: readonly string[];
  readonly json?: boolean;
  readonly certificate?: string;
  readonly checkCertificate?: string;
  readonly fingerprint?: string;
}

/** Exit status where something is damaged, forged, out of place or unknown. */
const NOT_CLEAN_STATUS = 3;

export function verifyCommand(): Command {
  return withNodeAddress(new Command('verify'))
    .description('walk log, store and files: what is sealed, what is not, what does not open')
    .option('--offline', 'read the data directory of a stopped node; needs --kek if it has keys')
    .addOption(kekOption())
    .option('--json', 'as JSON')
    .option('--certificate <file>', 'have all members verify, and sign what they have found')
    .option('--check-certificate <file>', 'check such a file; needs neither node nor KEK')
    .option('--fingerprint <hex>', 'of the key that must have signed it')
    .action(async (options: VerifyOptions) => {
      checkTogether(options);
      const { certificate, checkCertificate, fingerprint } = options;
      if (checkCertificate !== undefined) {
        process.stdout.write(`${await checkCertificateFile(checkCertificate, fingerprint)}\n`);
      } else if (certificate !== undefined) {
        const client = await adminClient(options);
        process.stdout.write(`${await issueCertificate(client, certificate)}\n`);
      } else await report(options);
    });
}

/** @throws RAFTSEAL_NODE_OPTION */
function checkTogether(options: VerifyOptions): void {
  const { certificate, checkCertificate, fingerprint, offline: isOffline, json } = options;
  if (fingerprint !== undefined && checkCertificate === undefined) {
    throw optionError('--fingerprint: expected with --check-certificate');
  }
  const asked = [certificate, checkCertificate, isOffline ?? json].filter((each) => each);
  if (asked.length <= 1) return;
  throw optionError(
    '--certificate, --check-certificate: expected one of them, without --offline and --json',
  );
}

async function report(options: VerifyOptions): Promise<void> {
  const found = options.offline ? await offline(options) : await online(options);
  const text = options.json ? JSON.stringify(found, null, 2) : reportText(found);
  process.stdout.write(`${text}\n`);
  if (!found.clean) process.exitCode = NOT_CLEAN_STATUS;
}

async function online(options: VerifyOptions): Promise<VerifyReport> {
  return (await adminClient(options)).post<VerifyReport>('/v1/verify', {}, 0);
}

async function offline(options: VerifyOptions): Promise<VerifyReport> {
  const { verifyStoppedNode } = await import('../verify/verify-stopped.ts');
  return verifyStoppedNode(
    {
      dataPath: options.data,
      shardCount: undefined,
      encryption: options.kek === undefined ? 'off' : 'on',
      kekUris: options.kek ?? [],
      cacheBytesMax: CACHE_BYTES_DEFAULT,
    },
    pino({ level: 'error', base: null }),
  );
}

export function reportText(report: VerifyReport): string {
  return [
    logTable(report),
    '',
    storeTable(report),
    '',
    fileTable(report),
    '',
    ...report.cleartext.map((line) => `in the clear: ${line}`),
    ...report.problems.map((line) => `PROBLEM: ${line}`),
    verdict(report),
  ].join('\n');
}

function verdict({ clean, sealedThroughout, problems }: VerifyReport): string {
  if (!clean) return `NOT CLEAN: ${problems.length} problems`;
  return sealedThroughout
    ? 'clean: everything is sealed, and opens'
    : 'clean: what is sealed opens; the rest is named above';
}

function logTable({ logs }: VerifyReport): string {
  return table(
    ['log', 'cutover', 'entries', 'key entries clear', 'data entries clear', 'sealed by DEK'],
    logs.map((log) => [
      `shard ${log.shardId}`,
      log.cutoverIndex ?? '-',
      log.firstIndex === null ? 'none' : `${log.firstIndex}..${log.lastIndex}`,
      log.cleartextKeyLifecycle,
      log.cleartextData,
      byDek(log.sealed),
    ]),
  );
}

function storeTable({ stores }: VerifyReport): string {
  return table(
    ['store', 'rows clear', 'sealed by DEK'],
    stores.map((store) => [`shard ${store.shardId}`, store.cleartextRows, byDek(store.sealed)]),
  );
}

function fileTable({ files }: VerifyReport): string {
  return table(
    ['file', 'bytes', 'content'],
    files.map(({ path, bytes, content }) => [path, bytes, content]),
  );
}

function byDek(sealed: Readonly<Record<number, number>>): string {
  const counts = Object.entries(sealed).map(([dekId, count]) => `${dekId}: ${count}`);
  return counts.length === 0 ? '-' : counts.join(', ');
}
