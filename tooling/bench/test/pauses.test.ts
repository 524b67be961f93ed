import { describe, expect, it } from 'vitest';
import { longestPauseMs } from '../src/cluster/pauses.ts';

const window = { fromMs: 100, untilMs: 200 };

describe('the longest pause', () => {
  it('is the longest time between two acknowledged writes', () => {
    expect(longestPauseMs([105, 120, 170, 195], window)).toBe(50);
  });

  it('begins with the window where nothing was acknowledged at first, and ends with it', () => {
    expect(longestPauseMs([160, 190], window)).toBe(60);
    expect(longestPauseMs([110, 130], window)).toBe(70);
    expect(longestPauseMs([], window)).toBe(100);
  });

  it('does not count what was acknowledged outside of the window', () => {
    expect(longestPauseMs([40, 99, 100, 180, 200, 230], window)).toBe(80);
  });
});
