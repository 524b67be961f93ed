/** Nodes that need what the log no longer has: they go on from a snapshot of another node. */
import type { Cluster as RedisCluster } from 'ioredis';
import { describe, expect, it } from 'vitest';
import type { NodeConfig } from '../../src/config.ts';
import type { Node } from '../../src/node.ts';
import {
  durable,
  expectSameState,
  keysIn,
  leadAll,
  loggedMember,
  preferForAll,
  TIME_LIMIT_MS,
  truncateBehind,
  withEtcd,
} from './cluster-steps.ts';
import { EtcdByHand } from './etcd-by-hand.ts';
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
import { SpawnedMember } from './spawned-member.ts';
import { freePort, TcpRelay } from './tcp-relay.ts';

const etcd = etcdOfFile();

const shardIds = Array.from({ length: SHARD_COUNT }, (_, shardId) => shardId);
const keys = shardIds.flatMap((shardId) => keysIn(shardId, 10));
const clear = { encryption: 'off' } as const;
const SNAPSHOT_INSTALLED = 'a snapshot was installed';
const MIB = 1024 * 1024;
/** Of one value: more than what nodes say to each other beside snapshots. */
const LARGE_BYTES = 20_000;

/** With other nodes being sent to another port than the one it listens on. */
function withPeerPorts(config: NodeConfig, peerPort: number, advertisedPort: number): NodeConfig {
  const { cluster } = config;
  if (!cluster) throw new TypeError('a member of a cluster has its configuration');
  const peer = { ...cluster.peer, port: peerPort };
  const advertised = { host: '127.0.0.1', port: advertisedPort };
  const advertise = { ...cluster.advertise, peer: advertised };
  return { ...config, cluster: { ...cluster, peer, advertise } };
}

async function writeAll(client: RedisCluster, value: string): Promise<void> {
  for (const key of keys) expect(await client.set(key, value)).toBe('OK');
}

/** Every log begins above what a node has applied of it. */
async function expectTruncated(place: ClusterPlace, missing?: Node): Promise<void> {
  const byHand = new EtcdByHand(place);
  for (const shardId of shardIds) {
    const applied = missing?.admin.status().shards[shardId]?.appliedIndex ?? '0';
    const [first] = await byHand.entries(shardId);
    expect(first?.index ?? 2n ** 64n, `first entry of shard ${shardId}`).toBeGreaterThan(
      BigInt(applied) + 1n,
    );
  }
}

async function expectServed(node: Node, value: string): Promise<void> {
  await until(() => ledBy(node).length === SHARD_COUNT);
  const client = clusterClient([node]);
  for (const key of keys) expect(await client.get(key)).toBe(value);
}

describe('a follower that missed the cutover, and whose log is truncated past it', {
  timeout: TIME_LIMIT_MS,
}, () => {
  it('invariant 9: catches up by snapshot, opens sealed entries, and leads', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a', clear));
    await leadAll(first);
    const nodes = [first, await member(configOf(place, 'b', clear))];
    const config = configOf(place, 'c', clear);
    const relay = await TcpRelay.open(Number(new URL(etcd().endpoints[0] ?? '').port));
    const endpoints = [`http://127.0.0.1:${relay.port}`];
    const late = await member(withEtcd(config, { endpoints }));
    const client = clusterClient(nodes);
    await writeAll(client, 'early');
    await durable(adminsOf([...nodes, late]));
    // It can show that it has the KEK, and hears nothing of what the others do then.
    relay.stall();
    await first.admin.enableEncryption();
    await until(() => nodes.every((node) => node.admin.status().encryption === 'sealed'));
    expect(late.admin.status().encryption).toBe('off');
    await late.stop();
    await writeAll(client, 'late');
    await truncateBehind(place, first.admin);
    await expectTruncated(place, late);

    const back = await loggedMember(config);
    expect(back.node.admin.status().encryption).toBe('sealed');
    await writeAll(client, 'later');
    await expectSameState(adminsOf([...nodes, back.node]));
    expect(back.log.filter(({ msg }) => msg === SNAPSHOT_INSTALLED)).toHaveLength(4);
    expect((await back.node.admin.verify()).problems).toEqual([]);

    const learner = await loggedMember(configOf(place, 'l', { role: 'learner' }));
    await writeAll(client, 'last');
    await expectSameState(adminsOf([...nodes, learner.node]));
    expect(learner.log.filter(({ msg }) => msg === SNAPSHOT_INSTALLED)).toHaveLength(4);
    const dekIds = (node: Node) => new Set(node.admin.status().keys.map(({ dekId }) => dekId));
    expect(dekIds(learner.node)).toEqual(dekIds(first));
    for (const node of nodes) await node.stop();
    await expectServed(back.node, 'last');
  });
});

describe('a node that is new to a truncated log', { timeout: TIME_LIMIT_MS }, () => {
  it('gets the state of a cluster in the clear, and is cut over with it', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a', clear));
    await leadAll(first);
    const client = clusterClient([first]);
    await writeAll(client, 'early');
    await truncateBehind(place, first.admin);
    await expectTruncated(place);
    const { node, log } = await loggedMember(configOf(place, 'b', clear));
    await expectSameState([first.admin, node.admin]);
    expect(log.filter(({ msg }) => msg === SNAPSHOT_INSTALLED)).toHaveLength(4);
    await first.admin.enableEncryption();
    await until(() => node.admin.status().encryption === 'sealed');
    await writeAll(client, 'late');
    await first.stop();
    await expectServed(node, 'late');
  });

  it('takes the next source where one dies in the middle of its snapshot', async () => {
    const place = newPlace(etcd());
    const peerPort = await freePort();
    const relay = await TcpRelay.open(peerPort);
    const doomed = await SpawnedMember.start(
      withPeerPorts(configOf(place, 'a'), peerPort, relay.port),
    );
    const { nodeId } = await doomed.status();
    const survivor = await member(configOf(place, 'b'));
    await preferForAll(survivor, nodeId);
    await until(async () =>
      (await doomed.status()).shards.every(({ state }) => state === 'leading'),
    );
    const client = clusterClient([survivor]);
    await writeAll(client, 'x'.repeat(LARGE_BYTES));
    await expectSameState([survivor.admin, doomed]);
    await truncateBehind(place, survivor.admin);
    relay.onAnswer = (bytes) => {
      if (bytes > LARGE_BYTES) void doomed.kill();
    };
    const { node, log } = await loggedMember(configOf(place, 'l', { role: 'learner' }));
    await writeAll(client, 'late');
    await expectSameState([survivor.admin, node.admin]);
    expect(log).toContainEqual(
      expect.objectContaining({ msg: 'no snapshot from a node', from: nodeId }),
    );
    const installed = log.filter(({ msg }) => msg === SNAPSHOT_INSTALLED);
    expect(installed.some(({ from }) => from === survivor.admin.status().nodeId)).toBe(true);
  });

  it('installs a second snapshot where the log has moved on past the first', async () => {
    const place = newPlace(etcd());
    const peerPort = await freePort();
    const relay = await TcpRelay.open(peerPort);
    const first = await member(withPeerPorts(configOf(place, 'a'), peerPort, relay.port));
    const client = clusterClient([first]);
    await writeAll(client, 'x'.repeat(LARGE_BYTES));
    await truncateBehind(place, first.admin);
    const halfway = new Promise<void>((resolve) => {
      relay.onAnswer = (bytes) => {
        if (bytes < LARGE_BYTES) return;
        relay.onAnswer = undefined;
        relay.stall();
        resolve();
      };
    });
    const starting = loggedMember(configOf(place, 'l', { role: 'learner' }));
    await halfway;
    await writeAll(client, 'late');
    await truncateBehind(place, first.admin);
    relay.resume();
    const { node, log } = await starting;
    await expectSameState([first.admin, node.admin]);
    const indexes = log.filter(({ msg }) => msg === SNAPSHOT_INSTALLED).map(({ index }) => index);
    expect(indexes.length).toBeGreaterThan(SHARD_COUNT);
  });
});

describe('a member that is gone', { timeout: TIME_LIMIT_MS }, () => {
  it('holds the log no longer where etcd is short of room, and catches up by snapshot', async () => {
    const place = newPlace(etcd());
    const [{ Status }] = JSON.parse(await etcd().etcdctl('endpoint', 'status', '-w', 'json'));
    const spaceBytesMax = 2 * (Status.dbSize + 2 * MIB);
    const first = await member(withEtcd(configOf(place, 'a'), { spaceBytesMax }));
    const config = withEtcd(configOf(place, 'b'), { spaceBytesMax });
    await leadAll(first);
    const gone = await member(config);
    const client = clusterClient([first]);
    await writeAll(client, 'early');
    await durable([first.admin, gone.admin]);
    await gone.stop();
    await writeAll(client, 'x'.repeat((3 * MIB) / keys.length));
    await until(async () => {
      const byHand = new EtcdByHand(place);
      const firsts = await Promise.all(shardIds.map((shardId) => byHand.entries(shardId)));
      return firsts.every(([entry], shardId) => {
        const { appliedIndex = '0' } = gone.admin.status().shards[shardId] ?? {};
        return (entry?.index ?? 2n ** 64n) > BigInt(appliedIndex) + 1n;
      });
    });
    const { node, log } = await loggedMember(config);
    await expectSameState([first.admin, node.admin]);
    expect(log.filter(({ msg }) => msg === SNAPSHOT_INSTALLED)).toHaveLength(SHARD_COUNT);
  });
});
