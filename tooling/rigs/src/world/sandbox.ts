/**
 * Runs a program in network, mount and process namespaces of its own. When it ends, however it
 * does, the kernel ends every process that it started, and with the last one the namespaces go.
 * Needs root, or the right to make user namespaces.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import type { CommandLine } from './host.ts';

/** Names the network namespace outside: where it is also the one inside, there is no sandbox. */
const OUTSIDE = 'RAFTSEAL_RIG_OUTSIDE';

export function spawnInSandbox(command: CommandLine): ChildProcess {
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const namespaces = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  return spawn('unshare', [...user, ...namespaces, ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, [OUTSIDE]: networkNamespace() },
  });
}

/** @throws in a process that is not in a sandbox: it would change the network of the machine. */
export function assertInSandbox(): void {
  const outside = process.env[OUTSIDE];
  if (outside === undefined || outside === networkNamespace()) {
    throw new Error('a network is only made inside a sandbox: see sandbox.ts');
  }
}

function networkNamespace(): string {
  return readlinkSync('/proc/self/ns/net');
}
