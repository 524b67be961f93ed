/**
 * One child process at a time, which does not outlive this one.
 *
 * npm runs a script through a shell, and the shell dies of SIGTERM without passing it on: this
 * process is then left with another parent. Watching the parent's id is how it learns of that.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

const PARENT_POLL_MS = 250;
const GRACE_MS = 20_000;

/** @type {import('node:child_process').ChildProcess | undefined} */
let child;
let stopping = false;

/** From here on, SIGTERM, SIGHUP and the end of the parent process stop the child and this. */
export function stopWithParent() {
  const parent = process.ppid;
  process.on('SIGTERM', stop);
  process.on('SIGHUP', stop);
  // Ctrl-C reaches the child as well; it decides what follows.
  process.on('SIGINT', () => {});
  setInterval(() => {
    if (process.ppid !== parent) stop();
  }, PARENT_POLL_MS).unref();
}

function stop() {
  if (stopping) return;
  stopping = true;
  if (child === undefined) process.exit(128 + constants.signals.SIGTERM);
  child.kill('SIGTERM');
  setTimeout(() => child?.kill('SIGKILL'), GRACE_MS).unref();
}

/**
 * Runs a program to its end, with this process's output.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, stdin?: 'inherit' | 'ignore', timeoutMs?: number }} [options]
 * @returns {Promise<number>} its exit code; 128 and the signal's number where a signal ended it,
 *   as at the end of `timeoutMs`; 127 where it could not be started.
 */
export async function run(command, args, { env, stdin = 'ignore', timeoutMs } = {}) {
  const started = spawn(command, args, { env, stdio: [stdin, 'inherit', 'inherit'] });
  const deadline = timeoutMs && setTimeout(expire, timeoutMs, started, timeoutMs);
  child = started;
  const code = await new Promise((resolve) => {
    started.once('error', (error) => {
      console.error(`${command} could not be started: ${error.message}`);
      resolve(127);
    });
    started.once('exit', (exitCode, signal) => {
      resolve(exitCode ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
  clearTimeout(deadline);
  child = undefined;
  if (stopping) process.exit(128 + constants.signals.SIGTERM);
  return code;
}

/**
 * @param {import('node:child_process').ChildProcess} late
 * @param {number} timeoutMs
 */
function expire(late, timeoutMs) {
  console.error(`${late.spawnargs.join(' ')} did not end within ${timeoutMs} ms and is ended`);
  late.kill('SIGKILL');
}
