import { describe, expect, it } from 'vitest';
import { checkHistory } from '../../src/run/history-check.ts';
import { op } from '../linearizability/histories.ts';

describe('the check of a history', () => {
  it('invariant 8: decides each key by itself, and shows what it cannot explain', () => {
    const good = op(0, 1, 'SET a 1', 'OK');
    const bad = op(2, 3, 'GET b', 'ghost');
    expect(checkHistory([good])).toEqual({ parts: 1, problems: [] });
    const { parts, problems } = checkHistory([good, bad]);
    expect(parts).toBe(2);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/^history of \{b\}: not linearizable\..*GET b -> \["ghost"\]/s);
  });

  it('takes what it could not decide for a failure', () => {
    const writes = Array.from({ length: 18 }, (_, n) => op(n, undefined, `APPEND k ${n}.`));
    const history = [...writes, op(100, 101, 'GET k', 'x')];
    const { problems } = checkHistory(history, { statesMax: 100, timeMsMax: 10_000 });
    expect(problems).toEqual(['history of {k}: undecided, not within 100 states']);
  });
});
