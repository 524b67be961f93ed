import { describe, expect, it } from 'vitest';
import { hashTagOf, partitionByTag } from '../../src/linearizability/partition.ts';
import { op } from './histories.ts';

describe('the partition of a history', () => {
  it('takes the hash tag as Redis Cluster does', () => {
    const tags = ['a', 'x{a}y', '{a}{b}', '{}a', 'a{b', 'a}{b}'].map(hashTagOf);
    expect(tags).toEqual(['a', 'a', 'a', '{}a', 'a{b', 'b']);
  });

  it('keeps together what shares a tag, in the order of sending', () => {
    const first = op(5, 6, 'GET {a}x', null);
    const second = op(7, 8, 'SET {a}x 1; INCR {a}n', 'OK', 1);
    const other = op(1, 2, 'GET b', null);
    const parts = partitionByTag([second, first, other]);
    expect([...parts]).toEqual([
      ['b', [other]],
      ['a', [first, second]],
    ]);
  });

  it('refuses a transaction over several tags', () => {
    expect(() => partitionByTag([op(0, 1, 'GET a; GET b', null, null)])).toThrow(RangeError);
  });
});
