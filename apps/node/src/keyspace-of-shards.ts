/** The shards of this node as one key space: slots in ranges, as even as they divide. */
import { assert } from '@raftseal/interface';
import { SLOT_COUNT } from '@raftseal/kv';
import type { Keyspace, Shard } from './redis/index.ts';

/** Every slot is of one shard for the life of the data directory. */
export function shardOfSlot(slot: number, shardCount: number): number {
  return Math.floor((slot * shardCount) / SLOT_COUNT);
}

export function keyspaceOf(shards: readonly Shard[]): Keyspace {
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
    nowMs: Date.now,
  };
}
