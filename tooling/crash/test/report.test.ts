/** When a rig is content. */
import { describe, expect, it } from 'vitest';
import { isRight, Tally } from '../src/world/report.ts';

describe('a scenario', () => {
  it('is right with faults and without violations', () => {
    const tally = new Tally('any');
    tally.run('kill', []);
    expect(isRight(tally.result())).toBe(true);
    tally.run('kill', ['lost']);
    expect(isRight(tally.result())).toBe(false);
  });

  it('proves nothing where no fault happened', () => {
    const tally = new Tally('any');
    tally.void();
    expect(isRight(tally.result())).toBe(false);
  });

  it('with a planted bug is right where the bug is caught', () => {
    const tally = new Tally('any', true);
    tally.run('kill', []);
    expect(isRight(tally.result())).toBe(false);
    tally.run('kill', ['lost']);
    expect(isRight(tally.result())).toBe(true);
  });
});
