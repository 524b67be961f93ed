import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { KeyStatus } from '../src/admin/operations.ts';
import { dataDirectoryPaths } from '../src/data-directory.ts';
import { startNode } from '../src/node.ts';
import { adminCall, clientOf, keyOf, newConfig, running, SHARD_COUNT } from './running-node.ts';

const shardIds = Array.from({ length: SHARD_COUNT }, (_, shardId) => shardId);

/** A port that somebody else has, until the test is over. */
async function takenPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

describe('a new node', () => {
  it('invariant 1: is sealed before anybody can write to it', async () => {
    const config = newConfig();
    const node = await running(config);
    const status = node.admin.status();
    expect(status).toMatchObject({ ready: true, encryption: 'sealed', storage: 'sealed' });
    for (const shard of status.shards) {
      expect(shard).toMatchObject({ state: 'leading', log: 'sealed', haltCode: null });
      expect(shard.appliedIndex).toBe(shard.cutoverIndex);
    }
    const client = clientOf(node);
    for (const shardId of shardIds) await client.set(keyOf(shardId), 'value');
    const { logs } = await node.admin.verify();
    for (const log of logs) expect(log.cleartextData).toBe(0);
  });

  it('serves what it was given, on the ports it names', async () => {
    const node = await running(newConfig());
    const client = clientOf(node);
    expect(await client.set('greeting', 'hello')).toBe('OK');
    expect(await client.get('greeting')).toBe('hello');
    const health = await fetch(`http://127.0.0.1:${node.adminPort}/health`);
    expect([health.status, await health.json()]).toEqual([200, { status: 'ok' }]);
  });

  it('asks for the password it was given, in whatever script', async () => {
    const config = newConfig({ redis: { host: '127.0.0.1', port: 0, password: 'pässwörd' } });
    const node = await running(config);
    const client = clientOf(node);
    await expect(client.get('key')).rejects.toThrow('NOAUTH');
    expect(await client.auth('pässwörd')).toBe('OK');
    expect(await client.get('key')).toBe(null);
  });

  it('takes the admin token from the file it is told', async () => {
    const tokenPath = join(newConfig().dataPath, '..', 'token');
    const missing = newConfig({ admin: { host: '127.0.0.1', port: 0, tokenPath } });
    await expect(startNode(missing)).rejects.toMatchObject({ code: 'RAFTSEAL_NODE_ADMIN_TOKEN' });
    expect(existsSync(dataDirectoryPaths(missing.dataPath).adminToken)).toBe(false);
  });
});

describe('a node that starts again', () => {
  it('invariant 2: has what was acknowledged, and goes on', async () => {
    const config = newConfig();
    for (let start = 0; start < 3; start++) {
      const node = await running(config);
      const client = clientOf(node);
      for (let before = 0; before < start; before++) {
        for (const shardId of shardIds) {
          expect(await client.get(keyOf(shardId, before))).toBe(`start ${before}`);
        }
      }
      for (const shardId of shardIds) await client.set(keyOf(shardId, start), `start ${start}`);
      await node.stop();
    }
  });

  it('invariant 3: seals under a new nonce epoch at each start', async () => {
    const config = newConfig();
    for (let start = 1; start <= 3; start++) {
      const node = await running(config);
      const { keys } = node.admin.status();
      const epochs = keys.map(({ purpose, nonceEpoch }) => [purpose, nonceEpoch]);
      expect(new Map(epochs as [string, number][])).toEqual(
        new Map([
          ['storage', start],
          ['raft', start],
          ['index', 0],
        ]),
      );
      await node.stop();
    }
  });

  it('keeps its identity, its keys and its token', async () => {
    const config = newConfig();
    const first = await running(config);
    const { nodeId, clusterId, keys } = first.admin.status();
    const token = await readFile(dataDirectoryPaths(config.dataPath).adminToken);
    await first.stop();
    const again = await running({ ...config, shardCount: undefined });
    expect(again.admin.status()).toMatchObject({ nodeId, clusterId });
    const dekIds = ({ dekId }: KeyStatus): number => dekId;
    expect(new Set(again.admin.status().keys.map(dekIds))).toEqual(new Set(keys.map(dekIds)));
    expect(await readFile(dataDirectoryPaths(config.dataPath).adminToken)).toEqual(token);
  });

  it('opens what older keys sealed', async () => {
    const config = newConfig();
    const node = await running(config);
    const client = clientOf(node);
    await client.set(keyOf(1), 'before');
    await node.admin.rotate('storage');
    await node.admin.rotate('raft');
    await client.set(keyOf(2), 'after');
    await node.stop();
    const again = await running(config);
    const values = [keyOf(1), keyOf(2)].map((key) => clientOf(again).get(key));
    expect(await Promise.all(values)).toEqual(['before', 'after']);
    expect((await again.admin.verify()).problems).toEqual([]);
  });
});

describe('a running node', () => {
  it('goes over to another KEK, and starts with that one alone afterwards', async () => {
    const config = newConfig();
    const [before = ''] = config.kekUris;
    const after = newConfig().kekUris[0] ?? '';
    const node = await running(config);
    const client = clientOf(node);
    await client.set('key', 'value');
    const post = (path: string, body: object): Promise<{ readonly status: number }> =>
      adminCall(node, config, ['POST', path, body]);
    // The new one opens no key yet, so that it cannot be the only one.
    expect((await post('/v1/keks/use', { kekUris: [after] })).status).toBe(409);
    expect(node.admin.status().kekUris).toEqual([before]);
    for (const kekUris of [[before, after], [after]]) {
      expect((await post('/v1/keks/use', { kekUris })).status).toBe(200);
      expect((await post('/v1/keys/rewrap', {})).status).toBe(200);
      for (const key of node.admin.status().keys) expect(key.kekUris).toEqual(kekUris);
    }
    await client.set('later', 'value');
    await node.admin.rotate('raft');
    await node.stop();
    await expect(startNode(config)).rejects.toMatchObject({ code: 'RAFTSEAL_KEK_MISMATCH' });
    const again = await running({ ...config, kekUris: [after] });
    for (const key of ['key', 'later']) expect(await clientOf(again).get(key)).toBe('value');
  });
});

describe('a node in the clear', () => {
  it('without a KEK, refuses to enable encryption, and goes on in the clear', async () => {
    const config = newConfig({ encryption: 'off', kekUris: [] });
    const node = await running(config);
    const client = clientOf(node);
    await client.set(keyOf(1), 'plain');
    const { status, text } = await adminCall(node, config, ['POST', '/v1/encryption/enable']);
    expect([status, JSON.parse(text)]).toMatchObject([409, { code: 'RAFTSEAL_NODE_KEK_REQUIRED' }]);
    expect(node.admin.status()).toMatchObject({
      encryption: 'off',
      storage: 'cleartext',
      keys: [],
    });
    expect(await client.get(keyOf(1))).toBe('plain');
    await client.set(keyOf(2), 'plain too');
    await node.stop();
    expect(await clientOf(await running(config)).get(keyOf(2))).toBe('plain too');
  });

  it('refuses to rotate what it does not have', async () => {
    const config = newConfig({ encryption: 'off' });
    const node = await running(config);
    const call = ['POST', '/v1/keys/rotate', { purpose: 'raft' }] as const;
    const { status, text } = await adminCall(node, config, call);
    expect([status, JSON.parse(text)]).toMatchObject([
      409,
      { code: 'RAFTSEAL_NODE_NOT_BOOTSTRAPPED' },
    ]);
  });

  it('is sealed while it serves, and sealed for good', async () => {
    const config = newConfig({ encryption: 'off' });
    const node = await running(config);
    const client = clientOf(node);
    for (const shardId of shardIds) await client.set(keyOf(shardId), 'early');
    const call = ['POST', '/v1/encryption/enable', { waves: [[2], [1]] }] as const;
    const writes = Array.from({ length: 300 }, (_, n) => client.set(`during:${n}`, `${n}`));
    expect((await adminCall(node, config, call)).status).toBe(202);
    expect(new Set(await Promise.all(writes))).toEqual(new Set(['OK']));
    while (node.admin.status().encryption !== 'sealed')
      await new Promise((done) => setImmediate(done));
    for (const shardId of shardIds) await client.set(keyOf(shardId, 1), 'late');
    const report = await node.admin.verify();
    expect(report.problems).toEqual([]);
    await node.stop();
    await expect(startNode(config)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_SIDECAR_WITHOUT_ENCRYPTION',
    });
    const again = await running({ ...config, encryption: 'on' });
    for (const shardId of shardIds) expect(await clientOf(again).get(keyOf(shardId))).toBe('early');
  });

  it('that holds data is not sealed by a start, which changes nothing', async () => {
    const config = newConfig({ encryption: 'off' });
    const node = await running(config);
    await clientOf(node).set(keyOf(1), 'plain');
    await node.stop();
    await expect(startNode({ ...config, encryption: 'on' })).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_CLEARTEXT_DATA',
    });
    const again = await running(config);
    expect(again.admin.status()).toMatchObject({ encryption: 'off', clusterId: null });
    expect(await clientOf(again).get(keyOf(1))).toBe('plain');
  });
});

describe('a start that fails', () => {
  it.each(['redis', 'admin'] as const)(
    'for the %s port, says so and leaves nothing open',
    async (listener) => {
      const config = newConfig();
      const port = await takenPort();
      const taken = { ...config, [listener]: { ...config[listener], port } };
      await expect(startNode(taken)).rejects.toMatchObject({
        code: 'RAFTSEAL_NODE_PORT',
        message: expect.stringContaining(`127.0.0.1:${port}`),
      });
      expect(existsSync(dataDirectoryPaths(config.dataPath).lock)).toBe(false);
      const node = await running(config);
      expect(node.admin.status().encryption).toBe('sealed');
    },
  );

  it('says why, even where not everything can be closed after it', async () => {
    const config = newConfig();
    const port = await takenPort();
    const { lock } = dataDirectoryPaths(config.dataPath);
    const starting = startNode({ ...config, redis: { ...config.redis, port } });
    const refused = expect(starting).rejects.toMatchObject({ code: 'RAFTSEAL_NODE_PORT' });
    while (!existsSync(lock)) await new Promise((done) => setImmediate(done));
    // The lock cannot be given back: it is no file any more.
    rmSync(lock);
    mkdirSync(lock);
    await refused;
    await rm(lock, { recursive: true });
    await running(config);
  });

  it('for a data directory in use, leaves its user alone', async () => {
    const config = newConfig();
    const node = await running(config);
    await expect(startNode(config)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_DATA_DIR_LOCKED',
    });
    expect(await clientOf(node).set('key', 'value')).toBe('OK');
  });
});

describe('a node that is stopped', () => {
  it('while it starts, stops, and leaves nothing open', async () => {
    for (const beforeStart of [true, false]) {
      const config = newConfig();
      const stopping = new AbortController();
      if (beforeStart) stopping.abort();
      const starting = running(config, { signal: stopping.signal });
      setTimeout(() => stopping.abort(), 20);
      const node = await starting;
      await node.stopped;
      expect(existsSync(dataDirectoryPaths(config.dataPath).lock)).toBe(false);
      const again = await running(config);
      expect(again.admin.status().encryption).toBe('sealed');
    }
  });

  it('by its signal or by a call, stops once', async () => {
    const stopping = new AbortController();
    const config = newConfig();
    const node = await running(config, { signal: stopping.signal });
    stopping.abort();
    await Promise.all([node.stop(), node.stop(), node.stopped]);
    await node.stop();
    expect(existsSync(dataDirectoryPaths(config.dataPath).lock)).toBe(false);
  });

  it('under load, has everything that it acknowledged', async () => {
    const config = newConfig();
    const node = await running(config);
    const client = clientOf(node);
    const acknowledged: number[] = [];
    const writes = Array.from({ length: 3000 }, (_, n) =>
      client.set(`load:${n}`, `${n}`).then(
        () => acknowledged.push(n),
        () => undefined,
      ),
    );
    while (acknowledged.length < 300) await new Promise((done) => setImmediate(done));
    await node.stop();
    await Promise.all(writes);
    const again = clientOf(await running(config));
    const found = await Promise.all(acknowledged.map((n) => again.get(`load:${n}`)));
    expect(found).toEqual(acknowledged.map(String));
  });
});
