import { decodeEntry, initialKeyState } from '@raftseal/applier';
import { type KeyState, RaftsealError } from '@raftseal/interface';
import {
  cleartext,
  type RaftPayloadWrap,
  type ShardGroupState,
  sealed,
} from '@raftseal/shard-group';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CutoverCoordinator, type CutoverGroup, dueShards } from '../src/cutover-coordinator.ts';
import { KekSet } from '../src/kek-set.ts';
import { leadingKeyNode, newCluster, newKek, openKeyNode, tagsOf, until } from './key-world.ts';

const RAFT_DEK_ID = 42;

const someWrap = sealed({
  cutoverIndex: 1n,
  dekId: RAFT_DEK_ID,
  seal: () => Buffer.alloc(0),
  open: () => Buffer.alloc(0),
});

/** A group whose cutovers end when and as the test says. */
class ScriptedGroup implements CutoverGroup {
  readonly shardId: number;
  state: ShardGroupState = 'leading';
  wrap: RaftPayloadWrap = cleartext;
  readonly markers: Uint8Array[] = [];
  #pending: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = [];

  constructor(shardId: number) {
    this.shardId = shardId;
  }

  cutOver(marker: Uint8Array): Promise<void> {
    this.markers.push(marker);
    return new Promise((resolve, reject) => this.#pending.push({ resolve, reject }));
  }

  /** The marker was applied, and its wrap installed. */
  async succeed(): Promise<void> {
    this.wrap = someWrap;
    await this.passAsNoOp();
  }

  /** The marker was applied, and did nothing: a rotation had overtaken it. */
  async passAsNoOp(): Promise<void> {
    this.#pending.shift()?.resolve();
    await settled();
  }

  async fail(error: unknown): Promise<void> {
    this.#pending.shift()?.reject(error);
    await settled();
  }
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
}

function world(shardIds: readonly number[], waves: readonly (readonly number[])[] = [shardIds]) {
  const groups = shardIds.map((shardId) => new ScriptedGroup(shardId));
  const failures: string[] = [];
  const base: KeyState = {
    ...initialKeyState('a'),
    activeDekId: { storage: 1, raft: RAFT_DEK_ID, index: 3 },
    appliedIndex: new Map([[0, 7n]]),
    cutoverIntent: { controlIndex: 7n, waves },
    cutoverIndex: new Map([[0, 7n]]),
  };
  const keys = { state: base };
  const coordinator = new CutoverCoordinator({
    groups,
    keyState: () => keys.state,
    onFailure: (shardId, error) => failures.push(`${shardId}: ${(error as Error).message}`),
  });
  const group = (shardId: number): ScriptedGroup => {
    const found = groups.find((candidate) => candidate.shardId === shardId);
    if (!found) throw new Error(`shard ${shardId} exists`);
    return found;
  };
  /** What apply of the marker does to the key state, and the group to its caller. */
  const cutOver = async (shardId: number): Promise<void> => {
    const cutoverIndex = new Map(keys.state.cutoverIndex).set(shardId, 1n);
    keys.state = { ...keys.state, cutoverIndex };
    await group(shardId).succeed();
  };
  const asked = (): readonly number[] => groups.map(({ markers }) => markers.length);
  return { groups, group, keys, coordinator, failures, cutOver, asked };
}

const unknownOutcome = new RaftsealError('RAFTSEAL_SHARD_GROUP_OUTCOME_UNKNOWN', 'who knows');
const notLeader = new RaftsealError('RAFTSEAL_SHARD_GROUP_NOT_LEADER', 'another one leads');

describe('the shards that are due', () => {
  it('are those of the first wave that is not complete', () => {
    const waves = [[1], [2, 3], [4]];
    const after = (...done: number[]): readonly number[] => [
      ...dueShards(waves, new Map(done.map((shardId) => [shardId, 1n]))),
    ];
    expect(after()).toEqual([1]);
    expect(after(2, 3, 4)).toEqual([1]);
    expect(after(1)).toEqual([2, 3]);
    expect(after(1, 3)).toEqual([2]);
    expect(after(1, 2, 3)).toEqual([4]);
    expect(after(1, 2, 3, 4)).toEqual([]);
    expect([...dueShards([], new Map())]).toEqual([]);
  });
});

describe('a cutover coordinator', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
  afterEach(() => void vi.useRealTimers());

  it('does nothing before there is a request', () => {
    const { coordinator, keys, asked } = world([1, 2]);
    keys.state = { ...keys.state, cutoverIntent: undefined };
    coordinator.consider();
    expect(asked()).toEqual([0, 0]);
  });

  it('proposes a marker that names the active raft key and how far the control shard is', () => {
    const { coordinator, group } = world([1]);
    coordinator.consider();
    expect(decodeEntry(group(1).markers[0] ?? new Uint8Array())).toEqual({
      kind: 'enable-raft',
      dekId: RAFT_DEK_ID,
      controlIndex: 7n,
    });
  });

  it('asks each shard once, however often it considers', () => {
    const { coordinator, asked } = world([1, 2]);
    for (let time = 0; time < 5; time++) coordinator.consider();
    expect(asked()).toEqual([1, 1]);
  });

  it('leaves alone what it does not lead, what is sealed and what is not due', () => {
    const { coordinator, group, asked } = world([1, 2, 3, 4], [[1, 2, 3], [4]]);
    group(1).state = 'follower';
    group(2).wrap = someWrap;
    coordinator.consider();
    expect(asked()).toEqual([0, 0, 1, 0]);
    for (const state of ['catchingUp', 'gated', 'halted', 'stopped'] as const) {
      group(1).state = state;
      coordinator.consider();
    }
    expect(asked()).toEqual([0, 0, 1, 0]);
    group(1).state = 'leading';
    coordinator.consider();
    expect(asked()).toEqual([1, 0, 1, 0]);
  });

  it('begins a wave when the one before is complete, without being told', async () => {
    const { coordinator, cutOver, asked } = world([1, 2, 3], [[1, 2], [3]]);
    coordinator.consider();
    await cutOver(2);
    expect(asked()).toEqual([1, 1, 0]);
    await cutOver(1);
    expect(asked()).toEqual([1, 1, 1]);
  });

  it('proposes again, with the new key, where a rotation overtook the marker', async () => {
    const { coordinator, group, keys } = world([1]);
    coordinator.consider();
    keys.state = { ...keys.state, activeDekId: { ...keys.state.activeDekId, raft: 43 } };
    await group(1).passAsNoOp();
    expect(group(1).markers).toHaveLength(2);
    expect(decodeEntry(group(1).markers[1] ?? new Uint8Array())).toMatchObject({ dekId: 43 });
  });

  it('tries again after a pause where the marker failed and nothing else changes', async () => {
    const { coordinator, group, failures, asked } = world([1, 2]);
    coordinator.consider();
    await group(1).fail(unknownOutcome);
    expect(failures).toEqual(['1: who knows']);
    coordinator.consider();
    expect(asked()).toEqual([1, 1]);
    await vi.advanceTimersByTimeAsync(249);
    expect(asked()).toEqual([1, 1]);
    await vi.advanceTimersByTimeAsync(1);
    expect(asked()).toEqual([2, 1]);
    await group(1).fail(new Error('again'));
    await vi.advanceTimersByTimeAsync(250);
    expect(asked()).toEqual([3, 1]);
  });

  it('waits for the next change of state where leadership was lost', async () => {
    const { coordinator, group, failures, asked } = world([1]);
    coordinator.consider();
    group(1).state = 'follower';
    await group(1).fail(notLeader);
    expect(failures).toEqual(['1: another one leads']);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked()).toEqual([1]);
    group(1).state = 'leading';
    coordinator.consider();
    expect(asked()).toEqual([2]);
  });

  it('makes one shard wait for none of the others', async () => {
    const { coordinator, group, cutOver, asked } = world([1, 2]);
    coordinator.consider();
    await group(1).fail(unknownOutcome);
    await cutOver(2);
    await vi.advanceTimersByTimeAsync(250);
    expect(asked()).toEqual([2, 1]);
  });

  it('does nothing more once it is stopped', async () => {
    const { coordinator, group, cutOver, asked } = world([1, 2, 3], [[1, 2], [3]]);
    coordinator.consider();
    await group(1).fail(unknownOutcome);
    coordinator.stop();
    await cutOver(2);
    coordinator.consider();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked()).toEqual([1, 1, 0]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('leaves no timer where a marker fails after it was stopped', async () => {
    const { coordinator, group } = world([1]);
    coordinator.consider();
    coordinator.stop();
    await group(1).fail(unknownOutcome);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a cutover over real shard groups', () => {
  it('invariant 12: is finished by whoever leads next', async () => {
    const shards = [0, 1, 2];
    const cluster = newCluster(['a', 'b'], shards);
    const keks = KekSet.of(await newKek());
    const a = await leadingKeyNode({ cluster, shardIds: shards, keks });
    const b = await openKeyNode({ cluster, shardIds: shards, nodeId: 'b', keks });
    // Whatever a leads never gets its marker: a leads the request, and is gone.
    a.coordinator.stop();
    await a.operations.enableEncryption([[2], [1]]);
    await until(() => b.keys.state.cutoverIntent !== undefined);
    expect(shards.map((shardId) => tagsOf(cluster, shardId))).toEqual(['CCC', '', '']);
    b.campaign();
    await a.stop();
    await until(() => b.groups.every(({ wrap }) => wrap.kind === 'sealed'));
    expect(shards.map((shardId) => tagsOf(cluster, shardId))).toEqual(['CCC', 'C', 'C']);
    expect(b.failures).toEqual([]);
  });

  it('puts no second marker where the leaders of a shard change in the middle of it', async () => {
    const shards = [0, 1];
    for (const fault of ['ambiguousLanded', 'ambiguousLost'] as const) {
      const cluster = newCluster(['a', 'b'], shards);
      const keks = KekSet.of(await newKek());
      const a = await leadingKeyNode({ cluster, shardIds: shards, keks });
      const b = await openKeyNode({ cluster, shardIds: shards, nodeId: 'b', keks });
      b.campaign();
      cluster.faultNextAppend({ nodeId: 'a', shardId: 1 }, fault);
      await a.operations.enableEncryption();
      cluster.elect({ nodeId: 'b', shardId: 1 });
      const sealedOn = (node: typeof a): boolean =>
        node.groups.every(({ wrap }) => wrap.kind === 'sealed');
      await until(() => sealedOn(a) && sealedOn(b));
      expect(tagsOf(cluster, 1)).toBe('C');
      expect(a.keys.state.cutoverIndex).toEqual(b.keys.state.cutoverIndex);
      expect(cluster.leader(1)?.nodeId).toBe('b');
    }
  });
});
