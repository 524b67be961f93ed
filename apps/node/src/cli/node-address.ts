/** Options of every command that talks to a running node. */
import type { Command } from 'commander';
import { readToken } from '../admin/token.ts';
import { ADMIN_PORT_DEFAULT } from '../config.ts';
import { dataDirectoryPaths } from '../data-directory.ts';
import { readSecretFile } from '../secret-file.ts';
import { readCertificates } from '../tls-files.ts';
import { AdminClient, type AdminClientTls } from './admin-client.ts';
import { optionError } from './options.ts';

export const DATA_PATH_DEFAULT = './data';

export interface NodeAddressOptions {
  readonly admin: string;
  readonly data: string;
  readonly tokenFile?: string;
  readonly adminCa?: string;
  readonly adminCert?: string;
  readonly adminKey?: string;
}

export function withNodeAddress(command: Command): Command {
  return command
    .option('--admin <url>', 'admin address of the node', `http://127.0.0.1:${ADMIN_PORT_DEFAULT}`)
    .option('--data <dir>', 'its data directory, where the admin token is', DATA_PATH_DEFAULT)
    .option('--token-file <file>', 'the admin token, if it is elsewhere')
    .option('--admin-ca <file>', 'CA of the certificate of a node at https://')
    .option('--admin-cert <file>', 'certificate for a node that asks for one')
    .option('--admin-key <file>', 'its private key, mode 0600');
}

/** @throws RAFTSEAL_NODE_ADMIN_TOKEN, _CERTIFICATE, _SECRET_FILE, _OPTION */
export async function adminClient(options: NodeAddressOptions): Promise<AdminClient> {
  const path = options.tokenFile ?? dataDirectoryPaths(options.data).adminToken;
  const token = await readToken(path);
  return new AdminClient({ url: options.admin, token, tls: await tlsOf(options) });
}

async function tlsOf(options: NodeAddressOptions): Promise<AdminClientTls> {
  const { adminCa, adminCert, adminKey } = options;
  const ca = adminCa === undefined ? {} : { ca: await readCertificates(adminCa) };
  if (adminCert === undefined && adminKey === undefined) return ca;
  if (adminCert === undefined || adminKey === undefined) {
    throw optionError('--admin-cert and --admin-key: expected both or none');
  }
  const cert = await readCertificates(adminCert);
  return { ...ca, cert, key: await readSecretFile('the private key', adminKey) };
}
