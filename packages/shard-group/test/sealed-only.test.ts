/** A shard of a cluster in which nothing in the clear is read any more. */
import { type SimulatedCluster, simulatedCluster } from '@raftseal/raft-engine-simulated';
import { afterEach, describe, expect, it } from 'vitest';
import { Replica, ReplicaDisk, refusalOf, settle, tagsOf, until } from './replica.ts';

const REFUSED = 'RAFTSEAL_SHARD_GROUP_CLEARTEXT_REFUSED';
const leaderPlace = { nodeId: 'a', shardId: 0 };

let cluster: SimulatedCluster;

afterEach(() => cluster.close());

async function leader(): Promise<Replica> {
  cluster = simulatedCluster({ nodes: ['a', 'b'], shards: [0], autoElect: false });
  cluster.elect(leaderPlace);
  return new Replica(cluster).lead();
}

describe('a shard that is sealed-only', () => {
  it('goes on with what is sealed', async () => {
    const group = await leader();
    await group.propose('k=one');
    await group.cutOver();
    group.group.refuseCleartext();
    expect(await group.propose('k=two')).toMatchObject({ index: 3n });
    expect(group.lists).toEqual({ k: ['one', 'two'] });
  });

  it('invariant 1, 6: halts at an entry in the clear below its cutover, on replay', async () => {
    const group = await leader();
    await group.propose('k=one');
    await group.cutOver();
    await group.propose('k=two');
    expect(tagsOf(cluster)).toBe('CCS');
    const late = new Replica(cluster, { nodeId: 'b', writerId: 2, sealedOnly: true });
    expect(await refusalOf(late.group.replay())).toBe(REFUSED);
    expect(late.group.state).toBe('halted');
    expect(late.lists).toEqual({});
    expect(late.group.appliedIndex).toBe(0n);
  });

  it('invariant 1, 6: halts so as well where its keys know of the cutover', async () => {
    const group = await leader();
    await group.propose('k=one');
    await group.cutOver();
    const disk = new ReplicaDisk();
    const first = new Replica(cluster, { nodeId: 'b', writerId: 2, disk });
    await first.group.replay();
    await first.group.stop();
    const again = new Replica(cluster, {
      nodeId: 'b',
      writerId: 2,
      disk: Object.assign(new ReplicaDisk(), { keys: disk.keys }),
      sealedOnly: true,
    });
    expect(again.group.wrap.kind).toBe('sealed');
    expect(await refusalOf(again.group.replay())).toBe(REFUSED);
    expect(again.lists).toEqual({});
  });

  it('invariant 6: halts at an entry in the clear that it follows', async () => {
    const group = await leader();
    const follower = await new Replica(cluster, { nodeId: 'b', writerId: 2 }).start();
    await group.propose('k=one');
    await until(() => follower.group.appliedIndex === 1n);
    follower.group.refuseCleartext();
    await group.propose('k=two');
    await until(() => follower.group.state === 'halted');
    expect(follower.halts.map(({ code }) => code)).toEqual([REFUSED]);
    expect(follower.lists).toEqual({ k: ['one'] });
  });

  it('appends nothing in the clear, a marker included, and goes on', async () => {
    const group = await leader();
    group.group.refuseCleartext();
    expect(await group.propose('k=one')).toBe(REFUSED);
    expect(await refusalOf(group.cutOver())).toBe(REFUSED);
    await settle();
    expect(tagsOf(cluster)).toBe('');
    expect(group.group.state).toBe('leading');
  });
});
