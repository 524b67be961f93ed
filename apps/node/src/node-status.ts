/** The state of a node as its status report shows it. */
import { CONTROL_SHARD, type KeyState } from '@raftseal/interface';
import type {
  KekStatus,
  KeyStatus,
  NodeStatus,
  RotationStatus,
  ShardStatus,
} from './admin/operations.ts';
import { withoutCredentials } from './audit/entry-facts.ts';
import { registeredBackups } from './backup/registered-backups.ts';
import type { KeyRotation } from './key-rotation.ts';
import { alarmsOf } from './node-alarms.ts';
import type { NodeKeys } from './node-keys.ts';
import type { NodeShard } from './node-shard.ts';
import { budgetLeft } from './rotation-policy.ts';
import { version } from './version.ts';

export interface NodeStatusInput
  extends Pick<NodeStatus, 'ready' | 'uptimeMs' | 'clients' | 'kekUris' | 'audit' | 'cluster'> {
  readonly keys: NodeKeys;
  readonly rotation: Pick<KeyRotation, 'next'>;
  readonly shards: readonly NodeShard[];
}

export function nodeStatus({ keys, rotation, shards, ...given }: NodeStatusInput): NodeStatus {
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
    keys: keyStatus(keys, rotation),
    retiredDekIds: [...state.retired.keys()],
    backups: registeredBackups(state),
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

function encryptionStatus(
  { cutoverIndex }: KeyState,
  shards: readonly ShardStatus[],
): NodeStatus['encryption'] {
  if (shards.every(({ log }) => log === 'sealed')) return 'sealed';
  return cutoverIndex.has(CONTROL_SHARD) ? 'enabling' : 'off';
}

function keyStatus(
  { state, authority, ledger }: NodeKeys,
  rotation: Pick<KeyRotation, 'next'>,
): readonly KeyStatus[] {
  return [...state.keys].map(([dekId, key]) => {
    const active = state.activeDekId[key.purpose] === dekId;
    const sealsOfCluster = ledger.sealsOfCluster(dekId);
    return {
      dekId,
      purpose: key.purpose,
      active,
      createdAt: new Date(key.createdAtMs).toISOString(),
      kekUris: key.wraps.map(({ kekUri }) => kekUri),
      nonceEpoch: key.nonceEpoch,
      seals: authority.seals(dekId).toString(),
      sealsOfCluster: sealsOfCluster.toString(),
      budgetLeft: budgetLeft(sealsOfCluster),
      nextRotation: active ? rotationStatus(rotation.next(key.purpose)) : null,
    };
  });
}

function rotationStatus(next: ReturnType<KeyRotation['next']>): RotationStatus | null {
  if (next === undefined) return null;
  const { cause, atMs, heldUpBy = null } = next;
  return { cause, at: atMs === undefined ? null : new Date(atMs).toISOString(), heldUpBy };
}
