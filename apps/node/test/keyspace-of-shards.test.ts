import { SLOT_COUNT } from '@raftseal/kv';
import { describe, expect, it } from 'vitest';
import { keyspaceOf, shardOfSlot } from '../src/keyspace-of-shards.ts';
import { MemoryKeyspace } from './redis/memory-keyspace.ts';

const slots = Array.from({ length: SLOT_COUNT }, (_, slot) => slot);

describe('slots', () => {
  it.each([1, 2, 3, 4, 5, 7, 16, 100, 1000, 1024])(
    'are dealt to %i shards in ranges whose lengths differ by one at most',
    (shardCount) => {
      const owners = slots.map((slot) => shardOfSlot(slot, shardCount));
      expect(owners).toEqual(owners.toSorted((a, b) => a - b));
      const lengths = Array.from({ length: shardCount }, () => 0);
      for (const owner of owners) lengths[owner] = (lengths[owner] ?? 0) + 1;
      expect(lengths).toHaveLength(shardCount);
      expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThanOrEqual(1);
    },
  );

  it('stay where they are: the data on disk is dealt by them', () => {
    const samples = [0, 1, 4095, 4096, 5460, 5461, 8191, 8192, 10922, 10923, 12287, 12288, 16383];
    expect(samples.map((slot) => shardOfSlot(slot, 4))).toEqual([
      0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3,
    ]);
    expect(samples.map((slot) => shardOfSlot(slot, 3))).toEqual([
      0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2,
    ]);
  });
});

describe('the key space of shards', () => {
  it('finds the shard of every slot, and takes anything else for a bug', () => {
    const { shards } = new MemoryKeyspace(3);
    const keyspace = keyspaceOf(shards);
    expect(keyspace.shards).toBe(shards);
    for (const slot of slots) expect(keyspace.shardOf(slot)).toBe(shards[shardOfSlot(slot, 3)]);
    for (const slot of [-1, SLOT_COUNT, 0.5]) expect(() => keyspace.shardOf(slot)).toThrow('slot');
  });

  it('is nothing without shards', () => {
    expect(() => keyspaceOf([])).toThrow('every slot has a shard');
  });
});
