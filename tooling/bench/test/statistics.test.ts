import { describe, expect, it } from 'vitest';
import { formatSpread, quantile, ratios, spread } from '../src/statistics.ts';

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

describe('quantile', () => {
  it('gives the smallest value that so many do not exceed, in whatever order they are', () => {
    const values = Array.from({ length: 200 }, (_, place) => 200 - place);
    expect(quantile(values, 0.5)).toBe(100);
    expect(quantile(values, 0.99)).toBe(198);
    expect(quantile(values, 1)).toBe(200);
    expect(quantile([7], 0.99)).toBe(7);
  });

  it('refuses no values', () => {
    expect(() => quantile([], 0.5)).toThrow(RangeError);
  });
});
