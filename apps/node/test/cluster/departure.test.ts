/** Nodes that are told to stop: what they lead goes to others first, and they wait for nobody. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startWriters } from '../acceptance/writers.ts';
import {
  durable,
  expectSameState,
  keysIn,
  leadAll,
  preferForAll,
  TIME_LIMIT_MS,
  truncateBehind,
} from './cluster-steps.ts';
import {
  adminsOf,
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

const etcd = etcdOfFile();

const ROUNDS = 3;
const WRITERS = 8;
const STOPPED_STARTS = 8;
const STOPPED_LATER_MS = 150;

describe('SIGTERM', { timeout: TIME_LIMIT_MS }, () => {
  it('of a node that leads hands its shards over without a failed write', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a'));
    const nodes = [first, await member(configOf(place, 'b'))];
    let leaving = await SpawnedMember.start(configOf(place, 'c'));
    for (let round = 1; round <= ROUNDS; round++) {
      const { nodeId } = await leaving.status();
      await preferForAll(first, nodeId);
      await until(() => nodes.every((node) => ledBy(node).length === 0 && node.admin.healthy));
      const clients = Array.from({ length: WRITERS }, () => clusterClient(nodes));
      const writers = startWriters(clients, `round ${round}`);
      await until(() => writers.acknowledged > 500);
      leaving.terminate();
      expect(await leaving.ended()).toBe(0);
      const { acknowledged } = writers;
      await until(() => writers.acknowledged > acknowledged + 500);
      await writers.stop();
      expect(writers.failures).toEqual([]);
      expect(await writers.lost(clusterClient(nodes))).toEqual([]);
      console.log(
        `SIGTERM under load: ${writers.acknowledged} writes, longest ` +
          `${writers.longestWriteMs.toFixed(0)} ms`,
      );
      leaving = await SpawnedMember.start(configOf(place, 'c'));
    }
    await expectSameState([...adminsOf(nodes), leaving]);
  });

  it('of a node that starts ends it, wherever it has got to', async () => {
    const place = newPlace(etcd());
    await member(configOf(place, 'a'));
    const startings = Array.from({ length: STOPPED_STARTS }, async (_, n) => {
      const starting = new SpawnedMember(configOf(place, `starting-${n}`));
      await until(() => existsSync(join(starting.config.dataPath, 'raftseal.json')));
      await new Promise((resolve) => setTimeout(resolve, n * STOPPED_LATER_MS));
      starting.terminate();
      return { status: await starting.ended(), errors: starting.errors };
    });
    for (const end of await Promise.all(startings)) expect(end).toEqual({ status: 0, errors: [] });
  });

  it('ends a node that waits to be admitted', async () => {
    const place = newPlace(etcd());
    const founder = await member(configOf(place, 'a'));
    await founder.stop();
    const waiting = new SpawnedMember(configOf(place, 'b'));
    await waiting.said(({ msg }) => msg.startsWith('waiting to be admitted'));
    waiting.terminate();
    expect(await waiting.ended()).toBe(0);
    expect(waiting.log.at(-1)?.msg).toBe('stopped');
  });

  it('ends a node that waits for a snapshot which nobody can give', async () => {
    const place = newPlace(etcd());
    const founder = await member(configOf(place, 'a'));
    await leadAll(founder);
    const config = configOf(place, 'b');
    const other = await member(config);
    await durable([founder.admin, other.admin]);
    await other.stop();
    const client = clusterClient([founder]);
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
      for (const key of keysIn(shardId, 10)) await client.set(key, 'x');
    }
    await truncateBehind(place, founder.admin);
    await founder.stop();
    const waiting = new SpawnedMember(config);
    const { msg } = await waiting.said(({ code }) => code === 'RAFTSEAL_NODE_PEER_UNAVAILABLE');
    expect(msg).toMatch(/^the log of shard \d no longer reaches back .* start another member$/);
    waiting.terminate();
    expect(await waiting.ended()).toBe(0);
    expect(waiting.log.at(-1)?.msg).toBe('stopped');
  });
});
