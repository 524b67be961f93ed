/** The secrets of a cluster node, read, and the connections that are made with them. */
import type { EtcdAccess } from '@raftseal/raft-engine-etcd';
import type { Logger } from 'pino';
import type { ClusterConfig } from '../config.ts';
import { closePeerAccess, openPeerAccess, type PeerAccess } from '../peer/access.ts';
import { PeerClient } from '../peer/client.ts';
import { readEtcdAccess } from './etcd-access.ts';

export interface ClusterAccess {
  readonly etcd: EtcdAccess;
  readonly peers: PeerAccess;
  readonly client: PeerClient;
  close(): void;
}

/** @throws RAFTSEAL_NODE_CERTIFICATE, RAFTSEAL_NODE_SECRET_FILE */
export async function openClusterAccess(
  config: ClusterConfig,
  log: Logger,
): Promise<ClusterAccess> {
  const etcd = await readEtcdAccess(config.etcd);
  const peers = await openPeerAccess(config.peer.security, {
    onFailure: (error) => log.error({ err: error }, 'renewed certificates cannot be used'),
  });
  const client = new PeerClient(peers);
  return {
    etcd,
    peers,
    client,
    close: () => {
      client.close();
      closePeerAccess(peers);
    },
  };
}
