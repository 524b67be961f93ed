/**
 * Runs a rig in mount and process namespaces of its own. When it ends, however it does, the kernel
 * ends every process that it started; with the last one the mounts go, and with those the loop
 * devices. Needs root.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requirePrograms } from './required-programs.ts';

/** Names the mount namespace outside: where it is also the one inside, there is no sandbox. */
const OUTSIDE = 'RAFTSEAL_RIG_MOUNTS_OUTSIDE';
/** A folder that is removed with the sandbox. */
const SCRATCH = 'RAFTSEAL_RIG_SCRATCH';

/**
 * Runs the program of this process again inside a sandbox, with the same arguments, and ends this
 * process with its status; returns only inside.
 * @returns a folder that is removed when the sandbox ends
 */
export async function enterSandbox(): Promise<string> {
  const inside = scratchInside();
  if (inside !== undefined) return inside;
  process.exit(await runInSandbox(process.argv.slice(1)));
}

/** Runs a program of Node in a sandbox. @returns its exit status */
export async function runInSandbox(
  args: readonly string[],
  output: 'inherit' | ((text: string) => void) = 'inherit',
): Promise<number> {
  requirePrograms(['unshare']);
  if (process.getuid?.() !== 0) {
    throw new Error('expected to run as root: mounts are made, in a namespace of their own');
  }
  const scratch = mkdtempSync(join(tmpdir(), 'raftseal-crash-'));
  const namespaces = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child'];
  const child = spawn('unshare', [...namespaces, '--mount-proc', process.execPath, ...args], {
    stdio: ['ignore', ...(output === 'inherit' ? (['inherit', 'inherit'] as const) : pipes)],
    env: { ...process.env, [OUTSIDE]: mountNamespace(), [SCRATCH]: scratch },
  });
  const end = (): boolean => child.kill('SIGKILL');
  process.once('exit', end).once('SIGINT', end).once('SIGTERM', end);
  if (output !== 'inherit') {
    child.stdout?.on('data', (bytes: Buffer) => output(bytes.toString()));
    child.stderr?.on('data', (bytes: Buffer) => output(bytes.toString()));
  }
  const [code] = (await once(child, 'close')) as [number | null];
  process.off('exit', end).off('SIGINT', end).off('SIGTERM', end);
  rmSync(scratch, { recursive: true, force: true });
  return code ?? 1;
}

const pipes = ['pipe', 'pipe'] as const;

/** @throws in a process that is not in a sandbox: it would mount for the whole machine. */
export function assertInSandbox(): void {
  if (scratchInside() === undefined) {
    throw new Error('nothing is mounted outside of a sandbox: see sandbox.ts');
  }
}

function scratchInside(): string | undefined {
  const outside = process.env[OUTSIDE];
  if (outside === undefined || outside === mountNamespace()) return undefined;
  return process.env[SCRATCH];
}

/** Where failures are kept: outside of the folder that goes with the sandbox. */
export function keptDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'raftseal-crash-kept-'));
}

function mountNamespace(): string {
  return readlinkSync('/proc/self/ns/mnt');
}
