/** `raftseal audit`: reads the audit trail of a node on this machine, which may run meanwhile. */
import { Command } from 'commander';
import type { AuditRecord } from '../audit/record.ts';
import { readTrail, type TrailReport, verifyTrail } from '../audit/verify-trail.ts';
import { dataDirectoryPaths, readIdentity } from '../data-directory.ts';
import { DATA_PATH_DEFAULT } from './node-address.ts';
import { optionError, wholeNumber } from './options.ts';
import { table } from './table.ts';

interface DataOptions {
  readonly data: string;
  readonly json?: boolean;
}

/** Exit status where the trail is not as it was written. */
const NOT_INTACT_STATUS = 3;
const SHOWN_DEFAULT = 50;

export function auditCommand(): Command {
  const verify = withData(new Command('verify'))
    .description('check that no record of the audit trail was changed, deleted or put elsewhere')
    .option(
      '--anchor <hash>',
      'hash of a record that was noted earlier, as `status` shows it',
      anchor,
    )
    .action(async (options: DataOptions & { readonly anchor?: string }) => {
      const directory = dataDirectoryPaths(options.data).audit;
      const nodeId = (await readIdentity(options.data))?.nodeId;
      const report = await verifyTrail({ directory, nodeId, anchor: options.anchor });
      const text = options.json ? JSON.stringify(report, null, 2) : reportText(report);
      process.stdout.write(`${text}\n`);
      if (!report.intact) process.exitCode = NOT_INTACT_STATUS;
    });
  const last = wholeNumber('last', { min: 1, max: 1_000_000_000 });
  const show = withData(new Command('show'))
    .description('print the latest records of the audit trail; see `audit verify` for their truth')
    .option('--last <n>', 'how many', last, SHOWN_DEFAULT)
    .action(async (options: DataOptions & { readonly last: number }) => {
      const records: AuditRecord[] = [];
      for await (const record of readTrail(dataDirectoryPaths(options.data).audit)) {
        records.push(record);
        if (records.length > options.last) records.shift();
      }
      const text = options.json
        ? records.map((record) => JSON.stringify(record)).join('\n')
        : recordTable(records);
      process.stdout.write(`${text}\n`);
    });
  return new Command('audit')
    .description('what the keys of a node went through, and who asked for it')
    .addCommand(verify)
    .addCommand(show);
}

function withData(command: Command): Command {
  return command
    .option('--data <dir>', 'the data directory', DATA_PATH_DEFAULT)
    .option('--json', 'as JSON');
}

function anchor(text: string): string {
  if (/^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase();
  throw optionError(`--anchor: expected a SHA-256 in hex, 64 characters; found "${text}"`);
}

function reportText(report: TrailReport): string {
  const { nodeId, clusterId, records, files, first, headHash, anchoredAt, gaps } = report;
  return [
    `node ${nodeId ?? 'unknown'}, cluster ${clusterId ?? 'not named yet'}`,
    `${records} records in ${files} files, from ${first ?? 'none'} on; head ${headHash ?? 'none'}`,
    ...(anchoredAt === null ? [] : [`as it was anchored up to record ${anchoredAt}`]),
    ...gaps.map(
      ({ shardId, after, through, reason }) =>
        `no record: entries of shard ${shardId} after ${after}, through ${through} (${reason})`,
    ),
    ...report.problems.map((line) => `PROBLEM: ${line}`),
    report.intact ? 'intact' : `NOT INTACT: ${report.problems.length} problems`,
  ].join('\n');
}

function recordTable(records: readonly AuditRecord[]): string {
  return table(
    ['record', 'at', 'kind', 'what'],
    records.map((record) => [record.sequence, record.at, record.kind, recordText(record)]),
  );
}

function recordText(record: AuditRecord): string {
  switch (record.kind) {
    case 'begin':
      return `node ${record.nodeId}, cluster ${record.clusterId ?? 'not named yet'}`;
    case 'continue':
      return `node ${record.nodeId}, next file`;
    case 'entry': {
      const { entry, shardId, index, outcome, facts } = record;
      return `${entry} at ${index} of shard ${shardId}: ${outcome} ${JSON.stringify(facts)}`;
    }
    case 'gap': {
      const { shardId, after, through, reason } = record;
      return `entries of shard ${shardId} after ${after}, through ${through}: ${reason}`;
    }
    case 'call':
      return `${record.method} ${record.path} ${JSON.stringify(record.given)} by ${record.caller}`;
    case 'result':
      return `call ${record.call}: ${record.code}`;
  }
}
