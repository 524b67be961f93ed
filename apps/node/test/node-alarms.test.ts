import { initialKeyState } from '@raftseal/applier';
import type { KeyRecord } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import type { KeyStatus, NodeStatus, ShardStatus } from '../src/admin/operations.ts';
import { alarmsOf } from '../src/node-alarms.ts';
import { someStatus } from './admin/operations-double.ts';

const nowMs = Date.parse('2026-06-01T00:00:00Z');
const [shard, [key]] = [someStatus.shards[0] as ShardStatus, someStatus.keys as [KeyStatus]];
const quiet: NodeStatus = {
  ...someStatus,
  shards: [shard],
  keys: [{ ...key, sealsOfCluster: '0' }],
  keks: [{ uri: 'file:/kek', outOfReach: null }],
};

function alarms(changes: Partial<NodeStatus>, createdAtMs = 0): string[] {
  const record: KeyRecord = { purpose: 'raft', wraps: [], createdAtMs, nonceEpoch: 1 };
  const state = { ...initialKeyState('a'), keys: new Map([[1, record]]) };
  return alarmsOf({ ...quiet, ...changes }, state, nowMs).map(
    ({ name, what }) => `${name}: ${what}`,
  );
}

describe('the alarms of a node', () => {
  it('are none where nothing is wrong', () => {
    expect(alarms({})).toEqual([]);
  });

  it('name what somebody has to look at', () => {
    expect(alarms({ shards: [{ ...shard, shardId: 3, haltCode: 'RAFTSEAL_X' }] })).toEqual([
      'shard-halted: shard 3: RAFTSEAL_X',
    ]);
    expect(
      alarms({ keks: [{ uri: 'aws-kms:a', outOfReach: 'RAFTSEAL_KEK_UNAVAILABLE' }] }),
    ).toEqual(['kek-out-of-reach: aws-kms:a: RAFTSEAL_KEK_UNAVAILABLE']);
    expect(alarms({ audit: { records: 1, headHash: null, failure: 'ENOSPC' } })).toEqual([
      'audit-not-written: ENOSPC: calls that change something are refused',
    ]);
    const { dekId } = key;
    expect(
      alarms({ keys: [{ ...key, sealsOfCluster: `${2n ** 31n}`, nonceEpoch: 0xf000 }] }),
    ).toEqual([
      `nonce-epochs-low: raft DEK ${dekId}: rotate it`,
      `seals-high: raft DEK ${dekId}: rotate it`,
    ]);
    expect(alarms({ keys: [{ ...key, active: false, nonceEpoch: 0xf000 }] })).toEqual([]);
    const nextRotation = { cause: 'age', at: null, heldUpBy: 'RAFTSEAL_KEK_UNAVAILABLE' } as const;
    expect(alarms({ keys: [{ ...key, sealsOfCluster: '0', nextRotation }] })).toEqual([
      `rotation-held-up: raft DEK ${dekId}: RAFTSEAL_KEK_UNAVAILABLE`,
    ]);
    const members = [
      {
        nodeId: 'b',
        role: 'voter',
        isSelf: false,
        isAlive: false,
        redis: null,
        peer: null,
        leads: [],
      },
    ] as const;
    expect(alarms({ cluster: { name: 'c', etcdBytes: 0, members } })).toEqual([
      'member-out-of-reach: b',
    ]);
  });

  it('say that the clock is behind the keys, but not for what clocks differ by', () => {
    expect(alarms({}, nowMs + 59 * 60_000)).toEqual([]);
    expect(alarms({}, nowMs + 24 * 60 * 60_000)).toEqual([
      'clock-behind-keys: the newest key is dated 1440 minutes ahead',
    ]);
  });
});
