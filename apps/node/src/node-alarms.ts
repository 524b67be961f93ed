/** What somebody has to look at, as far as one node can see it. docs/operations.md says what to do. */
import type { KeyState } from '@raftseal/interface';
import type { Alarm, KekStatus, NodeStatus } from './admin/operations.ts';
import { keyDatedAheadMs } from './clock-check.ts';
import { SEALS_WARNED } from './rotation-policy.ts';

/** Of 65,535 that a key has; each start takes one. */
const NONCE_EPOCH_HIGH = 0xf000;

export function alarmsOf(
  status: Pick<NodeStatus, 'shards' | 'keys' | 'audit' | 'cluster'> & {
    readonly keks: readonly KekStatus[];
  },
  state: KeyState,
  nowMs: number,
): readonly Alarm[] {
  return [
    ...status.shards.flatMap(({ shardId, haltCode }) =>
      haltCode === null
        ? []
        : [{ name: 'shard-halted', what: `shard ${shardId}: ${haltCode}` } as const],
    ),
    ...status.keks.flatMap(({ uri, outOfReach }) =>
      outOfReach === null
        ? []
        : [{ name: 'kek-out-of-reach', what: `${uri}: ${outOfReach}` } as const],
    ),
    ...auditAlarms(status),
    ...keyAlarms(status),
    ...memberAlarms(status),
    ...clockAlarms(state, nowMs),
  ];
}

function auditAlarms({ audit: { failure } }: Pick<NodeStatus, 'audit'>): readonly Alarm[] {
  if (failure === null) return [];
  return [
    { name: 'audit-not-written', what: `${failure}: calls that change something are refused` },
  ];
}

function keyAlarms({ keys }: Pick<NodeStatus, 'keys'>): readonly Alarm[] {
  return keys.flatMap((key) => {
    const { dekId, purpose, active, nonceEpoch, sealsOfCluster, nextRotation } = key;
    if (!active) return [];
    const what = `${purpose} DEK ${dekId}: rotate it`;
    const epochs: readonly Alarm[] =
      nonceEpoch < NONCE_EPOCH_HIGH ? [] : [{ name: 'nonce-epochs-low', what }];
    const count: readonly Alarm[] =
      BigInt(sealsOfCluster) < SEALS_WARNED ? [] : [{ name: 'seals-high', what }];
    const heldUpBy = nextRotation?.heldUpBy ?? null;
    const heldUp: readonly Alarm[] =
      heldUpBy === null
        ? []
        : [{ name: 'rotation-held-up', what: `${purpose} DEK ${dekId}: ${heldUpBy}` }];
    return [...epochs, ...count, ...heldUp];
  });
}

function memberAlarms({ cluster }: Pick<NodeStatus, 'cluster'>): readonly Alarm[] {
  const gone = cluster?.members.filter(({ isAlive }) => !isAlive) ?? [];
  return gone.map(({ nodeId }) => ({ name: 'member-out-of-reach', what: nodeId }));
}

function clockAlarms(state: KeyState, nowMs: number): readonly Alarm[] {
  const aheadMs = keyDatedAheadMs(state, nowMs);
  if (aheadMs === undefined) return [];
  const minutes = Math.round(aheadMs / 60_000);
  return [{ name: 'clock-behind-keys', what: `the newest key is dated ${minutes} minutes ahead` }];
}
