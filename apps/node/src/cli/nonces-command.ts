/** `raftseal nonces audit`: whether any nonce was used twice, and who may have used which. */
import { Command } from 'commander';
import type { NonceReport } from '../nonces/report.ts';
import { adminClient, type NodeAddressOptions, withNodeAddress } from './node-address.ts';
import { optionError } from './options.ts';
import { table } from './table.ts';

interface AuditOptions extends NodeAddressOptions {
  readonly offline?: boolean;
  readonly json?: boolean;
}

export function noncesCommand(): Command {
  const audit = withNodeAddress(new Command('audit'))
    .description('read every envelope of a node, or of all nodes of its cluster, for its nonce')
    .argument('[dirs...]', 'with --offline: further data directories of the same cluster')
    .option('--offline', 'read data directories of stopped nodes; needs no KEK')
    .option('--json', 'as JSON')
    .action(async (directories: readonly string[], options: AuditOptions) => {
      if (!options.offline && directories.length > 0) {
        throw optionError('data directories: expected with --offline only');
      }
      const report = options.offline
        ? await offline([options.data, ...directories])
        : await (await adminClient(options)).get<NonceReport>('/v1/nonces/audit', 0);
      const text = options.json ? JSON.stringify(report, null, 2) : auditText(report);
      process.stdout.write(`${text}\n`);
      if (!report.clean) process.exitCode = 1;
    });
  return new Command('nonces').description('what was sealed with which nonce').addCommand(audit);
}

async function offline(paths: readonly string[]): Promise<NonceReport> {
  const { auditStoppedNodes } = await import('../nonces/stopped-member.ts');
  return auditStoppedNodes(paths);
}

export function auditText(report: NonceReport): string {
  const { findings, findingCount } = report;
  const unlisted = findingCount - findings.length;
  return [
    rangeTable(report),
    '',
    memberTable(report),
    '',
    ...findings.map(({ code, text }) => `FINDING ${code}: ${text}`),
    ...(unlisted > 0 ? [`and ${unlisted} more findings`] : []),
    verdict(report),
  ].join('\n');
}

function verdict({ clean, findingCount, envelopes, copies }: NonceReport): string {
  const read = `${envelopes} envelopes read, ${copies} of them copies of another`;
  return clean
    ? `${read}: no nonce was used twice, and each is of an epoch that its writer registered`
    : `${read}: ${findingCount} FINDINGS`;
}

function rangeTable({ ranges }: NonceReport): string {
  return table(
    ['dekId', 'purpose', 'writer', 'node', 'epoch', 'envelopes', 'counters', 'registrations'],
    ranges.map((range) => [
      range.dekId,
      range.purpose ?? 'unknown',
      range.writerId,
      range.nodeId ?? 'unknown',
      range.nonceEpoch,
      range.envelopes,
      range.lowest === null ? '-' : `${range.lowest}..${range.highest}`,
      range.registrations,
    ]),
  );
}

function memberTable({ members }: NonceReport): string {
  return table(
    ['member', 'read', 'key state', 'directory'],
    members.map(({ nodeId, read, isAuthenticated, directory }) => [
      nodeId,
      read,
      isAuthenticated ? 'authenticated' : 'not authenticated',
      directory ?? '-',
    ]),
  );
}
