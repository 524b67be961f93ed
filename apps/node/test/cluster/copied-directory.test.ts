/**
 * Two processes with one identity, from a copy of a data directory. Only one of them takes part at
 * a time, and no (DEK, nonce) pair seals two different things, whatever they do.
 */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { NodeConfig } from '../../src/config.ts';
import { startNode } from '../../src/node.ts';
import { auditStoppedNodes } from '../../src/nonces/stopped-member.ts';
import { startWriters } from '../acceptance/writers.ts';
import { RawClient, request } from '../redis/raw-client.ts';
import { expectSameState, keyIn, preferForAll, TIME_LIMIT_MS } from './cluster-steps.ts';
import { EtcdByHand, type StoredEntry } from './etcd-by-hand.ts';
import {
  clusterClient,
  configOf,
  etcdOfFile,
  ledBy,
  member,
  newPlace,
  SHARD_COUNT,
  until,
} from './running-cluster.ts';
import { SealLedger, writerOf } from './seal-ledger.ts';
import { SpawnedMember } from './spawned-member.ts';

const etcd = etcdOfFile();

async function copyOf(config: NodeConfig): Promise<NodeConfig> {
  const dataPath = `${config.dataPath}-copy`;
  await cp(config.dataPath, dataPath, { recursive: true });
  // It names a process that is alive, and has another directory.
  await rm(join(dataPath, 'lock'), { force: true });
  return { ...config, dataPath };
}

function codeOf(result: PromiseSettledResult<unknown>): unknown {
  return result.status === 'rejected' ? result.reason.code : undefined;
}

describe('two copies of a data directory', { timeout: TIME_LIMIT_MS }, () => {
  it('invariant 3: started at once, are one node: the other is refused, until it has gone', async () => {
    const place = newPlace(etcd());
    const other = await member(configOf(place, 'other'));
    const original = configOf(place, 'a');
    await (await member(original)).stop();
    const configs = [original, await copyOf(original)];
    const client = clusterClient([other]);
    for (let round = 1; round <= 2; round++) {
      const results = await Promise.allSettled(configs.map((config) => startNode(config)));
      const started = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
      for (const node of started) onTestFinished(() => node.stop());
      expect(started).toHaveLength(1);
      expect(results.map(codeOf)).toContain('RAFTSEAL_ENGINE_IDENTITY_IN_USE');
      const [node] = started;
      if (!node) throw new Error('one has started');
      await preferForAll(other, node.admin.status().nodeId);
      await until(() => ledBy(node).length === SHARD_COUNT);
      const writers = startWriters([client], `round ${round}`);
      await until(() => writers.acknowledged > 200);
      await writers.stop();
      expect(writers.failures).toEqual([]);
      await expectSameState([other.admin, node.admin]);
      await node.stop();
    }
    await other.stop();
    const ledger = new SealLedger();
    ledger.addEntries(await new EtcdByHand(place).history());
    for (const { dataPath } of [...configs, configOf(place, 'other')]) {
      await ledger.addStores(dataPath);
    }
    expect(ledger.seals).toBeGreaterThan(400);
    await expectAudited([...configs, configOf(place, 'other')]);
  });

  it('invariant 3: the one that was stopped meanwhile is displaced, ends, and seals nothing', async () => {
    const place = newPlace(etcd());
    const other = await member(configOf(place, 'other'));
    const original = await SpawnedMember.start(configOf(place, 'a'));
    const { nodeId } = await original.status();
    await preferForAll(other, nodeId);
    await until(() => ledBy(other).length === 0 && other.admin.healthy);
    const client = clusterClient([other]);
    const writers = startWriters([client], 'before');
    await until(() => writers.acknowledged > 200);
    const late = await RawClient.open(original.redisPort);
    original.pause();
    const byHand = new EtcdByHand(place);
    await until(async () => (await byHand.get(`nodes/${nodeId}`)) === undefined);
    const copy = await SpawnedMember.start(await copyOf(original.config));
    await until(async () => (await copy.status()).shards.every(({ state }) => state === 'leading'));
    const after = startWriters([clusterClient([other])], 'after');
    await until(() => after.acknowledged > 200);
    late.send(request('SET', keyIn(1), 'late'));
    original.resume();
    expect(await original.ended()).toBe(1);
    expect(original.log).toContainEqual(
      expect.objectContaining({ code: 'RAFTSEAL_ENGINE_DISPLACED', level: 60 }),
    );
    expect(await late.closed).not.toContain('+OK');
    const until400 = after.acknowledged + 200;
    await until(() => after.acknowledged > until400);
    for (const each of [writers, after]) await each.stop();
    expect(after.failures).toEqual([]);
    expect(await after.lost(clusterClient([other]))).toEqual([]);
    expect(await writers.lost(clusterClient([other]))).toEqual([]);
    await expectSameState([other.admin, copy]);
    copy.terminate();
    expect(await copy.ended()).toBe(0);
    await other.stop();
    expectOneAfterTheOther(await byHand.history());
    const ledger = new SealLedger();
    ledger.addEntries(await byHand.history());
    for (const { dataPath } of [original.config, copy.config, configOf(place, 'other')]) {
      await ledger.addStores(dataPath);
    }
    expect(ledger.seals).toBeGreaterThan(600);
    await expectAudited([original.config, copy.config, configOf(place, 'other')]);
  });
});

async function expectAudited(configs: readonly NodeConfig[]): Promise<void> {
  const report = await auditStoppedNodes(configs.map(({ dataPath }) => dataPath));
  expect(report.findings).toEqual([]);
  expect(report.envelopes).toBeGreaterThan(100);
}

/** Once a process of a node has sealed, no earlier process of it does. */
function expectOneAfterTheOther(entries: readonly StoredEntry[]): void {
  const last = new Map<number, number>();
  for (const entry of entries) {
    const { writerId = 0, nonceEpoch = 0 } = writerOf(entry) ?? {};
    const where = `entry ${entry.index} of shard ${entry.shardId}, writer ${writerId}`;
    expect(nonceEpoch, where).toBeGreaterThanOrEqual(last.get(writerId) ?? 0);
    last.set(writerId, nonceEpoch);
  }
}
