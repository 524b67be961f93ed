/** Audits of nonces over the members of a cluster: who is asked reads the logs and asks the others. */
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { open } from 'lmdb';
import { describe, expect, it } from 'vitest';
import { auditStoppedNodes } from '../../src/nonces/stopped-member.ts';
import { keysIn, TIME_LIMIT_MS } from './cluster-steps.ts';
import {
  clusterClient,
  configOf,
  etcdOfFile,
  member,
  newPlace,
  SHARD_COUNT,
  until,
} from './running-cluster.ts';

const etcd = etcdOfFile();

/** Rewrites one row of a store that no node has open, as a seal under the same nonce would. */
async function sealAgain(dataPath: string): Promise<void> {
  const path = join(dataPath, 'shards', '1', 'store');
  const binary = { keyEncoding: 'binary', encoding: 'binary' } as const;
  const environment = open<Buffer, Buffer>({ ...binary, path, maxDbs: 8 });
  const table = environment.openDB<Buffer, Buffer>({ ...binary, name: 'sealed' });
  const [row] = [...table.getRange({ limit: 1 })];
  if (!row) throw new Error('shard 1 has a row');
  const value = Buffer.from(row.value);
  value[value.length - 16] = (value.at(-16) ?? 0) ^ 1;
  await table.put(row.key, value);
  await environment.close();
}

describe('an audit of the nonces of a cluster', { timeout: TIME_LIMIT_MS }, () => {
  it('invariant 3: covers the logs and the stores of all members, and says who is missing', async () => {
    const place = newPlace(etcd());
    const configs = ['a', 'b'].map((name) => configOf(place, name, { leaseTtlMs: 10_000 }));
    const nodes = [];
    for (const config of configs) nodes.push(await member(config));
    const [a, b] = nodes;
    if (!a || !b) throw new Error('two nodes were started');
    const client = clusterClient(nodes);
    const shardIds = Array.from({ length: SHARD_COUNT }, (_, shardId) => shardId);
    const keys = shardIds.flatMap((shardId) => keysIn(shardId, 5));
    for (const key of keys) await client.set(key, 'value');
    for (const node of nodes) {
      await until(() => node.admin.status().shards.every(({ rowsSealed }) => rowsSealed === 5));
    }
    for (const node of nodes) {
      const report = await node.admin.auditNonces();
      expect(report.findings).toEqual([]);
      expect(report.members.map(({ read }) => read)).toEqual(['log and stores', 'stores']);
      // The rows and meta rows in the stores of both; of the entries those that are not truncated.
      expect(report.envelopes).toBeGreaterThanOrEqual(2 * (keys.length + SHARD_COUNT));
      const writers = new Set(report.ranges.map(({ writerId }) => writerId));
      expect(writers).toEqual(new Set([1, 2]));
    }
    await b.stop();
    await until(async () => {
      const [finding] = (await a.admin.auditNonces()).findings;
      return finding?.code === 'member-missing';
    });
    await a.stop();
    const paths = configs.map(({ dataPath }) => dataPath);
    const report = await auditStoppedNodes(paths);
    expect(report).toMatchObject({ clean: true, findings: [] });
    expect(report.members.map(({ read, isAuthenticated }) => [read, isAuthenticated])).toEqual([
      ['stores', false],
      ['stores', false],
    ]);
    // A copy of a directory holds copies of its envelopes; one that differs is a second seal.
    const copied = join(place.root, 'copy');
    await cp(configs[0]?.dataPath ?? '', copied, { recursive: true });
    expect(await auditStoppedNodes([...paths, copied])).toMatchObject({ findings: [] });
    await sealAgain(copied);
    const { findings } = await auditStoppedNodes([...paths, copied], { recordsMax: 8 });
    expect(findings).toMatchObject([{ code: 'nonce-reused' }]);
    expect(findings[0]?.text).toMatch(/store of shard 1 of node-\w+ in .*copy$/);
  });
});
