/**
 * Counts the tests of vitest's JSON report. What did not run did not pass: a skipped test, a
 * todo, a file that could not be loaded and an error outside every test each count as a failure.
 */

/**
 * @typedef {object} Report
 * @property {readonly FileResult[]} testResults
 *
 * @typedef {object} FileResult
 * @property {string} name
 * @property {string} status
 * @property {readonly { status: string, fullName: string }[]} assertionResults
 */

/**
 * @param {Report | undefined} report - Undefined where vitest wrote none.
 * @param {number} exitCode - Of vitest.
 * @returns {{ passed: number, failures: string[] }} the failures by name.
 */
export function countTests(report, exitCode) {
  let passed = 0;
  const failures = [];
  for (const file of report?.testResults ?? []) {
    const failuresBefore = failures.length;
    for (const { status, fullName } of file.assertionResults) {
      if (status === 'passed') passed += 1;
      else failures.push(`${status}: ${fullName}`);
    }
    const explained = failures.length > failuresBefore;
    if (!explained && (file.status !== 'passed' || file.assertionResults.length === 0)) {
      failures.push(`file ${file.status}: ${file.name}`);
    }
  }
  if (exitCode !== 0 && failures.length === 0) {
    failures.push(`vitest ended with exit code ${exitCode}, for a reason outside the tests`);
  }
  if (passed === 0 && failures.length === 0) failures.push('vitest found no test');
  return { passed, failures };
}
