/** Rotations on several nodes over one etcd: what each of them has to know of the others. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Node } from '../../src/node.ts';
import type { RotationPolicy } from '../../src/rotation-policy.ts';
import { openWriterRegistry } from '../../src/writer-registry-store.ts';
import {
  durable,
  expectSameState,
  keyIn,
  leadAll,
  TIME_LIMIT_MS,
  truncateBehind,
} from './cluster-steps.ts';
import {
  adminsOf,
  type ClusterPlace,
  clusterClient,
  configOf,
  etcdOfFile,
  member,
  newPlace,
  SHARD_COUNT,
  until,
} from './running-cluster.ts';

const etcd = etcdOfFile();

const names = ['a', 'b', 'c'] as const;
const never: RotationPolicy = { afterDays: 0 };

async function writeEverywhere(nodes: readonly Node[], value: string): Promise<void> {
  const client = clusterClient(nodes);
  for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
    await client.set(`${keyIn(shardId)}`, value);
    expect(await client.get(keyIn(shardId))).toBe(value);
  }
}

/** Resolves once every node has so many keys of each purpose, and seals under the active ones. */
async function rotated(
  nodes: readonly Node[],
  counts: { readonly storage: number; readonly raft: number; readonly index: number },
): Promise<void> {
  await until(() =>
    nodes.every((node) => {
      const { keys, shards } = node.admin.status();
      const of = (purpose: string) => keys.filter((key) => key.purpose === purpose);
      const active = of('raft').find((key) => key.active);
      return (
        of('storage').length >= counts.storage &&
        of('raft').length >= counts.raft &&
        of('index').length >= counts.index &&
        shards.every(({ raftDekId }) => raftDekId === active?.dekId)
      );
    }),
  );
  for (const node of nodes) {
    const { keys } = node.admin.status();
    const found = { storage: 0, raft: 0, index: 0 };
    for (const { purpose } of keys) found[purpose] += 1;
    expect(found).toEqual(counts);
  }
}

/** As if each of the nodes, which are stopped, had sealed so often under the active keys. */
async function withSeals(place: ClusterPlace, node: Node, seals: bigint): Promise<void> {
  const active = node.admin.status().keys.filter((key) => key.active && key.purpose !== 'index');
  for (const name of names) {
    const registry = openWriterRegistry(join(place.root, name, 'keys', 'writers'));
    await registry.putSealCounts(new Map(active.map(({ dekId }) => [dekId, seals])));
    await registry.close();
  }
}

describe('rotations in a cluster', { timeout: TIME_LIMIT_MS }, () => {
  it('AROT-15: reach every member, one that was away included, and come once for one cause', async () => {
    const place = newPlace(etcd());
    const a = await member(configOf(place, 'a', { rotation: never }));
    await leadAll(a);
    const b = await member(configOf(place, 'b', { rotation: never }));
    const c = await member(configOf(place, 'c', { rotation: never }));
    await writeEverywhere([a, b, c], 'before');
    await c.stop();
    const dekId = await a.admin.rotate('index');
    await rotated([a, b], { storage: 1, raft: 1, index: 2 });
    await writeEverywhere([a, b], 'after');
    await durable(adminsOf([a, b]));
    await truncateBehind(place, a.admin);
    const again = await member(configOf(place, 'c', { rotation: never }));
    await rotated([a, b, again], { storage: 1, raft: 1, index: 2 });
    for (const node of [a, b, again]) {
      expect(
        node.admin.status().keys.find((key) => key.purpose === 'index' && key.active),
      ).toMatchObject({ dekId });
    }
    await expectSameState(adminsOf([a, b, again]));

    // What no node has used up alone, all of them have; and one key was made before a time.
    await Promise.all([a.stop(), b.stop(), again.stop()]);
    await withSeals(place, a, 1_400_000_000n);
    const rotation = { ...never, madeBeforeMs: Date.now() };
    const nodes = await Promise.all(
      names.map((name) => member(configOf(place, name, { rotation }))),
    );
    await rotated(nodes, { storage: 2, raft: 2, index: 3 });
    await writeEverywhere(nodes, 'rotated');
    const old = nodes[0]?.admin
      .status()
      .keys.filter(({ active, purpose }) => !active && purpose === 'raft');
    expect(old).toMatchObject([{ budgetLeft: expect.closeTo(0.022, 2) }]);

    // Whoever leads next finds nothing to do.
    const leader = nodes.find((node) => node.admin.status().shards[0]?.state === 'leading');
    await leader?.stop();
    const left = nodes.filter((node) => node !== leader);
    await writeEverywhere(left, 'handed over');
    await until(() => left.some((node) => node.admin.status().shards[0]?.state === 'leading'));
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await rotated(left, { storage: 2, raft: 2, index: 3 });
    for (const { nextRotation } of left[0]?.admin.status().keys ?? [])
      expect(nextRotation).toBeNull();
    await expectSameState(adminsOf(left));
  });
});
