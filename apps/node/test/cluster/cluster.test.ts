/** Several nodes over one etcd: founding, joining, leading, handing over, catching up. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Node, startNode } from '../../src/node.ts';
import { expectRefused } from '../refused-start.ts';
import { newConfig, running } from '../running-node.ts';
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

const etcd = etcdOfFile();

const shardIds = Array.from({ length: SHARD_COUNT }, (_, shardId) => shardId);

/** All leaderships are spread over the nodes, and everybody knows. */
async function settled(nodes: readonly Node[]): Promise<void> {
  await until(() => {
    const led = nodes.map((node) => ledBy(node).length);
    const all = led.reduce((sum, count) => sum + count, 0) === SHARD_COUNT;
    return all && nodes.every((node) => node.admin.healthy) && led.every((count) => count > 0);
  });
}

async function applied(nodes: readonly Node[]): Promise<void> {
  await until(() => {
    const indexes = nodes.map((node) =>
      node.admin
        .status()
        .shards.map(({ appliedIndex }) => appliedIndex)
        .join(),
    );
    return new Set(indexes).size === 1;
  });
}

/** Whether the rows on the disk of a node are under one storage key. */
async function allRowsUnder(node: Node, dekId: number | undefined): Promise<boolean> {
  const { stores } = await node.admin.verify();
  const rows = stores.map(({ sealed, cleartextRows }) => [cleartextRows, ...Object.keys(sealed)]);
  return rows.every((row) => row.length === 2 && row[0] === 0 && row[1] === `${dekId}`);
}

describe('a cluster', () => {
  it('is founded sealed, takes nodes in, spreads its shards and serves cluster clients', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a'));
    expect(first.admin.status().encryption).toBe('sealed');
    expect(ledBy(first)).toEqual(shardIds);
    const nodes = [first, await member(configOf(place, 'b')), await member(configOf(place, 'c'))];
    await settled(nodes);
    const client = clusterClient(nodes);
    for (let n = 0; n < 100; n++) expect(await client.set(`key:${n}`, `value ${n}`)).toBe('OK');
    for (let n = 0; n < 100; n++) expect(await client.get(`key:${n}`)).toBe(`value ${n}`);
    await applied(nodes);
    const digests = await Promise.all(nodes.map((node) => node.admin.digest()));
    expect(digests[1]).toEqual(digests[0]);
    expect(digests[2]).toEqual(digests[0]);
    for (const node of nodes) expect((await node.admin.verify()).problems).toEqual([]);
    const metrics = (await first.admin.metrics()).text;
    expect(metrics).toContain('raftseal_cluster_members{state="alive"} 3');
    expect(metrics).toContain(`raftseal_cluster_shards_led ${SHARD_COUNT}`);
    const members = first.admin.status().cluster?.members ?? [];
    expect(members.map(({ role, isAlive }) => [role, isAlive])).toEqual(
      members.map(() => ['voter', true]),
    );
    expect(new Set(members.flatMap(({ leads }) => leads))).toEqual(new Set(shardIds));
  }, 60_000);

  it('goes on without a node that stops, and takes it back', async () => {
    const place = newPlace(etcd());
    const configs = ['a', 'b', 'c'].map((name) => configOf(place, name));
    const nodes = await Promise.all(configs.slice(0, 1).map(member));
    for (const config of configs.slice(1)) nodes.push(await member(config));
    await settled(nodes);
    const client = clusterClient(nodes);
    await client.set('before', '1');
    const [first, ...others] = nodes as [Node, ...Node[]];
    await first.stop();
    await until(() => others.flatMap(ledBy).length === SHARD_COUNT);
    for (let n = 0; n < 50; n++) expect(await client.set(`key:${n}`, `${n}`)).toBe('OK');
    expect(await client.get('before')).toBe('1');
    const back = await member(configs[0] as (typeof configs)[0]);
    await applied([back, ...others]);
    await settled([back, ...others]);
    for (let n = 0; n < 50; n++) expect(await client.get(`key:${n}`)).toBe(`${n}`);
    expect((await back.admin.verify()).problems).toEqual([]);
  }, 60_000);

  it('is cut over while nodes hold data in the clear, and a learner joins sealed', async () => {
    const place = newPlace(etcd());
    const configs = ['a', 'b'].map((name) => configOf(place, name, { encryption: 'off' }));
    const nodes: Node[] = [];
    for (const config of configs) nodes.push(await member(config));
    await settled(nodes);
    const client = clusterClient(nodes);
    for (let n = 0; n < 50; n++) await client.set(`key:${n}`, 'early');
    const leader = nodes.find((node) => ledBy(node).includes(0));
    await leader?.admin.enableEncryption();
    await until(() => nodes.every((node) => node.admin.status().encryption === 'sealed'));
    for (let n = 0; n < 50; n++) await client.set(`key:${n}`, 'late');
    await leader?.admin.rotate('raft');
    const storageDekId = await leader?.admin.rotate('storage');
    for (let n = 50; n < 60; n++) await client.set(`key:${n}`, 'later');
    const learner = await member(configOf(place, 'l', { role: 'learner' }));
    await applied([...nodes, learner]);
    expect(ledBy(learner)).toEqual([]);
    expect(await learner.admin.digest()).toEqual(await nodes[0]?.admin.digest());
    expect((await learner.admin.verify()).problems).toEqual([]);
    expect(learner.admin.status().keys.map(({ dekId }) => dekId)).toEqual(
      leader?.admin.status().keys.map(({ dekId }) => dekId),
    );
    // The rows of every member follow the rotation, in the clear or under the key before.
    for (const node of [...nodes, learner]) await until(() => allRowsUnder(node, storageDekId));
  }, 60_000);
});

describe('a node is refused', () => {
  it('with another KEK, another number of shards, or the data of another cluster', async () => {
    const place = newPlace(etcd());
    await member(configOf(place, 'a'));
    const stranger = newPlace(etcd());
    const { kekUri } = stranger;
    await expect(startNode(configOf(place, 'b', { kekUris: [kekUri] }))).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_MEMBER_INCAPABLE',
    });
    await expect(startNode(configOf(place, 'c', { shardCount: 7 }))).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_SHARD_COUNT',
    });
    const elsewhere = configOf(stranger, 'd');
    await (await member(elsewhere)).stop();
    const { cluster } = configOf(place, 'd');
    if (!cluster) throw new Error('it has one');
    await expectRefused({ ...elsewhere, cluster }, 'RAFTSEAL_NODE_FOREIGN_CLUSTER');
    const { cluster: _, ...without } = elsewhere;
    await expectRefused(without, 'RAFTSEAL_NODE_LOG_PLACE');
    const alone = newConfig({ shardCount: SHARD_COUNT });
    await (await running(alone)).stop();
    await expectRefused({ ...alone, cluster }, 'RAFTSEAL_NODE_LOG_PLACE');
  }, 60_000);

  it('once it was removed', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a'));
    const config = configOf(place, 'b');
    const second = await member(config);
    await settled([first, second]);
    const leader = [first, second].find((node) => ledBy(node).includes(0)) ?? first;
    await leader.admin.removeMember(second.admin.status().nodeId);
    await second.stopped;
    process.exitCode = 0;
    await until(() => ledBy(first).length === SHARD_COUNT);
    await expect(startNode(config)).rejects.toMatchObject({ code: 'RAFTSEAL_NODE_REMOVED' });
    await expect(first.admin.removeMember(first.admin.status().nodeId)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_LAST_VOTER',
    });
  }, 60_000);
});

describe('a node that lost its sidecar', () => {
  it('is refused, and starts again once it is rebuilt from another node', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a'));
    const config = configOf(place, 'b');
    const second = await member(config);
    await settled([first, second]);
    const client = clusterClient([first, second]);
    for (let n = 0; n < 20; n++) await client.set(`key:${n}`, `${n}`);
    await second.stop();
    await rm(join(config.dataPath, 'keys', 'keys.raftseal'));
    await expect(startNode(config)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_SIDECAR_MISSING',
    });
    const { resyncSidecar } = await import('../../src/cluster/resync.ts');
    const { pino } = await import('pino');
    const { dataPath, kekUris, cluster } = config;
    if (!cluster) throw new Error('it has one');
    await resyncSidecar({ dataPath, kekUris, cluster }, pino({ level: 'silent' }));
    const again = await member(config);
    await applied([first, again]);
    expect(await again.admin.digest()).toEqual(await first.admin.digest());
  }, 60_000);
});
