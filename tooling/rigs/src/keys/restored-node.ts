/** A backup, restored by the command line as a cluster of its own that is one node, and started. */
import { join } from 'node:path';
import type { Endpoint } from '../history/cluster-client.ts';
import { runCommand } from '../world/command.ts';
import { freePorts } from '../world/free-ports.ts';
import { loopbackHost } from '../world/host.ts';
import { ManagedProcess } from '../world/managed-process.ts';
import type { World } from '../world/world.ts';
import type { VerifiedBackup } from './backups.ts';

export interface RestoredNode {
  readonly process: ManagedProcess;
  readonly endpoint: Endpoint;
}

export interface RestorePlace {
  readonly world: World;
  readonly backup: VerifiedBackup;
  /** The built `main.js` of the node. */
  readonly program: string;
  readonly environment: Readonly<Record<string, string>>;
}

const RESTORE_TIMEOUT_MS = 60_000;

/** Its first client has to wait until it has started. */
export async function restoredNode({
  world,
  backup,
  program,
  environment,
}: RestorePlace): Promise<RestoredNode> {
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
  return { process: node, endpoint: { host: host.address, port } };
}
