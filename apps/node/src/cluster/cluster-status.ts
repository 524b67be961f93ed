/** The cluster as the status of a node shows it. */
import type { ClusterStatus } from '../admin/operations.ts';
import type { Address } from '../config.ts';
import type { ClusterRecord } from './cluster-record.ts';
import type { ClusterView } from './cluster-view.ts';

export interface ClusterStatusInput {
  readonly record: ClusterRecord;
  readonly view: ClusterView;
  readonly nodeId: string;
  readonly etcdBytes: number;
}

export function clusterStatus({
  record,
  view,
  nodeId: own,
  etcdBytes,
}: ClusterStatusInput): ClusterStatus {
  const shardIds = Array.from({ length: record.shardCount }, (_, shardId) => shardId);
  const text = (address: Address | undefined): string | null =>
    address ? `${address.host}:${address.port}` : null;
  return {
    name: record.name,
    etcdBytes,
    members: [...view.members].map(([nodeId, role]) => {
      const presence = view.live.get(nodeId)?.presence;
      return {
        nodeId,
        role,
        isSelf: nodeId === own,
        isAlive: presence !== undefined,
        redis: text(presence?.redis),
        peer: text(presence?.peer),
        leads: shardIds.filter((shardId) => view.leaderIdOf(shardId) === nodeId),
      };
    }),
  };
}
