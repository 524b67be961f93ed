/** From a proposal to its reply, over an engine whose appends end well, badly or unknown. */
import { RaftsealError } from '@raftseal/interface';
import { type SimulatedCluster, simulatedCluster } from '@raftseal/raft-engine-simulated';
import { afterEach, describe, expect, it } from 'vitest';
import { TAG_CLEARTEXT, TAG_SEALED } from '../src/index.ts';
import { guardedEngine } from './guarded-engine.ts';
import { Replica, type ReplicaOptions, refusalOf, settle, tagsOf, until } from './replica.ts';

const a = { nodeId: 'a', shardId: 0 };
const b = { nodeId: 'b', shardId: 0 };
const NOT_LEADER = 'RAFTSEAL_SHARD_GROUP_NOT_LEADER';

let cluster: SimulatedCluster;

afterEach(() => cluster.close());

async function leader(
  options: ReplicaOptions = {},
  made: Partial<Parameters<typeof simulatedCluster>[0]> = {},
): Promise<Replica> {
  cluster = simulatedCluster({ nodes: ['a', 'b'], shards: [0], autoElect: false, ...made });
  cluster.elect(a);
  return await new Replica(cluster, options).lead();
}

async function rival(options: ReplicaOptions = {}): Promise<Replica> {
  return await new Replica(cluster, { nodeId: 'b', writerId: 2, ...options }).start();
}

/** Commands per entry of a log in the clear, as the replica applied them. */
const commandsOf = ({ machine }: Replica): string[][] =>
  machine.batches.map(({ commands }) => commands);

describe('an append that is done', () => {
  it('is answered after it is in the log and applied', async () => {
    const group = await leader();
    expect(await group.propose('k=one')).toEqual({ index: 1n, position: 0 });
    expect(cluster.log(0)).toHaveLength(1);
    expect(group.lists).toEqual({ k: ['one'] });
  });

  it('carries what arrived in one turn, and the next batch gathers meanwhile', async () => {
    const group = await leader();
    const first = [group.propose('k=1'), group.propose('k=2')];
    await new Promise((resolve) => setImmediate(resolve));
    const second = [group.propose('k=3'), group.propose('k=4')];
    await Promise.all([...first, ...second]);
    expect(commandsOf(group)).toEqual([
      ['k=1', 'k=2'],
      ['k=3', 'k=4'],
    ]);
  });

  it('is answered in the order of the proposals, with several in flight', async () => {
    const group = await leader(
      { appendsInFlightMax: 3, batchCommandsMax: 2 },
      { appendsInFlightMax: 3 },
    );
    const replies: number[] = [];
    const all = Array.from({ length: 20 }, async (_, at) => {
      const reply = await group.propose('k=v');
      if (typeof reply !== 'string') replies.push(reply.position);
      return at;
    });
    await Promise.all(all);
    expect(replies).toEqual(all.map((_, at) => at));
    expect(cluster.log(0)).toHaveLength(10);
  });

  it('keeps one append in flight where the engine allows no more', async () => {
    const group = await leader({ appendsInFlightMax: 3, batchCommandsMax: 1 });
    expect(await Promise.all([group.propose('k=1'), group.propose('k=2')])).toEqual([
      { index: 1n, position: 0 },
      { index: 2n, position: 1 },
    ]);
  });

  it('reuses the buffer of a payload only after the append has ended', async () => {
    cluster = simulatedCluster({ nodes: ['a'], shards: [0], appendsInFlightMax: 3 });
    const guarded = guardedEngine(cluster.engine('a', 0));
    const options = { appendsInFlightMax: 3, batchBytesMax: 64, parts: { engine: guarded.engine } };
    const group = await new Replica(cluster, options).lead();
    for (let round = 0; round < 12; round++) {
      await Promise.all(Array.from({ length: 25 }, (_, at) => group.propose(`k=${round}.${at}`)));
    }
    expect(guarded.changed).toEqual([]);
    expect(guarded.buffers.size).toBeLessThan(cluster.log(0).length);
  });
});

describe('an append that is fenced', () => {
  it('was not made: the proposer is told that this node does not lead', async () => {
    const group = await leader();
    cluster.pause('a');
    cluster.depose(0);
    const proposal = group.propose('k=late');
    expect(await proposal).toBe(NOT_LEADER);
    expect(cluster.log(0)).toHaveLength(0);
    expect(group.group.state).toBe('follower');
    expect(group.group.term).toBeUndefined();
  });

  it('takes everything that waits behind it along, each answered once', async () => {
    const group = await leader({ batchCommandsMax: 1 });
    cluster.pause('a');
    cluster.depose(0);
    const replies = await Promise.all(['k=1', 'k=2', 'k=3'].map((text) => group.propose(text)));
    expect(replies).toEqual([NOT_LEADER, NOT_LEADER, NOT_LEADER]);
    expect(cluster.log(0)).toHaveLength(0);
  });
});

describe('an append whose outcome is unknown', () => {
  it('and that landed is answered as done, and stands in the log once', async () => {
    const group = await leader();
    cluster.faultNextAppend(a, 'ambiguousLanded');
    expect(await group.propose('k=one')).toEqual({ index: 1n, position: 0 });
    expect(cluster.log(0)).toHaveLength(1);
    expect(await group.propose('k=two')).toEqual({ index: 2n, position: 1 });
  });

  it('and that was lost is repeated at the same index', async () => {
    const group = await leader();
    cluster.faultNextAppend(a, 'ambiguousLost');
    expect(await group.propose('k=one')).toEqual({ index: 1n, position: 0 });
    expect(cluster.log(0)).toHaveLength(1);
  });

  it('and that lands late is in the log once, whichever attempt comes first', async () => {
    const group = await leader();
    for (const late of [true, false]) {
      cluster.faultNextAppend(a, 'ambiguousLate');
      const before = cluster.log(0).length;
      const proposal = group.propose('k=late');
      await settle();
      if (late) expect(cluster.landLateAppends(a)).toBe(1);
      expect(await proposal).toMatchObject({ index: BigInt(before + 1) });
      if (!late) expect(cluster.landLateAppends(a)).toBe(0);
      expect(cluster.log(0)).toHaveLength(before + 1);
    }
  });

  it('invariant 3, HAZARD WRAP-12: repeats the sealed bytes, and nothing else is sealed for the index', async () => {
    const group = await leader();
    await group.cutOver();
    cluster.faultNextAppend(a, 'ambiguousLost');
    const proposals = [group.propose('k=one')];
    await settle();
    proposals.push(group.propose('k=two'));
    await settle();
    expect(group.keys.seals).toBe(1);
    expect(await Promise.all(proposals)).toEqual([
      { index: 2n, position: 0 },
      { index: 3n, position: 1 },
    ]);
    expect(group.keys.seals).toBe(2);
  });

  it('lets nothing else pass before it is known', async () => {
    const group = await leader();
    cluster.faultNextAppend(a, 'ambiguousLost');
    const first = group.propose('k=one');
    await settle();
    const second = group.propose('k=two');
    await settle();
    expect(cluster.log(0)).toHaveLength(0);
    expect([await first, await second]).toEqual([
      { index: 1n, position: 0 },
      { index: 2n, position: 1 },
    ]);
  });

  it('is answered as done by a leader of the past whose entry stands', async () => {
    const group = await leader();
    cluster.faultNextAppend(a, 'ambiguousLanded');
    const proposal = group.propose('k=one');
    await settle();
    cluster.depose(0);
    expect(await proposal).toEqual({ index: 1n, position: 0 });
    expect(cluster.log(0)).toHaveLength(1);
  });

  it('is refused by a leader of the past whose place another entry has', async () => {
    const group = await leader();
    const other = await rival();
    cluster.faultNextAppend(a, 'ambiguousLost');
    const proposal = group.propose('k=mine');
    await settle();
    cluster.elect(b);
    await until(() => other.group.state === 'leading');
    await other.propose('k=theirs');
    expect(await proposal).toBe(NOT_LEADER);
    await until(() => group.group.appliedIndex === 1n);
    expect(group.lists).toEqual({ k: ['theirs'] });
  });

  it('is not taken for the same bytes that another leader put there', async () => {
    const clock = (): number => 1000;
    const group = await leader({ clock });
    const other = await rival({ clock });
    cluster.faultNextAppend(a, 'ambiguousLost');
    const mine = group.propose('k=same');
    await settle();
    cluster.elect(b);
    await until(() => other.group.state === 'leading');
    expect(await other.propose('k=same')).toEqual({ index: 1n, position: 0 });
    expect(await mine).toBe(NOT_LEADER);
    expect(cluster.log(0)).toHaveLength(1);
  });

  it('is settled once contact with the log is back', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const group = await leader({}, { seed });
      const proposal = group.propose('k=one');
      await new Promise((resolve) => setImmediate(resolve));
      cluster.partition('a');
      await settle();
      cluster.heal('a');
      const landed = cluster.log(0).length === 1;
      expect(await proposal).toEqual(landed ? { index: 1n, position: 0 } : NOT_LEADER);
      await group.group.stop();
    }
  });
});

describe('a failed flush', () => {
  it('halts the shard: what was under way may be in the log, what waited is not', async () => {
    const group = await leader({ batchCommandsMax: 1 });
    cluster.faultNextAppend(a, 'flushFailed');
    const replies = await Promise.all(['k=1', 'k=2'].map((text) => group.propose(text)));
    expect(replies).toEqual([
      'RAFTSEAL_SHARD_GROUP_OUTCOME_UNKNOWN',
      'RAFTSEAL_SHARD_GROUP_HALTED',
    ]);
    expect(group.group.state).toBe('halted');
    expect(group.halts.map(({ code }) => code)).toEqual(['RAFTSEAL_ENGINE_FLUSH_FAILED']);
    expect(cluster.leader(0)).toBeUndefined();
  });
});

describe('timestamps', () => {
  it('never go back, whatever the clock does, with several in flight', async () => {
    const readings = [900, 500, 1000, 10, 20, 1001];
    const group = await leader(
      { appendsInFlightMax: 3, batchCommandsMax: 1, clock: () => readings.shift() ?? 0 },
      { appendsInFlightMax: 3 },
    );
    await Promise.all(readings.map(() => group.propose('k=v')));
    const stamps = group.machine.batches.map(({ timestampMs }) => timestampMs);
    expect(stamps).toEqual([900, 900, 1000, 1000, 1000, 1001]);
  });

  it('never go back at a new leader with a clock behind', async () => {
    const group = await leader({ clock: () => 5000 });
    const other = await rival({ clock: () => 3000 });
    await group.propose('k=one');
    cluster.elect(b);
    await until(() => other.group.state === 'leading');
    await other.propose('k=two');
    expect(other.machine.batches.map(({ timestampMs }) => timestampMs)).toEqual([5000, 5000]);
  });
});

describe('a seal that is refused', () => {
  const refusal = new RaftsealError('RAFTSEAL_NODE_WRITER_NOT_REGISTERED', 'not yet');

  it('PROP-04, WRAP-13: fails its own batch and leaves the index to the next', async () => {
    const group = await leader({ batchCommandsMax: 2 });
    await group.cutOver();
    group.keys.sealError = refusal;
    const refused = await Promise.all(['k=1', 'k=2', 'k=3'].map((text) => group.propose(text)));
    expect(refused).toEqual([refusal.code, refusal.code, refusal.code]);
    group.keys.sealError = undefined;
    expect(await group.propose('k=4')).toEqual({ index: 2n, position: 0 });
    expect([group.group.state, tagsOf(cluster)]).toEqual(['leading', 'CS']);
  });

  it('fails a key-lifecycle entry too', async () => {
    const group = await leader();
    await group.cutOver();
    group.keys.sealError = refusal;
    expect(await refusalOf(group.proposeKeys('rotate 8'))).toBe(refusal.code);
  });

  it('answers a long queue of batches without running out of stack', async () => {
    const group = await leader({ batchCommandsMax: 1, batchBytesMax: 32 });
    await group.cutOver();
    group.keys.sealError = refusal;
    const all = Array.from({ length: 20_000 }, () => group.propose('k=v'));
    expect(new Set(await Promise.all(all))).toEqual(new Set([refusal.code]));
  });

  it('is coded where the wrap throws anything else', async () => {
    const group = await leader();
    await group.cutOver();
    group.keys.sealError = new Error('a bug');
    expect(await group.propose('k=v')).toBe('RAFTSEAL_SHARD_GROUP_APPLY_FAILED');
    expect(group.group.state).toBe('leading');
  });
});

describe('the limits of the engine', () => {
  const payloadBytesMax = 1000;
  const TOO_LARGE = 'RAFTSEAL_SHARD_GROUP_COMMAND_TOO_LARGE';
  const largest = payloadBytesMax - 1 - 13 - 4 - 64;

  it('HAZARD invariant 11: bound what a batch gathers, whatever size was asked for', async () => {
    for (const sealed of [false, true]) {
      const group = await leader({}, { payloadBytesMax });
      if (sealed) await group.cutOver();
      const value = 'v'.repeat(90);
      const replies = await Promise.all(
        Array.from({ length: 100 }, () => group.propose(`k=${value}`)),
      );
      expect(replies.filter((reply) => typeof reply === 'string')).toEqual([]);
      expect(cluster.log(0).every(({ payload }) => payload.length <= payloadBytesMax)).toBe(true);
    }
  });

  it('refuse a command that fits no entry, before anything happens, and take the largest', async () => {
    for (const sealed of [false, true]) {
      const group = await leader({}, { payloadBytesMax });
      if (sealed) await group.cutOver();
      const before = cluster.log(0).length;
      expect(await group.propose('k'.repeat(largest + 1))).toBe(TOO_LARGE);
      expect(await group.propose('k'.repeat(largest))).toMatchObject({ position: 0 });
      expect(cluster.log(0)).toHaveLength(before + 1);
      expect(cluster.log(0).at(-1)?.payload[0]).toBe(sealed ? TAG_SEALED : TAG_CLEARTEXT);
    }
  });

  it('let a command above the size of a batch travel alone', async () => {
    const group = await leader({ batchBytesMax: 64 });
    const large = `k=${'v'.repeat(500)}`;
    await Promise.all(['k=1', large, 'k=2', 'k=3'].map((text) => group.propose(text)));
    expect(commandsOf(group)).toEqual([['k=1'], [large], ['k=2', 'k=3']]);
  });

  it('HAZARD invariant 11: refuse a key-lifecycle entry and a marker that do not fit', async () => {
    const group = await leader({}, { payloadBytesMax });
    expect(await refusalOf(group.proposeKeys('x'.repeat(payloadBytesMax)))).toBe(TOO_LARGE);
    expect(await refusalOf(group.cutOver('x'.repeat(payloadBytesMax)))).toBe(TOO_LARGE);
    expect([group.group.state, cluster.log(0).length]).toEqual(['leading', 0]);
    expect(await group.propose('k=v')).toEqual({ index: 1n, position: 0 });
  });

  it('alone bound a command: an empty queue takes one that is above its own bound', async () => {
    const group = await leader({ queueBytesMax: 100 });
    const [large, next] = [group.propose('k'.repeat(200)), group.propose('k')];
    expect(await next).toBe('RAFTSEAL_SHARD_GROUP_OVERLOADED');
    expect(await large).toMatchObject({ position: 0 });
  });
});
