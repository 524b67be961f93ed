/**
 * `npm start`, `npm test` and `npm run bench`, which need nothing but Node and npm on the machine.
 *
 * - `start [...args]`: installs, builds, runs the server as a trial; args go to the server.
 * - `test`: installs, builds, runs every check and every test. Its last line is
 *   `N passed, N failed`: the tests and the checks, each check counted as one.
 * - `bench [...args]`: installs, builds, runs the benchmarks; args go to them.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pnpm, stepEnvironment } from './pnpm.mjs';
import { run, stopWithParent } from './processes.mjs';
import { installSystemPackages } from './system-packages.mjs';
import { countTests } from './vitest-report.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Several times what the tests take: only a hang is ended. */
const TESTS_TIMEOUT_MS = 30 * 60_000;

const install = ['install', '--frozen-lockfile', '--prod=false'];

/**
 * @param {readonly string[]} args
 * @returns {Promise<number>} exit code.
 */
async function start(args) {
  const code = await installAndBuild();
  if (code !== 0) return code;
  const server = join(root, 'apps/node/dist/main.js');
  return run(process.execPath, [server, 'start', '--trial', ...args], { stdin: 'inherit' });
}

/**
 * @param {readonly string[]} args
 * @returns {Promise<number>} exit code.
 */
async function bench(args) {
  const code = (await installAndBuild()) || (installSystemPackages() ? 0 : 1);
  if (code !== 0) return code;
  return run(process.execPath, [join(root, 'tooling/bench/dist/main.js'), ...args]);
}

/** @returns {Promise<number>} exit code. */
async function installAndBuild() {
  return (await pnpm(install)) || (await pnpm(['run', 'build']));
}

/** @returns {Promise<number>} exit code. */
async function test() {
  const startedMs = Date.now();
  const scratch = mkdtempSync(join(tmpdir(), 'raftseal-test-'));
  /** @type {string[]} */
  const failures = [];
  let passed = 0;

  /**
   * @param {string} name
   * @param {() => Promise<boolean>} action
   */
  const check = async (name, action) => {
    console.log(`\n== ${name}`);
    const ok = await action();
    if (ok) passed += 1;
    else failures.push(name);
    return ok;
  };

  try {
    if (await check('install', async () => (await pnpm(install)) === 0)) {
      await check('system packages', async () => installSystemPackages());
      await check('build', async () => (await pnpm(['run', 'build'])) === 0);
      await check('types', async () => (await pnpm(['run', 'typecheck'])) === 0);
      await check('lint', async () => (await pnpm(['run', 'lint'])) === 0);
      for (const result of [await projectChecks(scratch), await tests(scratch)]) {
        passed += result.passed;
        failures.push(...result.failures);
      }
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }

  console.log(`\n${Math.round((Date.now() - startedMs) / 1000)} s`);
  for (const failure of failures) console.log(`FAILED ${failure}`);
  console.log(`${passed} passed, ${failures.length} failed`);
  return failures.length === 0 ? 0 : 1;
}

/**
 * The checks of tooling/checks.
 * @param {string} scratch
 */
async function projectChecks(scratch) {
  console.log('\n== checks');
  const report = join(scratch, 'checks.json');
  const code = await pnpm(['run', 'check', '--report', report]);
  /** @type {{ passed: number, failures: string[] } | undefined} */
  const result = readJson(report);
  if (result === undefined) return { passed: 0, failures: [`checks: exit code ${code}`] };
  return result;
}

/** @param {string} scratch */
async function tests(scratch) {
  console.log('\n== tests');
  const report = join(scratch, 'vitest.json');
  const code = await run(
    process.execPath,
    [
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
    ],
    { env: stepEnvironment(), timeoutMs: TESTS_TIMEOUT_MS },
  );
  return countTests(readJson(report), code);
}

/** @param {string} path */
function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

stopWithParent();
process.chdir(root);
const [verb, ...rest] = process.argv.slice(2);
if (verb === 'start') process.exitCode = await start(rest);
else if (verb === 'test') process.exitCode = await test();
else if (verb === 'bench') process.exitCode = await bench(rest);
else {
  console.error('usage: node scripts/go.mjs start [...args] | test | bench [...args]');
  process.exitCode = 2;
}
