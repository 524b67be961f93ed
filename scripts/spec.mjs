/**
 * `npm run spec [-- --quick]`: checks the model of the cutover in spec/ with Spin, whole, and with
 * each part of the protocol taken away: where that opens a hole, Spin has to find it. Prints a line
 * for each; exit code 1 where one is not as expected.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const model = fileURLToPath(new URL('../spec/cutover.pml', import.meta.url));
const SEARCH_TIMEOUT_MS = 10 * 60_000;
const DEPTH_MAX = 1_000_000;
const VECTOR_BYTES_MAX = 4096;

/**
 * @typedef {object} Configuration
 * @property {string} name
 * @property {readonly string[]} flags - Of the model.
 * @property {'holds' | 'fails'} expected
 */

/**
 * @typedef {object} Verdict
 * @property {'holds' | 'fails'} found
 * @property {number} states - How many were searched.
 * @property {string | undefined} violated - The assertion, where there is one.
 */

/** One data shard, and a node that crashes; two data shards, in two waves. */
const world = ['-DSHARDS=2', '-DCRASHES=1'];
const waves = ['-DSHARDS=3', '-DCRASHES=0'];

/** Whole, as large as is searched in a minute each. @type {readonly Configuration[]} */
export const whole = [
  { name: 'one shard', flags: [...world, '-DELECTIONS=2'], expected: 'holds' },
  { name: 'two waves', flags: [...waves, '-DELECTIONS=1'], expected: 'holds' },
];

/** Whole, and small. @type {readonly Configuration[]} */
export const small = [
  { name: 'one shard', flags: [...world, '-DELECTIONS=1'], expected: 'holds' },
  { name: 'two waves', flags: [...waves, '-DELECTIONS=0'], expected: 'holds' },
];

/** What may be missing as long as the expected index is there. @type {readonly Configuration[]} */
export const redundant = ['FENCE', 'CATCHUP', 'GATE'].map((part) => ({
  name: `without ${part}`,
  flags: [...world, '-DELECTIONS=2', `-D${part}=0`],
  expected: 'holds',
}));

/** @type {readonly Configuration[]} */
export const holes = [
  ...['INSTALL', 'STARTUP', 'SIDECAR', 'CONTROL', 'DEKWAIT', 'OBEY'].map((part) => hole([part])),
  ...['FENCE', 'CATCHUP', 'GATE'].map((part) => hole(['EXPECT', part])),
  { name: 'without WAVES', flags: [...waves, '-DELECTIONS=0', '-DWAVES=0'], expected: 'fails' },
];

/**
 * @param {readonly string[]} parts
 * @returns {Configuration}
 */
function hole(parts) {
  const flags = parts.map((part) => `-D${part}=0`);
  return {
    name: `without ${parts.join(' and ')}`,
    flags: [...world, '-DELECTIONS=1', ...flags],
    expected: 'fails',
  };
}

/**
 * Searches every state of the model, or as far as to the first violation.
 * @param {Configuration} configuration
 * @returns {Verdict}
 * @throws where Spin or the compiler fails, or the search does not come to its end
 */
export function search({ flags, expected }) {
  const directory = mkdtempSync(join(tmpdir(), 'raftseal-spec-'));
  try {
    execute(directory, 'spin', ['-a', ...flags, model]);
    const options = ['-DSAFETY', '-DCOLLAPSE', `-DVECTORSZ=${VECTOR_BYTES_MAX}`];
    // A hole is found sooner than an optimizer is done.
    const level = expected === 'holds' ? '-O2' : '-O0';
    execute(directory, 'cc', [level, '-w', ...options, '-o', 'pan', 'pan.c']);
    const report = execute(directory, './pan', [`-m${DEPTH_MAX}`]);
    const errors = Number(/errors: (\d+)/.exec(report)?.[1] ?? Number.NaN);
    const states = Number(/(\d+) states, stored/.exec(report)?.[1] ?? Number.NaN);
    const isCutShort = /max search depth too small|out of memory/.test(report);
    if (Number.isNaN(errors + states) || isCutShort) throw new Error(`no verdict: ${report}`);
    const violated = /^pan:1: (.*)$/m.exec(report)?.[1];
    return { found: errors === 0 ? 'holds' : 'fails', states, violated };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * @param {string} cwd
 * @param {string} command
 * @param {readonly string[]} args
 */
function execute(cwd, command, args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    timeout: SEARCH_TIMEOUT_MS,
  });
  if (error === undefined && status === 0) return stdout;
  throw new Error(
    `${command} was expected to run (exit code ${status}): ${error?.message ?? stderr}. On Debian ` +
      'or Ubuntu: apt-get install spin gcc libc6-dev.',
    { cause: error },
  );
}

function main() {
  const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } });
  const configurations = values.quick ? [...small, ...holes] : [...whole, ...redundant, ...holes];
  for (const configuration of configurations) {
    const { found, states, violated } = search(configuration);
    const isAsExpected = found === configuration.expected;
    if (!isAsExpected) process.exitCode = 1;
    const mark = isAsExpected ? 'ok    ' : 'FAILED';
    console.log(
      `${mark} ${configuration.name}: ${found}, ${states} states${violated ? `, ${violated}` : ''}`,
    );
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
