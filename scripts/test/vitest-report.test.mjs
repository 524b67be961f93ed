import { describe, expect, it } from 'vitest';
import { countTests } from '../vitest-report.mjs';

/** @param {readonly string[]} statuses */
function file(statuses, status = 'passed') {
  const assertionResults = statuses.map((each, n) => ({ status: each, fullName: `test ${n}` }));
  return { name: '/a.test.ts', status, assertionResults };
}

describe('the count of tests', () => {
  it('counts what passed, over all files', () => {
    const report = { testResults: [file(['passed', 'passed']), file(['passed'])] };
    expect(countTests(report, 0)).toEqual({ passed: 3, failures: [] });
  });

  it.each(['failed', 'skipped', 'pending', 'todo', 'disabled'])(
    'takes a %s test for a failure',
    (status) => {
      const report = { testResults: [file(['passed', status])] };
      expect(countTests(report, 0)).toEqual({ passed: 1, failures: [`${status}: test 1`] });
    },
  );

  it('takes a file that could not be loaded for a failure', () => {
    const report = { testResults: [file(['passed']), file([], 'failed')] };
    expect(countTests(report, 1)).toEqual({ passed: 1, failures: ['file failed: /a.test.ts'] });
  });

  it('takes a file without any test for a failure', () => {
    const report = { testResults: [file(['passed']), file([])] };
    expect(countTests(report, 0).failures).toHaveLength(1);
  });

  it('counts a failed hook once, beside tests that passed', () => {
    const report = { testResults: [file(['passed'], 'failed')] };
    expect(countTests(report, 1).failures).toHaveLength(1);
  });

  it('fails for an exit code that no test explains', () => {
    const report = { testResults: [file(['passed'])] };
    expect(countTests(report, 1).failures).toHaveLength(1);
  });

  it('fails where vitest wrote no report, whatever it answered', () => {
    expect(countTests(undefined, 0).failures).toEqual(['vitest found no test']);
    expect(countTests(undefined, 1).failures).toHaveLength(1);
  });
});
