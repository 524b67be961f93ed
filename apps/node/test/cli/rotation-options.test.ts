import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { type RotationOptions, rotationOf, withRotation } from '../../src/cli/rotation-options.ts';

function parse(...args: string[]) {
  const command = withRotation(new Command('start')).parse(args, { from: 'user' });
  return rotationOf(command.opts<RotationOptions>());
}

describe('the options of rotation', () => {
  it('are an age of 90 days where none is given', () => {
    expect(parse()).toEqual({ afterDays: 90 });
    expect(parse('--rotate-after-days', '0')).toEqual({ afterDays: 0 });
  });

  it('take a number of seals, and a time with or without a time of day', () => {
    const policy = parse('--rotate-after-seals', '1000000');
    expect(policy).toEqual({ afterDays: 90, afterSeals: 1_000_000n });
    const before = (text: string) => parse('--rotate-keys-made-before', text).madeBeforeMs;
    const noon = Date.UTC(2026, 4, 31, 12);
    expect(before('2026-05-31')).toBe(Date.UTC(2026, 4, 31));
    expect(before('2026-05-31T12:00Z')).toBe(noon);
    expect(before('2026-05-31T14:00:00.000+02:00')).toBe(noon);
  });

  it.each([
    ['--rotate-after-days', '-1'],
    ['--rotate-after-days', '1.5'],
    ['--rotate-after-seals', '999'],
    ['--rotate-after-seals', '4294967296'],
    ['--rotate-keys-made-before', 'now'],
    ['--rotate-keys-made-before', '2026-05-31T12:00:00'],
    ['--rotate-keys-made-before', '2026-13-31'],
  ])('are refused as %s %s', (...args) => {
    expect(() => parse(...args)).toThrow(
      expect.objectContaining({
        code: 'RAFTSEAL_NODE_OPTION',
        message: expect.stringContaining(args[0]),
      }),
    );
  });
});
