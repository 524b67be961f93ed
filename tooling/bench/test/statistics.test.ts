import { describe, expect, it } from 'vitest';
import { formatSpread, ratios, spread } from '../src/statistics.ts';

describe('spread', () => {
  it('gives the middle value of an odd count and the mean of the middle two of an even one', () => {
    expect(spread([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
    expect(spread([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 });
  });

  it('refuses no values', () => {
    expect(() => spread([])).toThrow(RangeError);
  });

  it('compares values of the same round', () => {
    expect(ratios([1, 4], [2, 2])).toEqual([0.5, 2]);
    expect(formatSpread({ median: 1, min: 0.5, max: 2 }, 1)).toBe('1.0 (0.5-2.0)');
  });
});
