import { type SimulatedCluster, simulatedCluster } from '@raftseal/raft-engine-simulated';
import { afterEach, describe, expect, it } from 'vitest';
import { Replica, type ReplicaOptions, refusalOf, settle, tagsOf, until } from './replica.ts';

const a = { nodeId: 'a', shardId: 0 };
const NOT_LEADER = 'RAFTSEAL_SHARD_GROUP_NOT_LEADER';

let cluster: SimulatedCluster;

afterEach(() => cluster.close());

async function leader(options: ReplicaOptions = {}, appendsInFlightMax = 1): Promise<Replica> {
  cluster = simulatedCluster({
    nodes: ['a', 'b'],
    shards: [0],
    autoElect: false,
    appendsInFlightMax,
  });
  cluster.elect(a);
  return await new Replica(cluster, { appendsInFlightMax, ...options }).lead();
}

/** Keeps key-lifecycle entries from being applied until the result is called. */
function holdApply({ keys }: Replica): () => void {
  let release = (): void => undefined;
  keys.hold = new Promise((resolve) => {
    release = resolve;
  });
  return () => {
    keys.hold = undefined;
    release();
  };
}

describe('a cutover', () => {
  it('ADM-34: closes the gate, drains, appends the marker, applies it, opens the gate', async () => {
    const group = await leader();
    await group.cutOver();
    expect(group.cutoverSteps).toEqual(['gate-closed', 'drained', 'marker-applied', 'gate-opened']);
    expect(group.states.slice(2)).toEqual(['gated', 'leading']);
    expect(group.group.wrap).toMatchObject({ kind: 'sealed', cutoverIndex: 1n });
    expect(group.keys.seals).toBe(0);
  });

  it('invariant 1: leaves the marker and all below it in the clear, and seals all above', async () => {
    const group = await leader();
    await Promise.all(['k=1', 'k=2'].map((command) => group.propose(command)));
    await group.proposeKeys('note');
    await group.cutOver();
    await group.proposeKeys('rotate 8');
    await group.propose('k=3');
    expect(tagsOf(cluster)).toBe('CCCSS');
    expect(group.lists).toEqual({ k: ['1', '2', '3'] });
  });

  it('HAZARD PROP-08, PROP-20: what is in flight when it begins lands below the marker', async () => {
    const group = await leader({ batchCommandsMax: 1 }, 3);
    const replies = Array.from({ length: 3 }, (_, at) => group.propose(`k=${at}`));
    await new Promise((resolve) => setImmediate(resolve));
    const cutover = group.cutOver();
    expect(group.cutoverSteps).toEqual(['gate-closed']);
    await Promise.all([cutover, ...replies]);
    expect(tagsOf(cluster)).toBe('CCCC');
    expect(group.group.wrap).toMatchObject({ cutoverIndex: 4n });
  });

  it('PROP-07: keeps proposals waiting while the gate is closed, and refuses none', async () => {
    const group = await leader();
    const release = holdApply(group);
    const cutover = group.cutOver();
    await settle();
    const replies = ['k=1', 'k=2'].map((command) => group.propose(command));
    await settle();
    expect([group.group.state, tagsOf(cluster)]).toEqual(['gated', 'C']);
    release();
    await cutover;
    expect(await Promise.all(replies)).toEqual([
      { index: 2n, position: 0 },
      { index: 2n, position: 1 },
    ]);
    expect(tagsOf(cluster)).toBe('CS');
  });

  it('HAZARD PROP-21, PROP-03: keeps key-lifecycle entries waiting too, and seals them then', async () => {
    const group = await leader();
    const release = holdApply(group);
    const cutover = group.cutOver();
    await settle();
    const rotation = group.proposeKeys('rotate 8');
    await settle();
    expect(tagsOf(cluster)).toBe('C');
    release();
    await cutover;
    expect([await rotation, tagsOf(cluster)]).toEqual([2n, 'CS']);
  });

  it('HAZARD PROP-23: passes although proposals wait for it', async () => {
    const group = await leader();
    const cutover = group.cutOver();
    const reply = group.propose('k=v');
    await cutover;
    expect(await reply).toEqual({ index: 2n, position: 0 });
  });

  it('bounds what waits while the gate is closed', async () => {
    const group = await leader({ queueBytesMax: 14 });
    const release = holdApply(group);
    const cutover = group.cutOver();
    const replies = ['k=1', 'k=2', 'k=3'].map((command) => group.propose(command));
    expect(await replies[2]).toBe('RAFTSEAL_SHARD_GROUP_OVERLOADED');
    release();
    await cutover;
    expect((await Promise.all(replies.slice(0, 2))).map((reply) => typeof reply)).toEqual([
      'object',
      'object',
    ]);
  });

  it('HAZARD PROP-22: is one, however often it is asked for', async () => {
    const group = await leader();
    await Promise.all([group.cutOver(), group.cutOver(), group.cutOver()]);
    await group.cutOver();
    expect(tagsOf(cluster)).toBe('C');
    expect(group.cutoverSteps.filter((step) => step === 'gate-closed')).toHaveLength(1);
  });

  it('ends without a marker of its own where what it drained was one', async () => {
    const group = await leader();
    const other = group.proposeKeys('marker');
    await new Promise((resolve) => setImmediate(resolve));
    await group.cutOver();
    expect([await other, tagsOf(cluster)]).toEqual([1n, 'C']);
    expect([group.group.state, group.group.wrap.kind]).toEqual(['leading', 'sealed']);
  });

  it('ADM-37: opens the gate where apply found its marker stale, and may be asked for again', async () => {
    const group = await leader();
    await group.cutOver('stale marker');
    expect([group.group.wrap.kind, group.group.state]).toEqual(['cleartext', 'leading']);
    await group.propose('k=1');
    await group.cutOver();
    await group.propose('k=2');
    expect(tagsOf(cluster)).toBe('CCCS');
  });

  it('HAZARD ADM-38, ADM-40: resolves an unknown outcome of its marker by itself', async () => {
    for (const fault of ['ambiguousLanded', 'ambiguousLost', 'ambiguousLate'] as const) {
      const group = await leader();
      cluster.faultNextAppend(a, fault);
      const cutover = group.cutOver();
      const reply = group.propose('k=v');
      await cutover;
      expect([await reply, tagsOf(cluster)]).toEqual([{ index: 2n, position: 0 }, 'CS']);
      expect(cluster.landLateAppends(a)).toBe(0);
    }
  });

  it('ADM-36, HAZARD PROP-26: lost while it drains, it appends nothing and opens the gate', async () => {
    const group = await leader();
    cluster.pause('a');
    const reply = group.propose('k=v');
    await new Promise((resolve) => setImmediate(resolve));
    cluster.depose(0);
    expect(await refusalOf(group.cutOver())).toBe(NOT_LEADER);
    expect([await reply, tagsOf(cluster)]).toEqual([NOT_LEADER, '']);
    expect(group.cutoverSteps).toEqual(['gate-closed', 'drained', 'gate-opened']);
    cluster.resume('a');
    cluster.elect(a);
    await until(() => group.group.state === 'leading');
    expect(await group.propose('k=again')).toEqual({ index: 1n, position: 0 });
  });

  it('lost with its marker, is for the next leader to finish', async () => {
    const group = await leader();
    cluster.pause('a');
    cluster.depose(0);
    expect(await refusalOf(group.cutOver())).toBe(NOT_LEADER);
    expect([group.group.wrap.kind, tagsOf(cluster)]).toEqual(['cleartext', '']);
  });

  it('lost after its marker landed, seals from the next leader on', async () => {
    const group = await leader();
    const other = await new Replica(cluster, { nodeId: 'b', writerId: 2 }).start();
    cluster.faultNextAppend(a, 'ambiguousLanded');
    const cutover = group.cutOver();
    await settle();
    cluster.elect({ nodeId: 'b', shardId: 0 });
    await until(() => other.group.state === 'leading');
    await other.propose('k=v');
    await cutover;
    expect(tagsOf(cluster)).toBe('CS');
    await until(() => group.group.appliedIndex === 2n);
    expect(group.lists).toEqual({ k: ['v'] });
  });

  it('HAZARD WRAP-06, invariant 4: without an installer leaves cleartext that others halt at', async () => {
    const group = await leader();
    group.installs = false;
    await group.cutOver();
    await group.propose('k=v');
    expect(tagsOf(cluster)).toBe('CC');
    const other = new Replica(cluster, { nodeId: 'b', writerId: 2 });
    expect(await refusalOf(other.group.replay())).toBe(
      'RAFTSEAL_SHARD_GROUP_CLEARTEXT_ABOVE_CUTOVER',
    );
  });
});
