/**
 * Rebuilds the sidecar of a stopped node from what another node of its cluster has, or, for a node
 * that is alone, from an older sidecar and its own log. The sidecar is a cache of what the logs say,
 * but for one thing: the nonce epochs that this node has used. Those it takes from the
 * registrations, its own and those that it is given; the next process claims one above.
 */
import { join } from 'node:path';
import { openReplicatedKeyState, type ReplicatedKeyState, resyncKeyState } from '@raftseal/applier';
import { assert, codeOf, type KeyState, RaftsealError } from '@raftseal/interface';
import { readEtcdDocuments } from '@raftseal/raft-engine-etcd';
import { deriveMacKey, SidecarFile } from '@raftseal/sidecar';
import type { Logger } from 'pino';
import type { ClusterConfig, NodeConfig } from '../config.ts';
import { type DataDirectory, openDataDirectory } from '../data-directory.ts';
import { KekSet } from '../kek-set.ts';
import { type KeyEntriesParts, keyStateOfLog } from '../key-entries-of-log.ts';
import { readKeyStateFile } from '../key-state-file.ts';
import { peerUrl } from '../peer/access.ts';
import { Teardown } from '../teardown.ts';
import { openWriterRegistry } from '../writer-registry-store.ts';
import { openClusterAccess } from './cluster-access.ts';
import { NODES } from './cluster-record.ts';
import { decodePresence } from './presence.ts';

export interface ResyncConfig extends Pick<NodeConfig, 'dataPath' | 'kekUris'> {
  /** Undefined: the node is alone. */
  readonly cluster: ClusterConfig | undefined;
}

/**
 * @throws RAFTSEAL_APPLIER_RESYNC_NOT_NEEDED, RAFTSEAL_NODE_PEER_UNAVAILABLE, RAFTSEAL_KEK_MISMATCH,
 *   RAFTSEAL_NODE_SIDECAR_MISSING, RAFTSEAL_NODE_SIDECAR_BEHIND_LOG of a node that is alone;
 *   RAFTSEAL_NODE_DATA_DIR_LOCKED while the node runs, and what else keeps a node from starting
 */
export async function resyncSidecar(config: ResyncConfig, log: Logger): Promise<void> {
  const teardown = new Teardown();
  try {
    await resync(config, log, teardown);
  } finally {
    await teardown.run();
  }
}

async function resync(config: ResyncConfig, log: Logger, teardown: Teardown): Promise<void> {
  const { cluster } = config;
  const logPlace = cluster ? 'etcd' : 'embedded';
  const directory = await openDataDirectory({ path: config.dataPath, logPlace });
  teardown.add(() => directory.release());
  const keks = await KekSet.open(config.kekUris);
  teardown.add(() => keks.close());
  const found = cluster && (await fetchKeyState({ directory, keks, cluster, log, teardown }));
  const registry = openWriterRegistry(join(directory.keysPath, 'writers'));
  teardown.add(() => registry.close());
  const sidecar = await intactState(directory, keks);
  const rows = registry.rows();
  const replicated = found ?? (await ownKeyState({ directory, keks, sidecar, rows }));
  const { nodeId } = directory;
  const resynced = resyncKeyState({ nodeId, replicated, registry, sidecar });
  // The rows first: a sidecar that knows a writer without a row is refused as a sign of a lost registry.
  await registry.put(resynced.rows);
  await writeSidecar(directory, keks, resynced.state);
}

/** Any sidecar of the node will do, however old: it has keys that open what came next. */
async function ownKeyState({
  sidecar,
  ...parts
}: Omit<KeyEntriesParts, 'before'> & {
  readonly directory: DataDirectory;
  readonly sidecar: KeyState | undefined;
}): Promise<ReplicatedKeyState> {
  if (sidecar) return keyStateOfLog({ ...parts, before: sidecar });
  throw new RaftsealError(
    'RAFTSEAL_NODE_SIDECAR_MISSING',
    `expected an intact sidecar of this node in ${parts.directory.keysPath}, an older copy at least, ` +
      'since its keys open the log; found none: put one there and try again, or restore a backup ' +
      'with `raftseal backup restore`; nothing was changed',
  );
}

async function fetchKeyState(parts: {
  readonly directory: DataDirectory;
  readonly keks: KekSet;
  readonly cluster: ClusterConfig;
  readonly log: Logger;
  readonly teardown: Teardown;
}): Promise<ReplicatedKeyState> {
  const { directory, keks, cluster, log, teardown } = parts;
  const access = await openClusterAccess(cluster, log);
  teardown.add(() => access.close());
  const documents = await readEtcdDocuments(access.etcd, cluster.etcd.prefix, NODES);
  for (const { name, value } of documents) {
    const nodeId = name.slice(NODES.length);
    const address = decodePresence(value)?.peer;
    if (address === undefined || nodeId === directory.nodeId) continue;
    try {
      const bytes = await access.client.keyState(peerUrl(access.peers, address));
      if (bytes.length > 0) return await openReplicatedKeyState(bytes, keks.unwrap);
    } catch (error) {
      if (codeOf(error) !== 'RAFTSEAL_NODE_PEER_UNAVAILABLE') throw error;
      log.warn({ nodeId }, 'a node does not answer');
    }
  }
  throw new RaftsealError(
    'RAFTSEAL_NODE_PEER_UNAVAILABLE',
    'no other node of the cluster that has keys is in reach: start one, then run this again',
  );
}

/** Undefined for a sidecar that is missing or damaged: then the other node's word counts. */
async function intactState(
  { nodeId, keysPath }: DataDirectory,
  keks: KekSet,
): Promise<KeyState | undefined> {
  try {
    const request = { nodeId, directory: keysPath, encryption: 'on', keks } as const;
    const { state } = await readKeyStateFile(request);
    return state.clusterId ? state : undefined;
  } catch (error) {
    if (codeOf(error)?.startsWith('RAFTSEAL_SIDECAR_')) return undefined;
    throw error;
  }
}

async function writeSidecar(
  { keysPath }: DataDirectory,
  keks: KekSet,
  state: KeyState,
): Promise<void> {
  const { clusterId } = state;
  const dekId = state.activeDekId.index;
  const key = state.keys.get(dekId);
  assert(clusterId && key, 'a key state that was opened has an index DEK');
  const dek = await keks.unwrap(key, { clusterId, dekId, purpose: 'index' });
  try {
    await new SidecarFile({ directory: keysPath }).write(state, {
      dekId,
      macKey: deriveMacKey(dek),
    });
  } finally {
    dek.fill(0);
  }
}
