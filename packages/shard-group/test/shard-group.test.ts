/** States, refusals, replies, the readiness fence and halting. */
import { decodeEnvelope } from '@raftseal/envelope';
import { fatalError } from '@raftseal/interface';
import { type SimulatedCluster, simulatedCluster } from '@raftseal/raft-engine-simulated';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TAG_CLEARTEXT } from '../src/index.ts';
import { REFUSED } from './list-machine.ts';
import { Replica, type ReplicaOptions, refusalOf, settle, tagsOf, until } from './replica.ts';
import { FIRST_DEK_ID } from './shard-keys.ts';

const a = { nodeId: 'a', shardId: 0 };
const b = { nodeId: 'b', shardId: 0 };
const NOT_LEADER = 'RAFTSEAL_SHARD_GROUP_NOT_LEADER';
const HALTED = 'RAFTSEAL_SHARD_GROUP_HALTED';

let cluster: SimulatedCluster;

beforeEach(() => {
  cluster = simulatedCluster({ nodes: ['a', 'b', 'c'], shards: [0], autoElect: false });
});

afterEach(() => cluster.close());

async function leader(options: ReplicaOptions = {}): Promise<Replica> {
  cluster.elect(a);
  return await new Replica(cluster, options).lead();
}

async function follower(options: ReplicaOptions = {}): Promise<Replica> {
  return await new Replica(cluster, { nodeId: 'b', writerId: 2, ...options }).start();
}

async function promote(replica: Replica): Promise<void> {
  cluster.elect({ nodeId: replica.nodeId, shardId: 0 });
  await until(() => replica.group.state === 'leading');
}

/** Appends to the log as some node's engine, with nothing checked. */
async function forge(nodeId: string, payload: Buffer): Promise<void> {
  const engine = cluster.engine(nodeId, 0);
  const candidacy = engine.elect();
  cluster.elect({ nodeId, shardId: 0 });
  const { term, headIndex } = await candidacy;
  await engine.append({ term, index: headIndex + 1n, payload });
}

describe('a shard group', () => {
  it('follows, catches up, leads and follows again', async () => {
    const group = await leader();
    cluster.depose(0);
    expect(group.states).toEqual(['catchingUp', 'leading', 'follower']);
    await promote(group);
    expect(group.states.slice(3)).toEqual(['catchingUp', 'leading']);
    expect(group.group.term).toBe(2n);
  });

  it('HAZARD PROP-17: refuses proposals unless it leads', async () => {
    const group = await follower();
    expect(await group.propose('k=v')).toBe(NOT_LEADER);
    expect(await refusalOf(group.proposeKeys('note'))).toBe(NOT_LEADER);
    expect(await refusalOf(group.cutOver())).toBe(NOT_LEADER);
  });

  it('invariant 9: applies what others append, to the same state at the same index', async () => {
    const [first, second] = [await leader(), await follower()];
    await first.propose('k=one');
    await first.cutOver();
    await first.propose('k=two');
    await until(() => second.group.appliedIndex === 3n);
    expect(second.lists).toEqual(first.lists);
    expect(second.machine.batches).toEqual(first.machine.batches);
  });

  it('invariant 11: appends nothing that the state machine of the leader refuses', async () => {
    const [first, second] = [await leader(), await follower()];
    expect(await second.propose(REFUSED)).toBe(NOT_LEADER);
    const codes = ['k=1', REFUSED, 'k=2'].map((command) => first.propose(command));
    expect(await Promise.all(codes)).toEqual([
      { index: 1n, position: 0 },
      'RAFTSEAL_KV_ROW_CORRUPT',
      { index: 1n, position: 1 },
    ]);
    expect([first.lists, first.group.state]).toEqual([{ k: ['1', '2'] }, 'leading']);
  });

  it('replays what its state machine has not made durable, and nothing twice', async () => {
    const group = await leader();
    await Promise.all(['k=1', 'k=2'].map((command) => group.propose(command)));
    await group.machine.flush();
    await group.propose('k=3');
    await group.group.stop();
    const again = await new Replica(cluster, { nodeId: 'b', writerId: 2 }).start();
    expect(again.lists).toEqual({ k: ['1', '2', '3'] });
  });

  it('lets the engine drop what is durable, and no more', async () => {
    const group = await leader();
    await group.group.truncate();
    expect((await group.engine.bounds()).firstIndex).toBe(1n);
    await group.propose('k=1');
    await group.machine.flush();
    await group.propose('k=2');
    await group.group.truncate();
    expect((await group.engine.bounds()).firstIndex).toBe(2n);
  });

  it('halts, and says why, where the log no longer reaches back to what it needs', async () => {
    const group = await leader();
    await group.propose('k=1');
    await group.machine.flush();
    await group.group.truncate();
    const late = new Replica(cluster, { nodeId: 'b', writerId: 2 });
    expect(await refusalOf(late.group.replay())).toBe('RAFTSEAL_ENGINE_TRUNCATED');
    expect(late.group.state).toBe('halted');
  });
});

describe('done', () => {
  /** What came of each call, and whether any came before `propose` had returned. */
  function watch(group: Replica, commands: readonly string[]): { codes: string[]; sync: number } {
    const seen = { codes: [] as string[], sync: 0 };
    for (const command of commands) {
      let returned = false;
      group.group.propose(Buffer.from(command), (error) => {
        if (!returned) seen.sync += 1;
        seen.codes.push(error?.code ?? 'done');
      });
      returned = true;
    }
    return seen;
  }

  it('is never called before propose has returned, and exactly once', async () => {
    const idle = await follower();
    const refused = watch(idle, ['k=1', 'k=2']);
    const busy = await leader({ queueBytesMax: 24 });
    const mixed = watch(busy, ['k=1', REFUSED, 'x'.repeat(2 ** 20), 'k=2', 'k=3', 'k=4']);
    await until(() => mixed.codes.length >= 6 && refused.codes.length >= 2);
    await busy.group.stop();
    const stopped = watch(busy, ['k=5']);
    await settle();
    expect([refused, mixed, stopped]).toEqual([
      { codes: [NOT_LEADER, NOT_LEADER], sync: 0 },
      {
        codes: [
          'RAFTSEAL_KV_ROW_CORRUPT',
          'RAFTSEAL_SHARD_GROUP_COMMAND_TOO_LARGE',
          'RAFTSEAL_SHARD_GROUP_OVERLOADED',
          'done',
          'done',
          'done',
        ],
        sync: 0,
      },
      { codes: ['RAFTSEAL_SHARD_GROUP_STOPPED'], sync: 0 },
    ]);
  });

  it('may propose again, also where it is told of a loss', async () => {
    const group = await leader();
    const seen: string[] = [];
    const again = (left: number): void =>
      group.group.propose(Buffer.from('k=v'), (error) => {
        seen.push(error?.code ?? 'done');
        if (left > 0) again(left - 1);
      });
    again(3);
    await until(() => seen.length === 4);
    cluster.pause('a');
    cluster.depose(0);
    again(2);
    await until(() => seen.length === 7);
    expect(seen).toEqual(['done', 'done', 'done', 'done', NOT_LEADER, NOT_LEADER, NOT_LEADER]);
  });

  it('leaves the command to its owner as soon as propose has returned', async () => {
    const group = await leader();
    const command = Buffer.from('k=mine');
    const replied = new Promise((resolve) => group.group.propose(command, resolve));
    command.fill(0);
    await replied;
    expect(group.lists).toEqual({ k: ['mine'] });
  });

  it('says that the queue is full, and not that the shard is lost', async () => {
    const group = await leader({ queueBytesMax: 2 * (4 + 'k=v'.length) });
    const replies = ['k=v', 'k=v', 'k=v'].map((command) => group.propose(command));
    expect(group.group.queuedBytes).toBe(14);
    expect((await Promise.all(replies)).map((reply) => typeof reply)).toEqual([
      'object',
      'object',
      'string',
    ]);
    expect(await replies[2]).toBe('RAFTSEAL_SHARD_GROUP_OVERLOADED');
    expect(group.group.queuedBytes).toBe(0);
  });
});

describe('the readiness fence', () => {
  /** A leader's log that ends in a marker, of which the next leader has seen nothing. */
  async function unseenMarker(): Promise<[Replica, Replica]> {
    const [first, second] = [await leader(), await follower()];
    cluster.holdDelivery(b, 0n);
    await first.propose('k=before');
    await first.cutOver();
    cluster.elect(b);
    await until(() => second.group.state === 'catchingUp');
    return [first, second];
  }

  it('HAZARD PROP-18, E2E-06: a new leader serves only after it has applied what it inherited', async () => {
    const [, second] = await unseenMarker();
    const reply = second.propose('k=after');
    await settle();
    expect([second.group.state, cluster.log(0).length]).toEqual(['catchingUp', 2]);
    cluster.releaseDelivery(b, 1n);
    await settle();
    expect([second.group.state, cluster.log(0).length]).toEqual(['catchingUp', 2]);
    cluster.releaseDelivery(b);
    expect(await reply).toEqual({ index: 3n, position: 1 });
    expect(tagsOf(cluster)).toBe('CCS');
  });

  it('HAZARD PROP-19, invariant 4: it waits for the effects of the marker too', async () => {
    const [, second] = await unseenMarker();
    let release = (): void => undefined;
    second.keys.hold = new Promise((resolve) => {
      release = resolve;
    });
    const reply = second.propose('k=after');
    cluster.releaseDelivery(b);
    await settle();
    expect([second.group.state, second.group.wrap.kind]).toEqual(['catchingUp', 'cleartext']);
    release();
    expect(await reply).toEqual({ index: 3n, position: 1 });
    expect(tagsOf(cluster)).toBe('CCS');
  });

  it('what waited for it is refused where leadership is lost meanwhile', async () => {
    const [, second] = await unseenMarker();
    const reply = second.propose('k=after');
    cluster.depose(0);
    expect(await reply).toBe(NOT_LEADER);
    cluster.releaseDelivery(b);
    await until(() => second.group.appliedIndex === 2n);
    expect(second.group.state).toBe('follower');
  });

  it('alone keeps cleartext out of an engine that ignores the expected index', async () => {
    cluster = simulatedCluster({
      nodes: ['a', 'b'],
      shards: [0],
      autoElect: false,
      plantedFaults: ['ignoreExpectedIndex'],
    });
    const [, second] = await unseenMarker();
    const reply = second.propose('k=after');
    await settle();
    cluster.releaseDelivery(b);
    expect([await reply, tagsOf(cluster)]).toEqual([{ index: 3n, position: 1 }, 'CCS']);
  });

  it('is backed by the expected index alone, where an election misreports the head', async () => {
    cluster = simulatedCluster({
      nodes: ['a', 'b'],
      shards: [0],
      autoElect: false,
      plantedFaults: ['misreportHead'],
    });
    const [first, second] = [await leader(), await follower()];
    cluster.holdDelivery(b, 0n);
    await first.propose('k=before');
    await first.cutOver();
    await promote(second);
    expect([await second.propose('k=after'), tagsOf(cluster)]).toEqual([NOT_LEADER, 'CC']);
  });
});

describe('invariant 6: a shard that halts', () => {
  const cleartextAbove = 'RAFTSEAL_SHARD_GROUP_CLEARTEXT_ABOVE_CUTOVER';
  const forged = Buffer.from([TAG_CLEARTEXT, 0x44]);

  it('refuses everything, gives leadership up and says why, once', async () => {
    const group = await leader();
    const code = 'RAFTSEAL_KV_COMMAND_MALFORMED';
    const replies = await Promise.all([group.propose('no command'), group.propose('k=v')]);
    expect(replies).toEqual([HALTED, HALTED]);
    expect(await group.propose('k=v')).toBe(HALTED);
    expect(await refusalOf(group.proposeKeys('note'))).toBe(HALTED);
    expect(await refusalOf(group.cutOver())).toBe(NOT_LEADER);
    expect([group.group.state, group.group.haltError?.code]).toEqual(['halted', code]);
    expect(group.halts.map((error) => error.code)).toEqual([code]);
    expect([cluster.leader(0), group.group.appliedIndex]).toEqual([undefined, 0n]);
  });

  it('does so where it follows, and applies nothing more', async () => {
    const [first, second] = [await leader(), await follower()];
    await first.cutOver();
    await until(() => second.group.appliedIndex === 1n);
    await forge('c', forged);
    await until(() => second.group.state === 'halted');
    expect(second.group.haltError?.code).toBe(cleartextAbove);
    expect(second.group.appliedIndex).toBe(1n);
  });

  it('is never elected after', async () => {
    const [first, second] = [await leader(), await follower()];
    await first.cutOver();
    await until(() => second.group.appliedIndex === 1n);
    second.group.halt(fatalError('RAFTSEAL_SHARD_GROUP_OPEN_FAILED', 'found by a scrub'));
    cluster.elect(b);
    await settle();
    expect([second.group.state, cluster.leader(0)]).toEqual(['halted', undefined]);
    expect(await second.propose('k=v')).toBe(HALTED);
  });

  it('is never leading, also where it was elected in the same moment', async () => {
    const second = await follower();
    cluster.elect(b);
    second.group.halt(new Error('the store failed'));
    await settle();
    expect([second.states, cluster.leader(0)]).toEqual([['halted'], undefined]);
  });

  it('tells a replay that it halted', async () => {
    await forge('c', forged);
    const group = new Replica(cluster, { nodeId: 'b' });
    expect(await refusalOf(group.group.replay())).toBe('RAFTSEAL_SHARD_GROUP_MALFORMED_ENTRY');
    group.group.campaign();
    await settle();
    expect(group.states).toEqual(['halted']);
  });

  it('does so for a failure outside of its apply, under the code of that failure', async () => {
    const group = await leader();
    const reply = group.propose('k=v');
    group.group.halt(fatalError('RAFTSEAL_KV_COMMIT_FAILED', 'the disk is full'));
    group.group.halt(new Error('and again'));
    expect(await reply).toBe(HALTED);
    expect(group.halts.map(({ code }) => code)).toEqual(['RAFTSEAL_KV_COMMIT_FAILED']);
    const other = await follower({ nodeId: 'c' });
    other.group.halt(new Error('no code'));
    expect(other.group.haltError?.code).toBe('RAFTSEAL_SHARD_GROUP_APPLY_FAILED');
  });

  it('leaves the others of its node alone', async () => {
    cluster = simulatedCluster({ nodes: ['a'], shards: [0, 1] });
    const [zero, one] = await Promise.all([
      new Replica(cluster, { shardId: 0 }).lead(),
      new Replica(cluster, { shardId: 1 }).lead(),
    ]);
    await zero?.propose('no command');
    expect(await one?.propose('k=v')).toEqual({ index: 1n, position: 0 });
  });
});

describe('the wrap of a group', () => {
  it('WRAP-03: is the one it was made with, where the shard is cut over already', async () => {
    const group = await leader();
    await group.cutOver();
    await group.group.stop();
    const wrap = group.keys.sealedAbove(1n, FIRST_DEK_ID);
    const again = new Replica(cluster, { nodeId: 'b', writerId: 2, parts: { wrap } });
    expect(again.group.wrap).toBe(wrap);
    await again.start();
    await promote(again);
    await again.propose('k=v');
    expect(tagsOf(cluster)).toBe('CS');
  });

  it('WRAP-08, HAZARD PROP-05: changes its DEK with the next entry and never its cutover', async () => {
    const group = await leader();
    await group.cutOver();
    await group.proposeKeys('rotate 8');
    expect(group.group.wrap).toMatchObject({ dekId: 8, cutoverIndex: 1n });
    await group.propose('k=v');
    const dekIds = cluster
      .log(0)
      .slice(1)
      .map(({ payload }) => decodeEnvelope(payload.subarray(1)).dekId);
    expect(dekIds).toEqual([FIRST_DEK_ID, 8]);
  });

  it('is one-way', async () => {
    const group = await leader();
    const { keys } = group;
    group.group.setRaftPayloadWrap({ kind: 'cleartext' });
    group.group.setRaftPayloadWrap(keys.sealedAbove(4n, FIRST_DEK_ID));
    group.group.setRaftPayloadWrap(keys.sealedAbove(4n, FIRST_DEK_ID));
    for (const wrap of [{ kind: 'cleartext' } as const, keys.sealedAbove(5n, FIRST_DEK_ID)]) {
      expect(() => group.group.setRaftPayloadWrap(wrap)).toThrow('cut over at 4 for good');
    }
    expect(group.group.wrap).toMatchObject({ kind: 'sealed', cutoverIndex: 4n });
  });
});
