/** The state of a node as its status report shows it. */
import { CONTROL_SHARD, type KeyState } from '@raftseal/interface';
import type {
  BackupStatus,
  KekStatus,
  KeyStatus,
  NodeStatus,
  ShardStatus,
} from './admin/operations.ts';
import { withoutCredentials } from './audit/entry-facts.ts';
import { alarmsOf } from './node-alarms.ts';
import type { NodeKeys } from './node-keys.ts';
import type { NodeShard } from './node-shard.ts';
import { version } from './version.ts';

export interface NodeStatusInput
  extends Pick<NodeStatus, 'ready' | 'uptimeMs' | 'clients' | 'kekUris' | 'audit' | 'cluster'> {
  readonly keys: NodeKeys;
  readonly shards: readonly NodeShard[];
}

export function nodeStatus({ keys, shards, ...given }: NodeStatusInput): NodeStatus {
  const { state } = keys;
  const shardStatus = shards.map((shard) => shard.status());
  const status = {
    ...given,
    nodeId: keys.nodeId,
    version,
    encryption: encryptionStatus(state, shardStatus),
    clusterId: state.clusterId ? Buffer.from(state.clusterId).toString('hex') : null,
    storage: state.storageIndex === undefined ? 'cleartext' : 'sealed',
    sealedOnlyIndex: state.sealedOnlyIndex?.toString() ?? null,
    certificateFingerprint: keys.certificateFingerprint,
    keks: kekStatus(keys),
    shards: shardStatus,
    keys: keyStatus(keys),
    retiredDekIds: [...state.retired.keys()],
    backups: backupStatus(state),
  } as const;
  return { ...status, alarms: alarmsOf(status, state, Date.now()) };
}

function kekStatus({ keks }: NodeKeys): readonly KekStatus[] {
  const away = new Map(keks.outOfReach.map(({ uri, code }) => [uri, code ?? 'unexpected error']));
  return keks.uris.map((uri) => ({
    uri: withoutCredentials(uri),
    outOfReach: away.get(uri) ?? null,
  }));
}

function backupStatus({ backups }: KeyState): readonly BackupStatus[] {
  return [...backups].map(([backupId, { createdAtMs, dekIds }]) => ({
    backupId,
    createdAt: new Date(createdAtMs).toISOString(),
    dekIds,
  }));
}

function encryptionStatus(
  { cutoverIndex }: KeyState,
  shards: readonly ShardStatus[],
): NodeStatus['encryption'] {
  if (shards.every(({ log }) => log === 'sealed')) return 'sealed';
  return cutoverIndex.has(CONTROL_SHARD) ? 'enabling' : 'off';
}

function keyStatus({ state, authority }: NodeKeys): readonly KeyStatus[] {
  return [...state.keys].map(([dekId, key]) => ({
    dekId,
    purpose: key.purpose,
    active: state.activeDekId[key.purpose] === dekId,
    createdAt: new Date(key.createdAtMs).toISOString(),
    kekUris: key.wraps.map(({ kekUri }) => kekUri),
    nonceEpoch: key.nonceEpoch,
    seals: authority.seals(dekId).toString(),
  }));
}
