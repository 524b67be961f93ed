import { describe, expect, it } from 'vitest';
import { table } from '../../src/cli/table.ts';

describe('a table', () => {
  it('pads each column to its widest cell, and ends no line in space', () => {
    const rows = [
      ['a', 1, 'x'],
      ['longer', 22_222, ''],
    ];
    expect(table(['name', 'n', 'last'], rows).split('\n')).toEqual([
      'name    n      last',
      'a       1      x',
      'longer  22222',
    ]);
  });

  it('has its head alone where there are no rows', () => {
    expect(table(['name', 'n'], [])).toBe('name  n');
  });
});
