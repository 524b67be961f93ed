/** What a backup holds, restored by the command line as a cluster of one node, and asked for. */
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { runCommand } from '../world/command.ts';
import { freePorts } from '../world/free-ports.ts';
import { loopbackHost } from '../world/host.ts';
import { ManagedProcess } from '../world/managed-process.ts';
import type { World } from '../world/world.ts';
import type { VerifiedBackup } from './backups.ts';

export interface RestorePlace {
  readonly world: World;
  readonly backup: VerifiedBackup;
  /** The built `main.js` of the node. */
  readonly program: string;
  readonly environment: Readonly<Record<string, string>>;
}

const RESTORE_TIMEOUT_MS = 60_000;
const RECONNECT_MS = 100;
/** The start of the node included. */
const ANSWER_TIMEOUT_MS = 30_000;

/** @returns the keys that do not hold these values in what was restored */
export async function lostByRestore(
  place: RestorePlace,
  entries: readonly (readonly [key: string, value: string])[],
): Promise<readonly string[]> {
  const { process: node, port } = await restoredNode(place);
  // It connects once the node has started.
  const client = new Redis(port, {
    retryStrategy: () => RECONNECT_MS,
    maxRetriesPerRequest: null,
    commandTimeout: ANSWER_TIMEOUT_MS,
  });
  client.on('error', () => undefined);
  try {
    const found = await Promise.all(entries.map(([key]) => client.get(key)));
    return entries.flatMap(([key, value], at) => (found[at] === value ? [] : [key]));
  } finally {
    client.disconnect();
    await node.kill();
  }
}

async function restoredNode({
  world,
  backup,
  program,
  environment,
}: RestorePlace): Promise<{ readonly process: ManagedProcess; readonly port: number }> {
  const data = join(world.directory, 'restored');
  const ownKek = ['--data', data, '--kek', `file:${world.kekPath}`] as const;
  const backupKeks = backup.kekUris.flatMap((uri) => ['--backup-kek', uri]);
  await runCommand(
    [process.execPath, program, 'backup', 'restore', backup.path, ...ownKek, ...backupKeks],
    { environment, timeoutMs: RESTORE_TIMEOUT_MS },
  );
  const [port = 0, adminPort = 0] = await freePorts(2);
  const ports = ['--port', `${port}`, '--admin-port', `${adminPort}`] as const;
  const host = loopbackHost('restored');
  const node = new ManagedProcess({
    name: host.name,
    host,
    command: [process.execPath, program, 'start', ...ownKek, ...ports],
    logPath: join(world.directory, 'restored-output'),
  });
  node.start();
  return { process: node, port };
}
