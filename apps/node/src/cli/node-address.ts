/** Options of every command that talks to a running node. */
import type { Command } from 'commander';
import { readToken } from '../admin/token.ts';
import { ADMIN_PORT_DEFAULT } from '../config.ts';
import { dataDirectoryPaths } from '../data-directory.ts';
import { AdminClient } from './admin-client.ts';

export const DATA_PATH_DEFAULT = './data';

export interface NodeAddressOptions {
  readonly admin: string;
  readonly data: string;
  readonly tokenFile?: string;
}

export function withNodeAddress(command: Command): Command {
  return command
    .option('--admin <url>', 'admin address of the node', `http://127.0.0.1:${ADMIN_PORT_DEFAULT}`)
    .option('--data <dir>', 'its data directory, where the admin token is', DATA_PATH_DEFAULT)
    .option('--token-file <file>', 'the admin token, if it is elsewhere');
}

/** @throws RAFTSEAL_NODE_ADMIN_TOKEN */
export async function adminClient(options: NodeAddressOptions): Promise<AdminClient> {
  const path = options.tokenFile ?? dataDirectoryPaths(options.data).adminToken;
  return new AdminClient({ url: options.admin, token: await readToken(path) });
}
