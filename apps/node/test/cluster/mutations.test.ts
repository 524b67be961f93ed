/** What calls of other nodes may not do: halt a shard, or get around the checks of a cutover. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { errorCodes } from '@raftseal/interface';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Node } from '../../src/node.ts';
import { peerApp } from '../../src/peer/server.ts';
import { OperationsDouble } from '../admin/operations-double.ts';
import { PeerOperationsDouble } from '../peer/operations-double.ts';
import { leadAll, TIME_LIMIT_MS } from './cluster-steps.ts';
import {
  type ClusterPlace,
  clusterClient,
  configOf,
  etcdOfFile,
  member,
  newPlace,
} from './running-cluster.ts';

const etcd = etcdOfFile();

interface Reply {
  readonly status: number;
  readonly code: string | undefined;
}

/** Calls a node as another node of its cluster does. */
async function peerCall(
  node: Node,
  place: ClusterPlace,
  ...[path, body]: readonly [path: string, body: string]
): Promise<Reply> {
  const { cluster, nodeId } = node.admin.status();
  const own = cluster?.members.find((found) => found.nodeId === nodeId);
  const response = await fetch(`http://${own?.peer}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${readFileSync(place.tokenPath, 'utf8')}` },
    body,
  });
  const reply = (await response.json()) as { readonly code?: string };
  return { status: response.status, code: reply.code };
}

async function expectServing(node: Node): Promise<void> {
  const { shards } = node.admin.status();
  expect(shards.map(({ haltCode }) => haltCode)).toEqual(shards.map(() => null));
  const client = clusterClient([node]);
  for (const key of ['a', 'b', 'c', 'd']) expect(await client.set(key, 'value')).toBe('OK');
}

/** Where a node would be, if it answered: connections are taken, and nothing is said. */
async function silentPeer(): Promise<{
  readonly port: number;
  hangUp(): void;
  called: Promise<void>;
}> {
  const sockets: Socket[] = [];
  let heard = (): void => undefined;
  const called = new Promise<void>((resolve) => {
    heard = resolve;
  });
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    heard();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const hangUp = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(hangUp);
  const address = server.address();
  return { port: typeof address === 'object' && address ? address.port : 0, hangUp, called };
}

describe('a call of another node', { timeout: TIME_LIMIT_MS }, () => {
  it('HAZARD ADM-24, ADM-42: halts nothing, and gets nobody past the check of members', async () => {
    const place = newPlace(etcd());
    const node = await member(configOf(place, 'a', { encryption: 'off' }));
    await leadAll(node);
    const { nodeId } = node.admin.status();

    // A node that is being admitted when sealing is asked for: its answer is waited for first.
    const silent = await silentPeer();
    const identity = { nodeId: 'node-silent', formatVersion: 1, release: '0', clusterId: null };
    const asks = {
      identity: { ...identity, shardCount: node.admin.status().shards.length },
      role: 'voter',
      peer: { host: '127.0.0.1', port: silent.port },
    };
    const ends: string[] = [];
    const admission = peerCall(node, place, '/v1/members', JSON.stringify(asks)).then((reply) => {
      ends.push('admission');
      return reply;
    });
    await silent.called;
    const enabled = node.admin.enableEncryption().then(() => ends.push('cutover'));
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(node.admin.status().clusterId).toBe(null);
    silent.hangUp();
    expect((await admission).status).toBe(409);
    await enabled;
    expect(ends).toEqual(['admission', 'cutover']);
    expect(node.admin.status().cluster?.members).toHaveLength(1);

    // Registrations that apply would halt at, or that would take somebody's place.
    const dekId = node.admin.status().keys.find(({ purpose }) => purpose === 'raft')?.dekId ?? 0;
    const claimId = randomBytes(16).toString('base64');
    const register = (fields: object): Promise<Reply> =>
      peerCall(
        node,
        place,
        '/v1/registrations',
        JSON.stringify({ nodeId, dekId, epoch: 3, claimId, ...fields }),
      );
    expect(await register({ dekId: (dekId ^ 1) >>> 0 })).toMatchObject({
      code: 'RAFTSEAL_APPLIER_DEK_UNKNOWN',
    });
    expect(await register({ nodeId: 'node-9' })).toMatchObject({
      code: 'RAFTSEAL_NODE_UNKNOWN_MEMBER',
    });
    for (const epoch of [0, -1, 65_536, 1.5, '1']) {
      expect(await register({ epoch })).toMatchObject({ status: 400 });
    }
    expect(await register({ epoch: 2 })).toMatchObject({ status: 200 });
    expect(await register({ epoch: 1 })).toMatchObject({ code: 'RAFTSEAL_APPLIER_EPOCH_STALE' });

    const posts = peerApp({
      access: { kind: 'token', token: 'not needed here' },
      operations: new PeerOperationsDouble(),
      admin: new OperationsDouble(),
      onInternalError: () => undefined,
    })
      .routes.filter(({ method, path }) => method === 'POST' && !path.startsWith('/admin/'))
      .map(({ path }) => path);
    expect(posts.length).toBeGreaterThan(2);
    const body = fc.oneof(fc.json({ maxDepth: 2 }), fc.string(), fc.constant(JSON.stringify(asks)));
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...posts), body, async (path, content) => {
        const { status, code } = await peerCall(node, place, path, content);
        if (status < 300) return;
        expect([400, 409], `${path} ${code}`).toContain(status);
        expect(Object.keys(errorCodes)).toContain(code);
      }),
      { numRuns: 60 },
    );
    await expectServing(node);
  });
});
