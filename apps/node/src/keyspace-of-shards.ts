/** The shards of this node as one key space: slots in ranges, as even as they divide. */
import { assert } from '@raftseal/interface';
import { SLOT_COUNT } from '@raftseal/kv';
import type { ClusterTopology, Keyspace, Shard, SlotRange } from './redis/index.ts';

/** Every slot is of one shard for the life of the data directory. */
export function shardOfSlot(slot: number, shardCount: number): number {
  return Math.floor((slot * shardCount) / SLOT_COUNT);
}

/** The slots of a shard, which are those that {@link shardOfSlot} gives it. */
export function slotsOfShard(shardId: number, shardCount: number): SlotRange {
  const start = Math.ceil((shardId * SLOT_COUNT) / shardCount);
  return { start, end: Math.ceil(((shardId + 1) * SLOT_COUNT) / shardCount) - 1 };
}

export function keyspaceOf(shards: readonly Shard[], topology?: ClusterTopology): Keyspace {
  const bySlot = Array.from({ length: SLOT_COUNT }, (_, slot) => {
    const shard = shards[shardOfSlot(slot, shards.length)];
    assert(shard, 'every slot has a shard');
    return shard;
  });
  return {
    shards,
    shardOf: (slot) => {
      const shard = bySlot[slot];
      assert(shard, `slot ${slot} exists`);
      return shard;
    },
    ...(topology && { topology }),
    nowMs: Date.now,
  };
}
