import { describe, expect, it } from 'vitest';
import { shardOfKey, slotOf } from '../../src/history/slot.ts';

describe('slots', () => {
  it('are those of the Redis Cluster specification', () => {
    expect(slotOf('123456789')).toBe(0x31c3);
    expect(slotOf('x{123456789}y')).toBe(0x31c3);
    expect(slotOf('foo')).toBe(12_182);
  });

  it('belong to shards in even ranges', () => {
    expect([1, 4, 16].map((shards) => shardOfKey('foo', shards))).toEqual([0, 2, 11]);
  });
});
