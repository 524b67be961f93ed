import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import type { PeerAccess } from '../../src/peer/access.ts';
import { PeerClient } from '../../src/peer/client.ts';
import { type PeerServer, peerServer } from '../../src/peer/server.ts';
import { OperationsDouble } from '../admin/operations-double.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import { filesOf, type MutualTls, makeCertificates } from './certificates.ts';
import { PeerOperationsDouble, SnapshotDouble, someIdentity } from './operations-double.ts';
import { accessOf } from './serving.ts';

const [before = '', after = ''] = [0, 1].map(() => {
  const directory = mkdtempSync(join(tmpdir(), 'raftseal-certificates-'));
  makeCertificates(directory, ['127.0.0.1']);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
});

interface Side {
  readonly files: MutualTls;
  readonly access: PeerAccess;
}

async function newSide(): Promise<Side> {
  const directory = temporaryDirectory();
  cpSync(before, directory, { recursive: true });
  const files = filesOf(directory, '127.0.0.1');
  return { files, access: await accessOf(files) };
}

/** Gives a side a certificate of another CA, and lets it trust that CA alone. */
async function renew({ files, access }: Side): Promise<void> {
  const renewed = filesOf(after, '127.0.0.1');
  await copyFile(renewed.keyPath, files.keyPath);
  await copyFile(renewed.certificatePath, files.certificatePath);
  await copyFile(renewed.caPath, files.caPath);
  if (access.kind === 'mtls') await access.files.refresh();
}

async function served(access: PeerAccess, operations: PeerOperationsDouble): Promise<PeerServer> {
  const server = await peerServer(
    { host: '127.0.0.1', port: 0 },
    {
      access,
      operations,
      admin: new OperationsDouble(),
      onInternalError: () => undefined,
    },
  );
  onTestFinished(() => server.close());
  return server;
}

function clientOf(access: PeerAccess): PeerClient {
  const client = new PeerClient(access);
  onTestFinished(() => client.close());
  return client;
}

describe('certificates that are renewed under a running node', () => {
  it('are used for calls and to answer them from then on, by whatever CA', async () => {
    const [server, caller] = [await newSide(), await newSide()];
    const { port } = await served(server.access, new PeerOperationsDouble());
    const url = `https://127.0.0.1:${port}`;
    expect(await clientOf(caller.access).identity(url)).toEqual(someIdentity);
    await renew(server);
    // A caller without a kept connection meets the new certificate, and is met by the new CA.
    await expect(clientOf(caller.access).identity(url)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_PEER_REFUSED',
    });
    await renew(caller);
    expect(await clientOf(caller.access).identity(url)).toEqual(someIdentity);
  });

  it('are used by a client that has called with the earlier ones', async () => {
    const [server, caller] = [await newSide(), await newSide()];
    const { port } = await served(server.access, new PeerOperationsDouble());
    const client = clientOf(caller.access);
    const url = `https://127.0.0.1:${port}`;
    expect(await client.identity(url)).toEqual(someIdentity);
    await renew(server);
    await renew(caller);
    expect(await client.identity(url)).toEqual(someIdentity);
  });

  it('do not end what is under way', async () => {
    const [server, caller] = [await newSide(), await newSide()];
    const operations = new PeerOperationsDouble();
    operations.snapshotToSend = new SnapshotDouble({ chunkCount: 500, chunkBytes: 64 * 1024 });
    const { port } = await served(server.access, operations);
    const received = await clientOf(caller.access).snapshot(`https://127.0.0.1:${port}`, 0);
    await renew(server);
    await renew(caller);
    let length = 0;
    for await (const chunk of received.chunks) length += chunk.length;
    expect(length).toBe(500 * 64 * 1024);
  });
});
