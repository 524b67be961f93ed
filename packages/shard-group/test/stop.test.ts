/** A group may be stopped at any moment: what was asked of it is answered, and nothing goes on. */
import { type SimulatedCluster, simulatedCluster } from '@raftseal/raft-engine-simulated';
import { afterEach, describe, expect, it } from 'vitest';
import { Replica, type ReplicaOptions, refusalOf, settle, until } from './replica.ts';

const a = { nodeId: 'a', shardId: 0 };
const STOPPED = 'RAFTSEAL_SHARD_GROUP_STOPPED';

let cluster: SimulatedCluster;

afterEach(() => cluster.close());

function replica(options: ReplicaOptions = {}, seed = 1): Replica {
  cluster = simulatedCluster({ nodes: ['a', 'b'], shards: [0], autoElect: false, seed });
  cluster.elect(a);
  return new Replica(cluster, options);
}

describe('stop', () => {
  it('ends a group that was never started, that follows, and that stands for election', async () => {
    const idle = replica();
    await idle.group.stop();
    expect(idle.group.state).toBe('stopped');
    const following = replica({ nodeId: 'b' });
    await following.group.replay();
    await following.group.stop();
    const candidate = await replica({ nodeId: 'b' }).start();
    await candidate.group.stop();
    cluster.elect({ nodeId: 'b', shardId: 0 });
    await settle();
    expect([candidate.states, cluster.leader(0)]).toEqual([['stopped'], undefined]);
  });

  it('finishes what is in flight, refuses what waits, and gives leadership up', async () => {
    const group = await replica({ batchCommandsMax: 1 }).lead();
    const replies = ['k=1', 'k=2'].map((command) => group.propose(command));
    await new Promise((resolve) => setImmediate(resolve));
    const stopped = group.group.stop();
    expect(await Promise.all(replies)).toEqual([{ index: 1n, position: 0 }, STOPPED]);
    await stopped;
    expect([group.group.state, cluster.leader(0)]).toEqual(['stopped', undefined]);
    expect(await group.propose('k=3')).toBe(STOPPED);
    expect(await refusalOf(group.proposeKeys('note'))).toBe(STOPPED);
    expect(group.halts).toEqual([]);
  });

  it('refuses from the moment it is called', async () => {
    const group = await replica().lead();
    const stopped = group.group.stop();
    expect(await group.propose('k=1')).toBe(STOPPED);
    await stopped;
  });

  it('is the same stop however often it is called', async () => {
    const group = await replica().lead();
    const reply = group.propose('k=1');
    await new Promise((resolve) => setImmediate(resolve));
    const first = group.group.stop();
    await group.group.stop();
    expect(group.group.state).toBe('stopped');
    expect(await reply).toEqual({ index: 1n, position: 0 });
    await first;
  });

  it('ends a leader that catches up', async () => {
    const first = await replica().lead();
    await first.propose('k=1');
    const second = new Replica(cluster, { nodeId: 'b', writerId: 2 });
    cluster.holdDelivery({ nodeId: 'b', shardId: 0 }, 0n);
    const replay = second.group.replay();
    second.group.campaign();
    cluster.elect({ nodeId: 'b', shardId: 0 });
    await until(() => second.group.state === 'catchingUp');
    const reply = second.propose('k=2');
    await second.group.stop();
    expect([await reply, await refusalOf(replay)]).toEqual([STOPPED, STOPPED]);
  });

  it('ends a replay that waits, and no replay begins after it', async () => {
    const first = await replica().lead();
    await first.propose('k=1');
    const second = new Replica(cluster, { nodeId: 'b', writerId: 2 });
    cluster.holdDelivery({ nodeId: 'b', shardId: 0 }, 0n);
    const replay = second.group.replay();
    await settle();
    await second.group.stop();
    expect(await refusalOf(replay)).toBe(STOPPED);
    expect(await refusalOf(second.group.replay())).toBe(STOPPED);
    second.group.campaign();
    cluster.releaseDelivery({ nodeId: 'b', shardId: 0 });
    await settle();
    expect([second.group.appliedIndex, second.group.state]).toEqual([0n, 'stopped']);
  });

  it('ends a follower whose entry waits for another shard, which leaves it unapplied', async () => {
    const first = await replica().lead();
    await first.proposeKeys('note');
    let waits = 0;
    const second = new Replica(cluster, {
      nodeId: 'b',
      writerId: 2,
      parts: {
        keyLifecycle: {
          apply: ({ signal }) =>
            new Promise((_, reject) => {
              waits += 1;
              signal.addEventListener('abort', () => reject(signal.reason));
            }),
        },
      },
    });
    const replay = refusalOf(second.group.replay());
    await until(() => waits === 1);
    await second.group.stop();
    expect(await replay).toBe(STOPPED);
    expect([second.group.appliedIndex, second.group.state]).toEqual([0n, 'stopped']);
    expect(second.halts).toEqual([]);
  });

  it('does not wait for contact with the log to come back', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const group = await replica({}, seed).lead();
      const reply = group.propose('k=1');
      await new Promise((resolve) => setImmediate(resolve));
      cluster.partition('a');
      await new Promise((resolve) => setTimeout(resolve, 30));
      await group.group.stop();
      // What is known to be lost depends on how far the group had come with asking.
      const lost = cluster.log(0).length === 0;
      const codes = lost ? ['NOT_LEADER', 'OUTCOME_UNKNOWN'] : ['OUTCOME_UNKNOWN'];
      expect(codes.map((code) => `RAFTSEAL_SHARD_GROUP_${code}`)).toContain(await reply);
      expect([group.group.state, group.halts]).toEqual(['stopped', []]);
    }
  });

  it('does not repeat an append whose outcome is unknown', async () => {
    const group = await replica().lead();
    cluster.faultNextAppend(a, 'ambiguousLost');
    const reply = group.propose('k=1');
    await settle();
    await group.group.stop();
    expect(await reply).toBe('RAFTSEAL_SHARD_GROUP_OUTCOME_UNKNOWN');
    expect([cluster.log(0).length, group.halts]).toEqual([0, []]);
  });

  it('ends a cutover that drains, before its marker', async () => {
    const group = await replica().lead();
    const reply = group.propose('k=1');
    await new Promise((resolve) => setImmediate(resolve));
    const cutover = refusalOf(group.cutOver());
    await group.group.stop();
    expect([await cutover, await reply]).toEqual([STOPPED, { index: 1n, position: 0 }]);
    expect(cluster.log(0)).toHaveLength(1);
  });

  it('lets a marker that is in flight be applied', async () => {
    const group = await replica().lead();
    const cutover = group.cutOver();
    await until(() => group.cutoverSteps.includes('drained'));
    await group.group.stop();
    await cutover;
    expect([group.group.wrap.kind, group.group.state]).toEqual(['sealed', 'stopped']);
  });

  it('ends a halted group, which stays halted', async () => {
    const group = await replica().lead();
    await group.propose('no command');
    await group.group.stop();
    expect(group.group.state).toBe('halted');
  });

  it('ends a group in the moment it is elected', async () => {
    const group = await replica().start();
    for (let turn = 0; turn < 30; turn++) {
      if (cluster.leader(0) !== undefined) break;
      await Promise.resolve();
    }
    await group.group.stop();
    expect([group.group.state, cluster.leader(0)]).toEqual(['stopped', undefined]);
  });

  it('answers every proposal exactly once, whenever it comes', async () => {
    for (let turns = 0; turns < 40; turns++) {
      const group = await replica({ batchCommandsMax: 2 }).start();
      const seen: string[] = [];
      const ask = (): void =>
        group.group.propose(Buffer.from('k=v'), (e) => seen.push(e?.code ?? ''));
      for (let at = 0; at < 10; at++) ask();
      const keys = refusalOf(group.proposeKeys('note'));
      for (let turn = 0; turn < turns; turn++) {
        ask();
        if (turn === 12) void refusalOf(group.cutOver());
        await new Promise((resolve) => setImmediate(resolve));
      }
      await group.group.stop();
      await keys;
      await settle(2);
      expect(seen, `after ${turns} turns`).toHaveLength(10 + turns);
      const applied = seen.filter((code) => code === '').length;
      expect(group.machine.lists.get('k')?.length ?? 0).toBe(applied);
      expect([cluster.leader(0), group.group.state]).toEqual([undefined, 'stopped']);
    }
  });
});
