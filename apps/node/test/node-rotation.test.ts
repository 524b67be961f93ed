/** A node alone that rotates its keys by itself. */
import { describe, expect, it } from 'vitest';
import type { NodeStatus } from '../src/admin/operations.ts';
import { until } from './key-world.ts';
import { adminCall, clientOf, keyOf, newConfig, running, SHARD_COUNT } from './running-node.ts';

const counts = ({ keys }: NodeStatus): Record<string, number> => {
  const found: Record<string, number> = { storage: 0, raft: 0, index: 0 };
  for (const { purpose } of keys) found[purpose] = (found[purpose] ?? 0) + 1;
  return found;
};

describe('a node that is told to rotate keys made before a time', () => {
  it('does so once, over any number of starts, counts its seals, and finds what it has written', async () => {
    const config = newConfig({ rotation: { afterDays: 0 } });
    const first = await running(config);
    const client = clientOf(first);
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) await client.set(keyOf(shardId), 'old');
    await first.stop();
    const raft = ({ keys }: NodeStatus, isActive: boolean) =>
      keys.find(({ purpose, active }) => purpose === 'raft' && active === isActive);
    const before = BigInt(raft(first.admin.status(), true)?.sealsOfCluster ?? 0);
    expect(before).toBeGreaterThanOrEqual(BigInt(SHARD_COUNT));
    const rotation = { afterDays: 0, madeBeforeMs: Date.now() };
    const second = await running({ ...config, rotation });
    await until(() => second.admin.status().keys.length === 6);
    const active = raft(second.admin.status(), true);
    for (const { raftDekId } of second.admin.status().shards) expect(raftDekId).toBe(active?.dekId);
    const after = raft(second.admin.status(), false);
    const total = before + BigInt(after?.seals ?? 0);
    expect(after).toMatchObject({ sealsOfCluster: `${total}`, nextRotation: null });
    expect(after?.budgetLeft).toBeCloseTo(1);
    const { text } = await adminCall(second, config, ['GET', '/metrics']);
    const labels = `purpose="raft",dek_id="${after?.dekId}"`;
    expect(text).toContain(`raftseal_dek_seals_of_cluster{${labels}} ${total}\n`);
    expect(text).toContain(`raftseal_dek_budget_left{${labels}} 0.99`);
    expect(text).toContain('raftseal_dek_rotation_held_up{purpose="raft"} 0\n');
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
      expect(await clientOf(second).get(keyOf(shardId))).toBe('old');
      await clientOf(second).set(keyOf(shardId, 1), 'new');
    }
    await second.stop();
    const third = await running({ ...config, rotation });
    expect(counts(third.admin.status())).toEqual({ storage: 2, raft: 2, index: 2 });
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
      expect(await clientOf(third).mget(keyOf(shardId))).toEqual(['old']);
      expect(await clientOf(third).get(keyOf(shardId, 1))).toBe('new');
    }
    for (const { nextRotation } of third.admin.status().keys) expect(nextRotation).toBeNull();
  });
});
