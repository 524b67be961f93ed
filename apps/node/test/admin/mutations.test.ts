/**
 * What an admin call may not do, however wrong it is and whenever its caller goes away: halt a
 * shard, stop the process, or leave writes waiting. Against nodes that run, over their ports.
 */

import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { errorCodes } from '@raftseal/interface';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { adminApp } from '../../src/admin/server.ts';
import type { NodeConfig } from '../../src/config.ts';
import { dataDirectoryPaths } from '../../src/data-directory.ts';
import type { Node } from '../../src/node.ts';
import { recordsOf } from '../audit/trail-world.ts';
import { adminCall, clientOf, keyOf, newConfig, running, SHARD_COUNT } from '../running-node.ts';
import { OperationsDouble } from './operations-double.ts';

/** Every call of the admin API that takes a body, whoever has added it. */
const posts = adminApp({
  operations: new OperationsDouble(),
  token: 'not needed here',
  onInternalError: () => undefined,
})
  .routes.filter(({ method }) => method === 'POST')
  .map(({ path }) => path);

function entriesOf({ dataPath }: NodeConfig, kind: string): number {
  const records = recordsOf(dataDirectoryPaths(dataPath).audit);
  return records.filter((record) => record.kind === 'entry' && record.entry === kind).length;
}

/** Every shard takes writes, and none has halted. */
async function expectServing(node: Node): Promise<void> {
  const { shards } = node.admin.status();
  expect(shards.map(({ haltCode }) => haltCode)).toEqual(shards.map(() => null));
  const client = clientOf(node);
  for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
    expect(await client.set(keyOf(shardId), 'value')).toBe('OK');
  }
  client.disconnect();
}

async function codeOfCall(
  node: Node,
  config: NodeConfig,
  ...[path, body]: readonly [path: string, body?: unknown]
): Promise<unknown> {
  const { status, text } = await adminCall(node, config, ['POST', path, body]);
  return status < 300 ? status : (JSON.parse(text) as { readonly code?: unknown }).code;
}

describe('a request for what is so already', () => {
  it('HAZARD ADM-20, ABOOT-18: brings no second bootstrap, however many ask at once', async () => {
    const config = newConfig({ encryption: 'off' });
    const node = await running(config);
    const asked = Array.from({ length: 6 }, () =>
      codeOfCall(node, config, '/v1/encryption/enable', {}),
    );
    expect(await Promise.all(asked)).toEqual(asked.map(() => 202));
    expect(await codeOfCall(node, config, '/v1/encryption/enable', {})).toBe(202);
    expect(entriesOf(config, 'bootstrap')).toBe(1);
    expect(entriesOf(config, 'enable-storage')).toBe(1);
    await expectServing(node);
  });
});

describe('a request that comes too early', () => {
  it('HAZARD AROT-07: for a rotation before there are keys, proposes nothing', async () => {
    const config = newConfig({ encryption: 'off' });
    const node = await running(config);
    const before = node.admin.status().shards;
    for (const path of ['/v1/keys/rotate', '/v1/keys/rewrap']) {
      expect(await codeOfCall(node, config, path, { purpose: 'raft' })).toBe(
        'RAFTSEAL_NODE_NOT_BOOTSTRAPPED',
      );
    }
    expect(node.admin.status().shards).toEqual(before);
    await expectServing(node);
  });
});

describe('what a request says about keys', () => {
  it('HAZARD ABOOT-19: a KEK that opens no wrap is refused, and nothing comes to be under it', async () => {
    const [config, foreign] = [newConfig(), newConfig()];
    const node = await running(config);
    const { kekUris } = foreign;
    expect(await codeOfCall(node, config, '/v1/keks/use', { kekUris })).toBe(
      'RAFTSEAL_KEK_MISMATCH',
    );
    expect(await codeOfCall(node, config, '/v1/keys/rotate', { purpose: 'raft' })).toBe(200);
    expect(await codeOfCall(node, config, '/v1/keys/rewrap')).toBe(200);
    for (const key of node.admin.status().keys) expect(key.kekUris).toEqual(config.kekUris);
    await expectServing(node);
    await node.stop();
    await expectServing(await running(config));
  });

  it('HAZARD ADM-23: epochs, ids and wraps of a caller count for nothing', async () => {
    const config = newConfig();
    const node = await running(config);
    const before = node.admin.status().keys;
    const [taken = 0] = before.map(({ dekId }) => dekId);
    const stale = { proposerNodeId: 1, proposerLocalEpoch: 0, epoch: 0, dekId: taken, wraps: [] };
    expect(await codeOfCall(node, config, '/v1/keys/rotate', { purpose: 'raft', ...stale })).toBe(
      200,
    );
    const epochs = recordsOf(dataDirectoryPaths(config.dataPath).audit).flatMap((record) =>
      record.kind === 'entry' && record.entry === 'register' ? [record.facts.epoch] : [],
    );
    expect(epochs).toEqual(epochs.map(() => 1));
    const { keys } = node.admin.status();
    expect(keys.filter(({ dekId }) => dekId === taken)).toHaveLength(1);
    for (const { purpose, nonceEpoch } of keys)
      expect(nonceEpoch).toBe(purpose === 'index' ? 0 : 1);
    await expectServing(node);
  });
});

describe('a caller that goes away', () => {
  /** Sends a call and drops the connection before it is answered. */
  async function abandoned(node: Node, { dataPath }: NodeConfig, path: string): Promise<void> {
    const token = readFileSync(join(dataPath, 'admin.token'), 'utf8').trim();
    await new Promise<void>((resolve) => {
      const call = request({
        port: node.adminPort,
        host: '127.0.0.1',
        method: 'POST',
        path,
        headers: { authorization: `Bearer ${token}` },
      });
      call.on('error', () => resolve());
      call.on('close', () => resolve());
      call.end('{"waves":[[2],[1]]}', () => setImmediate(() => call.destroy()));
    });
  }

  it('HAZARD ADM-40, ADM-41: keeps no cutover from its end, nor writes waiting', async () => {
    const config = newConfig({ encryption: 'off' });
    const node = await running(config);
    const client = clientOf(node);
    let isOver = false;
    const writers = Array.from({ length: SHARD_COUNT }, async (_, shardId) => {
      let written = 0;
      for (; !isOver; written++) await client.set(keyOf(shardId), `${written}`);
      return written;
    });
    await abandoned(node, config, '/v1/encryption/enable');
    // Asked again while it may still be under way, and after it is over.
    expect(await codeOfCall(node, config, '/v1/encryption/enable')).toBe(202);
    while (node.admin.status().encryption !== 'sealed')
      await new Promise((done) => setTimeout(done, 5));
    expect(await codeOfCall(node, config, '/v1/encryption/enable')).toBe(202);
    isOver = true;
    for (const written of await Promise.all(writers)) expect(written).toBeGreaterThan(0);
    expect(entriesOf(config, 'enable-raft')).toBe(SHARD_COUNT);
    await expectServing(node);
  });
});

describe('any body', () => {
  const odd = fc.constantFrom<unknown>(
    null,
    true,
    -1,
    0.5,
    1e300,
    2 ** 53,
    '',
    'raft',
    'index',
    '__proto__',
    'constructor',
    '\u0000',
    'x'.repeat(5000),
    'file:',
    'file:/dev/null',
    'file:/proc/self/mem',
    'nothing:x',
    [],
    {},
    [[]],
    [[0], [1, 1]],
    [[99]],
    { toString: 1 },
  );
  const names = ['purpose', 'waves', 'kekUris', 'nodeId', 'shard', 'dekId', 'backupId', 'epoch'];
  const fields = fc.dictionary(
    fc.oneof(fc.constantFrom(...names), fc.string({ maxLength: 8 })),
    fc.oneof(odd, fc.array(odd, { maxLength: 4 }), fc.string(), fc.integer()),
    { maxKeys: 4 },
  );
  const body = fc.oneof(
    fields.map((value) => JSON.stringify(value)),
    fc.json({ maxDepth: 3 }),
    fc.string(),
    fc.uint8Array({ maxLength: 40 }),
    fc.constant('['.repeat(60_000)),
    fc.constant(`{"purpose":"${'x'.repeat(70_000)}"}`),
  );

  it.each(['on', 'off'] as const)(
    'invariant 11: is answered or refused with a code, and halts nothing; encryption %s',
    async (encryption) => {
      const config = newConfig({ encryption, ...(encryption === 'off' && { kekUris: [] }) });
      const node = await running(config);
      const token = readFileSync(join(config.dataPath, 'admin.token'), 'utf8').trim();
      await fc.assert(
        fc.asyncProperty(fc.constantFrom(...posts), body, async (path, content) => {
          const response = await fetch(`http://127.0.0.1:${node.adminPort}${path}`, {
            method: 'POST',
            headers: { authorization: `Bearer ${token}` },
            body: typeof content === 'string' ? content : Buffer.from(content),
          });
          const reply = (await response.json()) as { readonly code?: string };
          if (response.status < 300) return;
          expect([400, 404, 409], `${path} ${reply.code}`).toContain(response.status);
          expect(Object.keys(errorCodes)).toContain(reply.code);
        }),
        { numRuns: 120 },
      );
      await expectServing(node);
      expect(node.admin.healthy).toBe(true);
    },
  );

  it('invariant 11: so is any query of the log', async () => {
    const config = newConfig();
    const node = await running(config);
    const value = fc.oneof(
      fc.constantFrom('0', '1', '-1', '99999999999999999999', '9'.repeat(19), '1e3', ''),
      fc.string({ maxLength: 6 }),
    );
    await fc.assert(
      fc.asyncProperty(value, value, value, async (shard, from, limit) => {
        const query = new URLSearchParams({ shard, from, limit });
        const { status, text } = await adminCall(node, config, [
          'GET',
          `/v1/log?${query.toString()}`,
        ]);
        if (status < 300) return;
        expect([400, 409]).toContain(status);
        expect(Object.keys(errorCodes)).toContain((JSON.parse(text) as { code: string }).code);
      }),
      { numRuns: 40 },
    );
    await expectServing(node);
  });
});
