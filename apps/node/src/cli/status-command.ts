/**
 * `raftseal status`: one screen about a running node. Made of sections; one that has nothing to say
 * is left out.
 */
import { Command } from 'commander';
import type { KeyStatus, NodeStatus, RotationStatus, ShardStatus } from '../admin/operations.ts';
import { memberText } from './member-command.ts';
import { adminClient, type NodeAddressOptions, withNodeAddress } from './node-address.ts';
import { table } from './table.ts';

export function statusCommand(): Command {
  return withNodeAddress(new Command('status'))
    .description('show the node, its shards and its keys')
    .option('--json', 'as JSON')
    .action(async (options: NodeAddressOptions & { readonly json?: boolean }) => {
      const status = await (await adminClient(options)).get<NodeStatus>('/v1/status');
      const text = options.json
        ? JSON.stringify(status, null, 2)
        : statusText(status, { nowMs: Date.now() });
      process.stdout.write(`${text}\n`);
    });
}

export function statusText(status: NodeStatus, { nowMs }: { readonly nowMs: number }): string {
  const sections = [
    [
      ...headLines(status),
      ...kekLines(status),
      ...backupLines(status),
      ...certificateLines(status),
      auditLine(status),
    ],
    status.alarms.map(({ name, what }) => `ALARM ${name}: ${what}`),
    [columns(shardColumns, status.shards, nowMs), ...status.shards.flatMap(rewriteLines)],
    status.keys.length === 0 ? [] : [columns(keyColumns, status.keys, nowMs), ...retired(status)],
    status.cluster ? [memberText(status.cluster)] : [],
  ];
  return sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n');
}

function headLines(status: NodeStatus): readonly string[] {
  const { nodeId, version, uptimeMs, clients, encryption, storage, sealedOnlyIndex } = status;
  const cutOver = status.shards.filter(({ log }) => log === 'sealed').length;
  const progress =
    encryption === 'enabling' ? ` (${cutOver} of ${status.shards.length} shards)` : '';
  const sealedOnly = sealedOnlyIndex === null ? '' : `, sealed only from ${sealedOnlyIndex} on`;
  return [
    `node ${nodeId}, raftseal ${version}, up ${duration(uptimeMs)}, ${clients} clients`,
    `encryption ${encryption}${progress}, values ${storage}${sealedOnly}`,
  ];
}

function kekLines({ keks }: NodeStatus): readonly string[] {
  if (keks.length === 0) return ['KEK none'];
  return keks.map(({ uri, outOfReach }) =>
    outOfReach === null ? `KEK ${uri}` : `KEK ${uri}: out of reach (${outOfReach})`,
  );
}

/** How far a store's rows have followed a rotation, and which of them do not open. */
function rewriteLines({ shardId, rewrite }: ShardStatus): readonly string[] {
  if (rewrite === null) return [];
  const { dekId, rowsDone, rowsTotal, remainingMs, quarantined, quarantinedRows } = rewrite;
  const left = remainingMs === null ? '' : `, ${Math.ceil(remainingMs / 1000)} s left`;
  return [
    `shard ${shardId}: ${rowsDone} of ${rowsTotal} rows are under DEK ${dekId}${left}`,
    ...(quarantined > 0 ? [`shard ${shardId}: rows that do not open: ${quarantined}`] : []),
    ...quarantinedRows.map(({ rowKey, code }) => `  ${rowKey} ${code}`),
  ];
}

function certificateLines({ certificateFingerprint }: NodeStatus): readonly string[] {
  if (certificateFingerprint === null) return [];
  return [`certificates are signed by key ${certificateFingerprint}`];
}

function backupLines({ backups }: NodeStatus): readonly string[] {
  return backups.map(
    ({ backupId, createdAt, dekIds }) =>
      `backup ${backupId} of ${createdAt}, needs DEK ${dekIds.join(', ')}`,
  );
}

function auditLine({ audit: { records, headHash, failure } }: NodeStatus): string {
  const trouble = failure === null ? '' : `, NOT WRITTEN (${failure})`;
  return `audit trail: ${records} records, head ${headHash ?? 'none'}${trouble}`;
}

type Column<Row> = readonly [head: string, cell: (row: Row, nowMs: number) => string | number];

const shardColumns: readonly Column<ShardStatus>[] = [
  ['shard', ({ shardId }) => shardId],
  ['state', ({ state, haltCode }) => (haltCode ? `${state}: ${haltCode}` : state)],
  ['log', ({ log }) => log],
  ['cutover', ({ cutoverIndex }) => cutoverIndex ?? '-'],
  ['applied', ({ appliedIndex }) => appliedIndex],
  ['durable', ({ durableIndex }) => durableIndex],
  ['rows sealed', ({ rowsSealed }) => rowsSealed],
  ['rows clear', ({ rowsCleartext }) => rowsCleartext],
];

const keyColumns: readonly Column<KeyStatus>[] = [
  ['dekId', ({ dekId }) => dekId],
  ['purpose', ({ purpose }) => purpose],
  ['use', ({ active }) => (active ? 'active' : 'opens only')],
  ['age', ({ createdAt }, nowMs) => duration(nowMs - Date.parse(createdAt))],
  ['nonce epoch', ({ nonceEpoch }) => nonceEpoch],
  ['seals', ({ sealsOfCluster }) => sealsOfCluster],
  ['left', ({ budgetLeft }) => `${Math.floor(budgetLeft * 100)} %`],
  ['wraps', ({ kekUris }) => kekUris.length],
  ['next rotation', ({ nextRotation }) => rotationText(nextRotation)],
];

function rotationText(next: RotationStatus | null): string {
  if (next === null) return '-';
  const { cause, at, heldUpBy } = next;
  if (heldUpBy !== null) return `held up (${cause}): ${heldUpBy}`;
  return at === null ? `due (${cause})` : `${at} (${cause})`;
}

function columns<Row>(of: readonly Column<Row>[], rows: readonly Row[], nowMs: number): string {
  return table(
    of.map(([head]) => head),
    rows.map((row) => of.map(([, cell]) => cell(row, nowMs))),
  );
}

function retired({ retiredDekIds }: NodeStatus): readonly string[] {
  return retiredDekIds.length === 0 ? [] : [`retired: ${retiredDekIds.join(', ')}`];
}

/** In the largest unit that leaves two digits or more to tell by. */
function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const units = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
  ] as const;
  const unit = units.find(([, length]) => Math.abs(seconds) >= 2 * length);
  return unit ? `${Math.floor(seconds / unit[1])} ${unit[0]}` : `${seconds} s`;
}
