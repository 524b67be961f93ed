/** Peer servers on free ports of loopback, closed when the test is over. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { PeerSecurity } from '../../src/config.ts';
import {
  closePeerAccess,
  openPeerAccess,
  type PeerAccess,
  peerUrl,
} from '../../src/peer/access.ts';
import { PeerClient, type PeerClientTimeouts } from '../../src/peer/client.ts';
import { type PeerServerTimeouts, peerServer } from '../../src/peer/server.ts';
import { OperationsDouble } from '../admin/operations-double.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import { PeerOperationsDouble } from './operations-double.ts';

export const PEER_TOKEN = 'peers-know-each-other-by-this';

export function tokenSecurity(token = PEER_TOKEN): PeerSecurity {
  const tokenPath = join(temporaryDirectory(), 'peer.token');
  writeFileSync(tokenPath, `${token}\n`, { mode: 0o600 });
  return { kind: 'token', tokenPath };
}

export async function accessOf(security: PeerSecurity): Promise<PeerAccess> {
  const access = await openPeerAccess(security);
  onTestFinished(() => closePeerAccess(access));
  return access;
}

export interface ServedPeer {
  readonly url: string;
  readonly port: number;
  readonly operations: PeerOperationsDouble;
  readonly admin: OperationsDouble;
  /** Failures that the server could tell nobody but the node. */
  readonly internal: unknown[];
  close(): Promise<void>;
}

export async function servedPeer(
  security: PeerSecurity,
  timeouts: Partial<PeerServerTimeouts> = {},
): Promise<ServedPeer> {
  const operations = new PeerOperationsDouble();
  const admin = new OperationsDouble();
  const internal: unknown[] = [];
  const access = await accessOf(security);
  const server = await peerServer(
    { host: '127.0.0.1', port: 0 },
    { access, operations, admin, onInternalError: (error) => internal.push(error), timeouts },
  );
  onTestFinished(() => server.close());
  const { port } = server;
  const url = peerUrl(access, { host: '127.0.0.1', port });
  return { url, port, operations, admin, internal, close: () => server.close() };
}

export async function clientWith(
  security: PeerSecurity,
  timeouts: Partial<PeerClientTimeouts> = {},
): Promise<PeerClient> {
  const client = new PeerClient(await accessOf(security), timeouts);
  onTestFinished(() => client.close());
  return client;
}
