/** What a shard of several nodes does: snapshots, transfers of leadership, reads, altered logs. */
import { type SimulatedCluster, simulatedCluster } from '@raftseal/raft-engine-simulated';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Restore } from '../src/index.ts';
import { ListMachine } from './list-machine.ts';
import { Replica, ReplicaDisk, type ReplicaOptions, refusalOf, settle, until } from './replica.ts';

const a = { nodeId: 'a', shardId: 0 };
const b = { nodeId: 'b', shardId: 0 };
const NOT_LEADER = 'RAFTSEAL_SHARD_GROUP_NOT_LEADER';

let cluster: SimulatedCluster;

beforeEach(() => {
  cluster = simulatedCluster({ nodes: ['a', 'b', 'c'], shards: [0], autoElect: false });
});

afterEach(() => cluster.close());

async function leader(options: ReplicaOptions = {}): Promise<Replica> {
  cluster.elect(a);
  return await new Replica(cluster, options).lead();
}

function second(options: ReplicaOptions = {}): Replica {
  return new Replica(cluster, { nodeId: 'b', writerId: 2, ...options });
}

/** A leader whose log no longer has its first three entries. */
async function truncated(): Promise<Replica> {
  const group = await leader();
  for (const command of ['k=1', 'k=2', 'k=3']) await group.propose(command);
  await group.machine.flush();
  await group.group.truncate();
  return group;
}

/** Takes over what another replica has applied, as installing its snapshot would. */
function restoreFrom(source: Replica, into: () => Replica): Restore {
  return async () => {
    const { machine } = into();
    for (const [key, values] of source.machine.lists) machine.lists.set(key, [...values]);
    return { index: source.group.appliedIndex, timestampMs: 7 };
  };
}

describe('a snapshot', () => {
  it('is asked for where the log lacks what comes next, and followed from its index', async () => {
    const source = await truncated();
    const late: Replica = second({ parts: { restore: restoreFrom(source, () => late) } });
    await late.start();
    await source.propose('k=4');
    await until(() => late.group.appliedIndex === 4n);
    expect([late.lists, late.states]).toEqual([
      { k: ['1', '2', '3', '4'] },
      ['restoring', 'follower'],
    ]);
  });

  it('is asked for again after a failure, and a fatal one halts the shard', async () => {
    const source = await truncated();
    let failures = 1;
    const restore: Restore = async (signal) => {
      if (failures-- > 0) throw new Error('the peer went away');
      return restoreFrom(source, () => late)(signal);
    };
    const late: Replica = second({ parts: { restore } });
    await late.group.replay();
    expect(late.lists).toEqual(source.lists);

    const fatal = Object.assign(new Error('it lies'), { fatal: true, code: 'RAFTSEAL_TEST' });
    const refused = second({ parts: { restore: () => Promise.reject(fatal) } });
    expect(await refusalOf(refused.group.replay())).toBe('RAFTSEAL_SHARD_GROUP_APPLY_FAILED');
    expect(refused.group.state).toBe('halted');
  });

  it('keeps its node from leading until it is installed', async () => {
    const source = await truncated();
    let install = (): void => undefined;
    const fetched = new Promise<void>((resolve) => {
      install = resolve;
    });
    const restore: Restore = async (signal) => {
      await fetched;
      return restoreFrom(source, () => late)(signal);
    };
    const late: Replica = second({ parts: { restore } });
    const replayed = late.group.replay();
    late.group.campaign();
    await until(() => late.group.state === 'restoring');
    cluster.depose(0);
    cluster.elect(b);
    await settle();
    expect(cluster.leader(0)).toBeUndefined();
    expect(await late.propose('k=no')).toBe(NOT_LEADER);
    install();
    await replayed;
    await until(() => late.group.state === 'leading');
    expect(await late.propose('k=4')).toEqual({ index: 4n, position: 3 });
  });

  it('lets a node stop while it is being fetched', async () => {
    await truncated();
    const restore: Restore = (signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    const late = second({ parts: { restore } });
    const replayed = refusalOf(late.group.replay());
    await until(() => late.group.state === 'restoring');
    await late.group.stop();
    expect([await replayed, late.group.state]).toEqual(['RAFTSEAL_SHARD_GROUP_STOPPED', 'stopped']);
  });
});

describe('handing over', () => {
  it('appends what is in flight, answers it, and then lets another node lead', async () => {
    const [first, other] = [await leader(), await second().start()];
    const replies = ['k=1', 'k=2'].map((command) => first.propose(command));
    await settle(1);
    await first.group.handOver();
    expect(await Promise.all(replies)).toEqual([
      { index: 1n, position: 0 },
      { index: 1n, position: 1 },
    ]);
    expect(first.group.state).toBe('follower');
    cluster.elect(b);
    await until(() => other.group.state === 'leading');
    expect(await other.propose('k=3')).toEqual({ index: 2n, position: 2 });
    await other.group.handOver();
    await first.group.handOver();
  });

  it('is left to others by a node that stands aside, until it stands again', async () => {
    const [first, other] = [await leader(), await second().start()];
    const stands = [first.group.standAside(), first.group.standAside()];
    await until(() => first.group.state === 'follower');
    cluster.elect(a);
    await settle();
    expect(cluster.leader(0)).toBeUndefined();
    cluster.elect(b);
    await until(() => other.group.state === 'leading');
    expect(await other.propose('k=1')).toEqual({ index: 1n, position: 0 });
    cluster.elect(a);
    stands[1]?.();
    await settle();
    expect(cluster.leader(0)).toBeUndefined();
    stands[0]?.();
    await until(() => first.group.state === 'leading');
    expect(await first.propose('k=2')).toEqual({ index: 2n, position: 1 });
  });

  it('refuses what waited, of which nothing was appended', async () => {
    const first = await leader();
    const handedOver = first.group.handOver();
    const reply = first.propose('k=late');
    await handedOver;
    expect([await reply, cluster.log(0).length]).toEqual([NOT_LEADER, 0]);
  });
});

describe('invariant 8: reads', () => {
  it('are allowed only while the claim to lead cannot have lapsed', async () => {
    const [first, other] = [await leader(), await second().start()];
    await first.propose('k=1');
    expect([first.group.isReadable, other.group.isReadable]).toEqual([true, false]);
    cluster.pause('a');
    cluster.elect(b);
    await until(() => other.group.state === 'leading');
    // It was stopped while another was elected, and has heard of nothing yet.
    expect([first.group.state, first.group.isReadable]).toEqual(['leading', false]);
    expect(await refusalOf(first.group.confirmLeadership())).toBe(NOT_LEADER);
    expect(other.group.isReadable).toBe(true);
    await other.group.confirmLeadership();
  });

  it('are confirmed by a question that is put after they arrived', async () => {
    const first = await leader();
    await Promise.all([first.group.confirmLeadership(), first.group.confirmLeadership()]);
    cluster.partition('a');
    expect(first.group.isReadable).toBe(false);
    expect(await refusalOf(first.group.confirmLeadership())).toBe(NOT_LEADER);
  });
});

describe('invariant 7: a log whose end was taken away', () => {
  it('is not led by a node that has applied more than it holds', async () => {
    const disk = new ReplicaDisk();
    disk.list.index = 5n;
    const group = new Replica(cluster, { disk });
    await group.group.replay();
    cluster.elect(a);
    group.group.campaign();
    await until(() => group.group.state === 'halted');
    expect(group.group.haltError?.code).toBe('RAFTSEAL_SHARD_GROUP_LOG_BEHIND');
  });

  it('is not followed where its last entry is another than the one applied', async () => {
    const first = await leader();
    await first.propose('k=1');
    const altered = first.engine.read.bind(first.engine);
    first.engine.read = async function* (request) {
      for await (const chunk of altered(request)) {
        yield chunk.map((entry) => ({ ...entry, payload: entry.payload.map((byte) => byte ^ 1) }));
      }
    };
    cluster.depose(0);
    await until(() => first.group.state === 'halted');
    expect(first.group.haltError?.code).toBe('RAFTSEAL_SHARD_GROUP_LOG_DIVERGED');
  });
});

describe('the clock of a leader', () => {
  it('is never behind what its store has seen, with nothing to replay', async () => {
    const disk = new ReplicaDisk();
    const first = await leader({ disk, clock: () => 5_000 });
    await first.propose('k=1');
    await first.machine.flush();
    await first.group.stop();
    await first.engine.close();
    cluster.elect(a);
    const again = await new Replica(cluster, { disk, clock: () => 4_000 }).lead();
    await again.propose('k=2');
    expect(again.machine.batches.at(-1)?.timestampMs).toBe(5_000);
    expect(new ListMachine(disk.list).durableTimestampMs).toBe(5_000);
  });
});

describe('an append that the log refuses', () => {
  it('fails alone, leaves its index free, and halts nothing', async () => {
    const first = await leader();
    const append = first.engine.append.bind(first.engine);
    const error = Object.assign(new Error('full'), { code: 'RAFTSEAL_ENGINE_UNAVAILABLE' });
    first.engine.append = async () => ({ outcome: 'refused', error: error as never });
    expect(await first.propose('k=1')).toBe('RAFTSEAL_ENGINE_UNAVAILABLE');
    first.engine.append = append;
    expect(await first.propose('k=2')).toEqual({ index: 1n, position: 0 });
  });
});
