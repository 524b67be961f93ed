/** The raftseal section of the INFO command. */
import type { NodeStatus } from './admin/operations.ts';

export function infoSection(status: NodeStatus): readonly (readonly [string, string | number])[] {
  const sum = (of: (shard: NodeStatus['shards'][number]) => number): number =>
    status.shards.reduce((total, shard) => total + of(shard), 0);
  return [
    ['raftseal_version', status.version],
    ['node_id', status.nodeId],
    ['encryption', status.encryption],
    ['storage', status.storage],
    ['shards', status.shards.length],
    ['shards_sealed', sum(({ log }) => Number(log === 'sealed'))],
    ['shards_halted', sum(({ haltCode }) => Number(haltCode !== null))],
    ['rows_sealed', sum(({ rowsSealed }) => rowsSealed)],
    ['rows_cleartext', sum(({ rowsCleartext }) => rowsCleartext)],
  ];
}
