import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { run } from '../processes.mjs';

const processes = fileURLToPath(new URL('../processes.mjs', import.meta.url));

/** Runs a child that prints its id and then waits to be ended. */
const supervisor = `
  import { run, stopWithParent } from ${JSON.stringify(processes)};
  stopWithParent();
  const waiting = "console.log(process.pid); setInterval(() => {}, 1000)";
  process.exitCode = await run(process.execPath, ['-e', waiting]);
`;

/** @param {import('node:child_process').ChildProcess} process */
async function firstNumber(process) {
  if (process.stdout === null) throw new Error('expected a pipe on standard output');
  const [chunk] = await once(process.stdout, 'data');
  return Number(String(chunk));
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** @param {() => boolean} condition */
async function eventually(condition) {
  for (let waitedMs = 0; !condition(); waitedMs += 20) {
    if (waitedMs > 5_000) throw new Error('the condition did not come true within 5 s');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

it('SIGTERM ends the child too', async () => {
  const args = ['--input-type=module', '-e', supervisor];
  const outer = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(outer, 'exit');
  const inner = await firstNumber(outer);
  outer.kill('SIGTERM');
  expect(await exit).toEqual([143, null]);
  expect(isAlive(inner)).toBe(false);
});

it('the child ends where the parent dies without passing a signal on', async () => {
  // As npm's shell does: it waits for its command, and SIGTERM takes the shell alone.
  const command = `"${process.execPath}" --input-type=module -e '${supervisor.replaceAll("'", `'\\''`)}'; :`;
  const shell = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'] });
  const inner = await firstNumber(shell);
  expect(isAlive(inner)).toBe(true);
  shell.kill('SIGTERM');
  await eventually(() => !isAlive(inner));
});

it('a program that outlives its time is ended', async () => {
  const args = ['-e', 'setInterval(() => {}, 1000)'];
  expect(await run(process.execPath, args, { timeoutMs: 200 })).toBe(137);
});

it('a program that ends within its time gives its exit code', async () => {
  const args = ['-e', 'process.exitCode = 3'];
  expect(await run(process.execPath, args, { timeoutMs: 20_000 })).toBe(3);
  expect(await run('raftseal-no-such-program', [])).toBe(127);
});
