import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf, RaftsealError, type Reply } from '@raftseal/interface';
import { encodeCommand } from '@raftseal/kv';
import { describe, expect, it, onTestFinished } from 'vitest';
import { KekSet } from '../src/kek-set.ts';
import { NodeKeys } from '../src/node-keys.ts';
import { NodeShard } from '../src/node-shard.ts';
import { Teardown } from '../src/teardown.ts';
import { newCluster, until } from './key-world.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const SHARD_ID = 0;

/** A shard in the clear over a simulated log, which a test can take its leadership from. */
async function newShard() {
  const cluster = newCluster(['a'], [SHARD_ID]);
  const engine = cluster.engine('a', SHARD_ID);
  const root = temporaryDirectory();
  const teardown = new Teardown();
  onTestFinished(() => teardown.run());
  const keysPath = join(root, 'keys');
  mkdirSync(keysPath);
  const keys = await NodeKeys.open(
    { nodeId: 'a', directory: keysPath, encryption: 'off', keks: KekSet.of() },
    teardown,
  );
  const halts: unknown[] = [];
  const shard = await NodeShard.open(
    {
      shardId: SHARD_ID,
      directory: join(root, 'shard'),
      cacheBytesMax: 1024,
      sealedFromBirth: false,
      sealedOnly: false,
    },
    {
      engine,
      keyLifecycle: keys.lifecycle,
      wrap: keys.installer.wrapOf(SHARD_ID),
      seal: 'cleartext',
      peers: undefined,
      dekMayCome: () => false,
      onHalt: (error) => halts.push(codeOf(error)),
    },
  );
  teardown.add(() => shard.close());
  await shard.group.replay();
  return { cluster, engine, shard, halts };
}

async function leadingShard(): ReturnType<typeof newShard> {
  const world = await newShard();
  world.shard.group.campaign();
  await until(() => world.shard.isServing);
  return world;
}

function propose(shard: NodeShard, ...args: string[]): Promise<Reply> {
  return new Promise((resolve, reject) => {
    shard.propose(encodeCommand(args), (error, reply) => (error ? reject(error) : resolve(reply)));
  });
}

const codeThrownBy = (act: () => unknown): string | undefined => {
  try {
    act();
    return 'none';
  } catch (error) {
    return codeOf(error);
  }
};

/** Every way to read from a shard. */
const reads: readonly ((shard: NodeShard) => unknown)[] = [
  (shard) => shard.query(['get', 'key'], 0),
  (shard) => shard.versionOf('key', 0),
  (shard) => shard.scan(0n, { count: 10 }, 0),
  (shard) => shard.keys('*', 0),
  (shard) => shard.size(),
  (shard) => shard.randomKey(0),
];

describe('a shard of a node', () => {
  it('invariant 8: reads what was answered, and only while it leads', async () => {
    const { cluster, shard } = await newShard();
    for (const read of reads) {
      expect(codeThrownBy(() => read(shard))).toBe('RAFTSEAL_SHARD_GROUP_NOT_LEADER');
    }
    shard.group.campaign();
    await until(() => shard.isServing);
    await propose(shard, 'set', 'key', 'value');
    expect(shard.query(['get', 'key'], 0)).toBe('value');
    expect([shard.size(), shard.randomKey(0), shard.keys('k*', 0)]).toEqual([1, 'key', ['key']]);
    cluster.partition('a');
    for (const read of reads) {
      expect(codeThrownBy(() => read(shard))).toBe('RAFTSEAL_SHARD_GROUP_NOT_LEADER');
    }
    cluster.heal('a');
    await until(() => shard.isServing);
    expect(shard.query(['get', 'key'], 0)).toBe('value');
  });

  it('invariant 6: serves nothing once it has halted, and says so once', async () => {
    const { shard, halts } = await leadingShard();
    await propose(shard, 'set', 'key', 'value');
    shard.group.halt(new RaftsealError('RAFTSEAL_KV_ROW_CORRUPT', 'a row'));
    shard.group.halt(new Error('another'));
    for (const read of reads) {
      expect(codeThrownBy(() => read(shard))).toBe('RAFTSEAL_SHARD_GROUP_HALTED');
    }
    await expect(propose(shard, 'set', 'key', 'new')).rejects.toMatchObject({
      code: 'RAFTSEAL_SHARD_GROUP_HALTED',
    });
    expect(halts).toEqual(['RAFTSEAL_KV_ROW_CORRUPT']);
    expect(shard.status()).toMatchObject({ state: 'halted', haltCode: 'RAFTSEAL_KV_ROW_CORRUPT' });
  });

  it('tells who listens of every change of its state', async () => {
    const { cluster, shard } = await newShard();
    const states: string[] = [];
    shard.onState(() => states.push(shard.group.state));
    shard.group.campaign();
    await until(() => shard.isServing);
    cluster.depose(SHARD_ID);
    await until(() => states.length >= 5);
    expect(states).toEqual(['catchingUp', 'leading', 'follower', 'catchingUp', 'leading']);
  });

  it('deletes what has expired, by an entry of its log', async () => {
    const { cluster, shard } = await leadingShard();
    await propose(shard, 'set', 'key', 'value', 'px', '1');
    shard.startExpiry();
    await until(() => shard.kv.size() === 0);
    await until(() => cluster.log(SHARD_ID).length === 2);
  });

  it('lets go of what its store has but for the last entry, unless the log is walked', async () => {
    const { engine, shard } = await leadingShard();
    for (const value of ['1', '2', '3']) await propose(shard, 'set', 'key', value);
    shard.kv.startCheckpoints();
    await shard.kv.flush();
    expect(shard.kv.durableIndex).toBe(3n);
    const letGo = shard.holdTruncation();
    shard.startTruncation();
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect(await engine.bounds()).toEqual({ firstIndex: 1n, headIndex: 3n });
    letGo();
    for (let bounds = await engine.bounds(); bounds.firstIndex < 3n; ) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      bounds = await engine.bounds();
    }
    expect(await engine.bounds()).toEqual({ firstIndex: 3n, headIndex: 3n });
  });
});
