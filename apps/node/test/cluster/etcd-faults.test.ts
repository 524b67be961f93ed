/**
 * etcd that stops, dies, restarts or forgets under nodes that are written to. What was acknowledged
 * stays, no shard halts, clients hear what is the matter, and writes go on once etcd does.
 */
import type { Cluster as RedisCluster } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Node, startNode } from '../../src/node.ts';
import { startWriters, type Writers } from '../acceptance/writers.ts';
import { RawClient, request } from '../redis/raw-client.ts';
import { expectSameState, keyIn, led, TIME_LIMIT_MS, withEtcd } from './cluster-steps.ts';
import {
  adminsOf,
  type ClusterPlace,
  clusterClient,
  configOf,
  etcdOfFile,
  ledBy,
  member,
  newPlace,
  SHARD_COUNT,
  until,
} from './running-cluster.ts';
import { TcpRelay } from './tcp-relay.ts';

const etcd = etcdOfFile({ members: 3 });

const members = [0, 1, 2];
const shardIds = Array.from({ length: SHARD_COUNT }, (_, shardId) => shardId);
const RESUMED_WITHIN_MS = 10_000;
const WRITERS = 4;
const NO_LEADER =
  '-CLUSTERDOWN RAFTSEAL_SHARD_GROUP_NOT_LEADER: no node is known to lead the shard now: ' +
  'try again\r\n';
/** What a write ends with that is not acknowledged. */
const FAILURE =
  /CLUSTERDOWN RAFTSEAL_SHARD_GROUP_NOT_LEADER: |ERR RAFTSEAL_SHARD_GROUP_OUTCOME_UNKNOWN: |MOVED \d+ /;

interface World {
  readonly place: ClusterPlace;
  readonly nodes: readonly Node[];
  readonly client: RedisCluster;
  readonly writers: Writers;
}

/** Two nodes that lead two shards each, under writes. */
async function world(): Promise<World> {
  const place = newPlace(etcd());
  const nodes = [await member(configOf(place, 'a')), await member(configOf(place, 'b'))];
  const [, second] = nodes;
  for (const shardId of [1, 3])
    await second?.admin.preferLeader(shardId, second.admin.status().nodeId);
  await until(() => second !== undefined && ledBy(second).length === 2);
  await led(adminsOf(nodes));
  const clients = Array.from({ length: WRITERS }, () => clusterClient(nodes));
  const writers = startWriters(clients, 'key');
  onTestFinished(() => writers.stop());
  await until(() => writers.acknowledged > 200);
  return { place, nodes, client: clusterClient(nodes), writers };
}

/** Invariant 12, from when the fault has gone. */
async function expectResumed({ client }: World, what: string): Promise<void> {
  const sinceMs = performance.now();
  await Promise.all(shardIds.map((shardId) => written(client, keyIn(shardId))));
  const tookMs = performance.now() - sinceMs;
  console.log(`writes resumed after ${what} within ${tookMs.toFixed(0)} ms`);
  expect(tookMs).toBeLessThan(RESUMED_WITHIN_MS);
}

async function written(client: RedisCluster, key: string): Promise<void> {
  while ((await client.set(key, 'resumed').catch(() => undefined)) !== 'OK');
}

async function expectNothingLost({ nodes, client, writers }: World): Promise<void> {
  const { acknowledged } = writers;
  await until(() => writers.acknowledged > acknowledged + 200);
  await writers.stop();
  for (const failure of writers.failures) expect(failure).toMatch(FAILURE);
  expect(await writers.lost(client)).toEqual([]);
  await expectSameState(adminsOf(nodes));
  for (const node of nodes) {
    expect(node.admin.status().shards.map(({ haltCode }) => haltCode)).toEqual(
      shardIds.map(() => null),
    );
  }
}

describe('writes to a cluster', { timeout: TIME_LIMIT_MS }, () => {
  it('go on without one of three members of etcd', async () => {
    const all = await world();
    await etcd().member(0).kill();
    await expectResumed(all, 'the loss of a member');
    await etcd().member(0).restart();
    await expectNothingLost(all);
  });

  it('invariant 12: go on after every member was stopped, and hear why they did not', async () => {
    const all = await world();
    const { nodes, place } = all;
    const clients = await Promise.all(nodes.map(({ redisPort }) => RawClient.open(redisPort)));
    const refused = startNode(configOf(place, 'c')).catch((error: unknown) => error);
    for (const each of members) etcd().member(each).pause();
    await until(() => nodes.every((node) => ledBy(node).length === 0));
    for (const [at, node] of nodes.entries()) {
      const client = clients[at];
      if (!client) throw new Error('there is a client for each node');
      expect(node.admin.healthy).toBe(false);
      // Of a shard that it led; of the others it says who led them.
      const key = keyIn(at);
      expect(await client.ask(request('GET', key), '\r\n')).toBe(NO_LEADER);
      expect(await client.ask(request('SET', key, 'x'), '\r\n')).toBe(NO_LEADER);
      await expect(node.admin.preferLeader(0, null)).rejects.toMatchObject({
        code: 'RAFTSEAL_ENGINE_UNAVAILABLE',
      });
    }
    expect(await refused).toMatchObject({ code: 'RAFTSEAL_ENGINE_UNAVAILABLE' });
    for (const each of members) etcd().member(each).resume();
    await expectResumed(all, 'a stop of all members');
    await expectNothingLost(all);
  });

  it('invariant 12: go on after every member was killed and restarted', async () => {
    const all = await world();
    await Promise.all(members.map((each) => etcd().member(each).kill()));
    await Promise.all(members.map((each) => etcd().member(each).restart()));
    await expectResumed(all, 'a restart of all members at once');
    await expectNothingLost(all);
  });

  it('invariant 12: go on while every member is restarted, one after the other', async () => {
    const all = await world();
    for (const each of members) {
      await etcd().member(each).restart();
      await expectResumed(all, `a restart of member ${each}`);
    }
    await expectNothingLost(all);
  });

  it('go on while etcd is compacted under nodes that lag', async () => {
    const place = newPlace(etcd());
    const relays = await Promise.all(
      etcd().endpoints.map((endpoint) => TcpRelay.open(Number(new URL(endpoint).port))),
    );
    const endpoints = relays.map(({ port }) => `http://127.0.0.1:${port}`);
    const first = await member(configOf(place, 'a'));
    const lagging = await member(withEtcd(configOf(place, 'b'), { endpoints }));
    const nodes = [first, lagging];
    const client = clusterClient(nodes);
    const writers = startWriters([client, clusterClient(nodes)], 'key');
    const all = { place, nodes, client, writers };
    for (let round = 0; round < 3; round++) {
      await until(() => writers.acknowledged > 100 * (round + 1));
      for (const relay of relays) relay.stall();
      await until(() => ledBy(first).length === SHARD_COUNT);
      await expectResumed(all, 'a node was cut off');
      const [{ Status }] = JSON.parse(await etcd().etcdctl('endpoint', 'status', '-w', 'json'));
      await etcd().etcdctl('compact', `${Status.header.revision}`);
      for (const relay of relays) relay.resume();
      await etcd().etcdctl('defrag');
    }
    await expectNothingLost(all);
  });
});
