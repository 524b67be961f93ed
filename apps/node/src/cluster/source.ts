/** Where a cluster node's logs are: in etcd, shared with the other nodes. */
import { readEtcdDocuments } from '@raftseal/raft-engine-etcd';
import type { ClusterConfig } from '../config.ts';
import type { FoundationsConfig, LogSource } from '../foundations.ts';
import { Cluster, type ClusterParts } from './cluster.ts';
import { openClusterAccess } from './cluster-access.ts';
import { CLUSTER_DOCUMENT, decodeRecord } from './cluster-record.ts';

export interface ClusterSource extends LogSource {
  /** There once the logs are open. */
  readonly cluster: () => Cluster;
}

/**
 * Opens what a cluster node is given before its data directory: a new directory is made for as many
 * shards as the cluster has.
 * @throws RAFTSEAL_NODE_CERTIFICATE, RAFTSEAL_NODE_SECRET_FILE, RAFTSEAL_NODE_CLUSTER_FORMAT,
 *   RAFTSEAL_ENGINE_UNAVAILABLE, RAFTSEAL_ENGINE_ACCESS_DENIED
 */
export async function clusterSource(
  { shardCount: asked }: Pick<FoundationsConfig, 'shardCount'>,
  config: ClusterConfig,
  parts: Omit<ClusterParts, 'config' | 'access'>,
): Promise<ClusterSource> {
  const access = await openClusterAccess(config, parts.log);
  parts.teardown.add(() => access.close());
  const { prefix } = config.etcd;
  const documents = await readEtcdDocuments(access.etcd, prefix, CLUSTER_DOCUMENT);
  const document = documents.find(({ name }) => name === CLUSTER_DOCUMENT);
  const shardCount = asked ?? (document && decodeRecord(document).shardCount);
  let cluster: Cluster | undefined;
  const opened = (): Cluster => {
    if (cluster) return cluster;
    throw new Error('the logs are opened before anything is asked of the cluster');
  };
  return {
    request: { logPlace: 'etcd', ...(shardCount === undefined ? {} : { shardCount }) },
    open: async (directory) => {
      cluster = await Cluster.open(directory, { ...parts, config, access });
      return cluster.logs;
    },
    peers: {
      reads: config.reads,
      restore: (shardId, signal) => opened().restore(shardId, signal),
      yieldMs: (shardId) => opened().yieldMs(shardId),
    },
    cluster: opened,
  };
}
