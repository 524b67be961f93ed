/** `raftseal status`: one screen about a running node. */
import { Command } from 'commander';
import type { NodeStatus, ShardStatus } from '../admin/operations.ts';
import { memberText } from './member-command.ts';
import { adminClient, type NodeAddressOptions, withNodeAddress } from './node-address.ts';
import { table } from './table.ts';

export function statusCommand(): Command {
  return withNodeAddress(new Command('status'))
    .description('show the node, its shards and its keys')
    .option('--json', 'as JSON')
    .action(async (options: NodeAddressOptions & { readonly json?: boolean }) => {
      const status = await (await adminClient(options)).get<NodeStatus>('/v1/status');
      const text = options.json ? JSON.stringify(status, null, 2) : statusText(status);
      process.stdout.write(`${text}\n`);
    });
}

export function statusText(status: NodeStatus): string {
  const seconds = Math.round(status.uptimeMs / 1000);
  const sealedOnly = status.sealedOnlyIndex === null ? '' : ' (sealed-only)';
  const head = [
    `node ${status.nodeId}, raftseal ${status.version}, up ${seconds} s, ${status.clients} clients`,
    `encryption ${status.encryption}${sealedOnly}, values ${status.storage}, KEK ${status.kekUris.join(', ') || 'none'}`,
  ];
  if (status.certificateFingerprint !== null) {
    head.push(`certificates are signed by key ${status.certificateFingerprint}`);
  }
  const members = status.cluster ? ['', memberText(status.cluster)] : [];
  const shards = [shardTable(status), ...status.shards.flatMap(rewriteLines)];
  return [...head, '', ...shards, ...keyTable(status), ...members].join('\n');
}

function shardTable({ shards }: NodeStatus): string {
  return table(
    ['shard', 'state', 'log', 'cutover', 'applied', 'durable', 'rows sealed', 'rows clear'],
    shards.map((shard) => [
      shard.shardId,
      shard.haltCode ? `${shard.state}: ${shard.haltCode}` : shard.state,
      shard.log,
      shard.cutoverIndex ?? '-',
      shard.appliedIndex,
      shard.durableIndex,
      shard.rowsSealed,
      shard.rowsCleartext,
    ]),
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

function keyTable({ keys }: NodeStatus): readonly string[] {
  if (keys.length === 0) return [];
  const rows = keys.map((key) => [
    key.dekId,
    key.purpose,
    key.active ? 'active' : 'opens only',
    key.createdAt,
    key.nonceEpoch,
    key.seals,
  ]);
  return ['', table(['dekId', 'purpose', 'use', 'created', 'nonce epoch', 'seals'], rows)];
}
