/** Rotations that nobody asks for, over real keys, logs that are simulated, and clocks of a test. */
import { join } from 'node:path';
import { CONTROL_SHARD, type KekProvider, type KeyState, RaftsealError } from '@raftseal/interface';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { KekSet } from '../src/kek-set.ts';
import { KeyRotation } from '../src/key-rotation.ts';
import { type RotationPolicy, SEALS_ROTATED } from '../src/rotation-policy.ts';
import { RESERVED_SEALS } from '../src/seal-ledger.ts';
import { openWriterRegistry } from '../src/writer-registry-store.ts';
import {
  type KeyNode,
  type KeyNodeOptions,
  leadingKeyNode,
  newCluster,
  newKek,
  openKeyNode,
  propose,
  until,
} from './key-world.ts';

type World = Pick<KeyNodeOptions, 'cluster' | 'shardIds'>;

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const SEALS_MAX = 2n ** 32n;
const purposes = ['storage', 'raft', 'index'] as const;

function newWorld(shardCount = 2, nodes: readonly string[] = ['a']): World {
  const shardIds = Array.from({ length: shardCount }, (_, shardId) => shardId);
  return { cluster: newCluster(nodes, shardIds), shardIds };
}

/** A clock that is set, and one that is not, of which a test says how they go. */
class Clocks {
  /** Milliseconds since the Unix epoch. */
  wallMs = Date.now();
  monotonicMs = 0;

  pass(ms: number): void {
    this.wallMs += ms;
    this.monotonicMs += ms;
  }
}

interface Rotating {
  readonly rotation: KeyRotation;
  readonly log: readonly { readonly code?: string; readonly level: number }[];
}

function rotating(node: KeyNode, policy: RotationPolicy, clocks = new Clocks()): Rotating {
  const log: { level: number }[] = [];
  const write = (line: string): unknown => log.push(JSON.parse(line) as { level: number });
  const rotation = new KeyRotation({
    keys: node.keys,
    operations: node.operations,
    policy,
    leads: () => node.groups[CONTROL_SHARD]?.isReadable === true,
    clock: () => clocks.wallMs,
    monotonicClock: () => clocks.monotonicMs,
    log: pino({ base: null }, { write }),
  });
  onTestFinished(() => rotation.stop());
  return { rotation, log };
}

async function sealedNode(world: World, options: Partial<KeyNodeOptions> = {}): Promise<KeyNode> {
  const node = await leadingKeyNode({ ...world, ...options });
  await node.operations.enableEncryption();
  await until(() => node.groups.every(({ wrap }) => wrap.kind === 'sealed'));
  return node;
}

function countOf({ keys }: KeyState): Record<string, number> {
  const counts: Record<string, number> = { storage: 0, raft: 0, index: 0 };
  for (const { purpose } of keys.values()) counts[purpose] = (counts[purpose] ?? 0) + 1;
  return counts;
}

/** Every shard of the node seals, under the active raft DEK. */
async function expectSealing(node: KeyNode): Promise<void> {
  const { raft } = node.keys.state.activeDekId;
  for (const group of node.groups) {
    expect(group.wrap).toMatchObject({ dekId: raft });
    expect(await propose(group, 'after')).toBe('after');
  }
}

describe('a rotation that nobody asked for', () => {
  it('AROT-15: comes with the seals of the key, once, and is followed by one after an hour', async () => {
    const node = await sealedNode(newWorld());
    const clocks = new Clocks();
    const { rotation } = rotating(node, { afterDays: 0, afterSeals: 20n }, clocks);
    await rotation.consider();
    expect(countOf(node.keys.state)).toEqual({ storage: 1, raft: 1, index: 1 });
    expect(rotation.next('raft')).toBeUndefined();
    for (let i = 0; i < 20; i++) await propose(node.groups[1], `${i}`);
    expect(rotation.next('raft')).toEqual({ cause: 'seals', atMs: undefined, heldUpBy: undefined });
    await rotation.consider();
    expect(countOf(node.keys.state)).toEqual({ storage: 1, raft: 2, index: 1 });
    await expectSealing(node);
    for (let i = 0; i < 40; i++) await propose(node.groups[1], `${i}`);
    await rotation.consider();
    clocks.pass(HOUR_MS - 1);
    await rotation.consider();
    expect(countOf(node.keys.state)).toEqual({ storage: 1, raft: 2, index: 1 });
    clocks.pass(1);
    await rotation.consider();
    expect(countOf(node.keys.state)).toEqual({ storage: 1, raft: 3, index: 1 });
    await expectSealing(node);
  });

  it('AROT-15: comes with the age of a key, of each purpose', async () => {
    const node = await sealedNode(newWorld());
    const clocks = new Clocks();
    const { rotation } = rotating(node, { afterDays: 90 }, clocks);
    const name = node.keys.rowSeal.rowKey(1, Buffer.from('user:1'));
    clocks.pass(89 * DAY_MS);
    await rotation.consider();
    expect(countOf(node.keys.state)).toEqual({ storage: 1, raft: 1, index: 1 });
    for (const purpose of purposes) expect(rotation.next(purpose)).toMatchObject({ cause: 'age' });
    clocks.pass(DAY_MS);
    await rotation.consider();
    await rotation.consider();
    expect(countOf(node.keys.state)).toEqual({ storage: 2, raft: 2, index: 2 });
    expect(node.keys.rowSeal.rowKey(1, Buffer.from('user:1'))).toEqual(name);
    await expectSealing(node);
  });

  it('comes where a process of any node is near its last nonce epoch', async () => {
    const node = await sealedNode(newWorld());
    const { raft } = node.keys.state.activeDekId;
    await node.operations.recordRegistration({ nodeId: 'b', dekId: raft, epoch: 0xfeff });
    const { rotation } = rotating(node, { afterDays: 0 });
    await rotation.consider();
    expect(countOf(node.keys.state)).toEqual({ storage: 1, raft: 1, index: 1 });
    await node.operations.recordRegistration({ nodeId: 'b', dekId: raft, epoch: 0xff00 });
    await rotation.consider();
    await rotation.consider();
    expect(countOf(node.keys.state)).toEqual({ storage: 1, raft: 2, index: 1 });
  });

  it('does not come from a node that does not lead the control shard', async () => {
    const world = newWorld(1, ['a', 'b']);
    const keks = KekSet.of(await newKek());
    const follower = await openKeyNode({ ...world, keks, nodeId: 'b' });
    await sealedNode(world, { keks, otherMembers: ['b'] });
    await until(() => follower.keys.state.cutoverIndex.size === 1);
    const { rotation } = rotating(follower, { afterDays: 0, afterSeals: 0n });
    await rotation.consider();
    expect(countOf(follower.keys.state)).toEqual({ storage: 1, raft: 1, index: 1 });
    expect(rotation.next('raft')).toMatchObject({ cause: 'seals', heldUpBy: undefined });
  });

  it('is one for one cause, however many ask at once', async () => {
    const node = await sealedNode(newWorld());
    const { raft } = node.keys.state.activeDekId;
    const due = { sinceMs: 0, isStill: () => node.keys.state.activeDekId.raft === raft };
    const asked = Array.from({ length: 4 }, () => node.operations.rotateIf('raft', due));
    const made = (await Promise.all(asked)).filter((dekId) => dekId !== undefined);
    expect(made).toEqual([node.keys.state.activeDekId.raft]);
    expect(countOf(node.keys.state).raft).toBe(2);
  });
});

describe('a rotation of all keys made before a time', () => {
  const stops = [
    ['while the first new key is wrapped', -1],
    ['once one key is rotated', 1],
    ['once two keys are rotated', 2],
    ['once all are', 3],
  ] as const;

  it.each(stops)(
    'HAZARD AROT-14: is one per cluster though its leader ends %s',
    async (_, rotations) => {
      const world = newWorld(2, ['a', 'b']);
      const kek = await newKek();
      const ending: { now?: () => void } = {};
      const watched: KekProvider = {
        kekUri: kek.kekUri,
        wrapKey: async (dek, binding) => {
          if (rotations < 0) ending.now?.();
          return kek.wrapKey(dek, binding);
        },
        unwrapKey: (wrapped, binding) => kek.unwrapKey(wrapped, binding),
        close: () => kek.close(),
      };
      const follower = await openKeyNode({ ...world, keks: KekSet.of(kek), nodeId: 'b' });
      const leader = await sealedNode(world, { keks: KekSet.of(watched), otherMembers: ['b'] });
      await until(() => follower.keys.state.cutoverIndex.size === 2);
      let ended: Promise<void> | undefined;
      ending.now = () => {
        ended ??= leader.stop();
      };
      leader.keys.lifecycle.onChange(({ keys }) => {
        if (keys.size === 3 + rotations) ending.now?.();
      });
      const clocks = new Clocks();
      clocks.pass(1);
      const policy = { afterDays: 0, madeBeforeMs: clocks.wallMs };
      clocks.pass(1);
      await rotating(leader, policy, clocks).rotation.consider();
      await ended;
      follower.campaign();
      await until(() => follower.groups.every(({ state }) => state === 'leading'));
      clocks.wallMs = Date.now() + 10;
      const { rotation } = rotating(follower, policy, clocks);
      for (let look = 0; look < 3; look++) await rotation.consider();
      expect(countOf(follower.keys.state)).toEqual({ storage: 2, raft: 2, index: 2 });
      for (const purpose of purposes) expect(rotation.next(purpose)).toBeUndefined();
      await expectSealing(follower);
    },
  );
});

describe('clocks that are wrong', () => {
  it('AROT-15: cause one rotation of a purpose in an hour at most', async () => {
    const node = await sealedNode(newWorld(1));
    const clocks = new Clocks();
    const { rotation } = rotating(node, { afterDays: 90, madeBeforeMs: clocks.wallMs }, clocks);
    const start = clocks.wallMs;
    const jumps = [100, -50, 400, 0, 1_000, -1_000];
    for (let minute = 0; minute < 180; minute++) {
      clocks.monotonicMs += 60_000;
      clocks.wallMs = start + (jumps[minute % jumps.length] ?? 0) * DAY_MS;
      await rotation.consider();
    }
    const { storage = 0, raft = 0, index = 0 } = countOf(node.keys.state);
    for (const count of [storage, raft, index]) {
      expect(count).toBeGreaterThan(1);
      expect(count).toBeLessThanOrEqual(1 + 3);
    }
    await expectSealing(node);
  });
});

describe('a KEK that is out of reach', () => {
  function flaky(kek: KekProvider): { readonly provider: KekProvider; isAway: boolean } {
    const state = {
      isAway: false,
      provider: {
        kekUri: kek.kekUri,
        wrapKey: async (dek: Uint8Array, binding: Parameters<KekProvider['wrapKey']>[1]) => {
          if (state.isAway) throw new RaftsealError('RAFTSEAL_KEK_UNAVAILABLE', 'not now');
          return kek.wrapKey(dek, binding);
        },
        unwrapKey: (...call: Parameters<KekProvider['unwrapKey']>) => kek.unwrapKey(...call),
        close: () => kek.close(),
      },
    };
    return state;
  }

  it('holds a rotation up, says so, and the old key is used until it is back', async () => {
    const kek = flaky(await newKek());
    const node = await sealedNode(newWorld(), { keks: KekSet.of(kek.provider) });
    const clocks = new Clocks();
    const { rotation, log } = rotating(node, { afterDays: 1 }, clocks);
    const { activeDekId } = node.keys.state;
    clocks.pass(DAY_MS);
    kek.isAway = true;
    for (let look = 0; look < 5; look++) {
      await rotation.consider();
      clocks.pass(1_000);
    }
    const heldUpBy = 'RAFTSEAL_KEK_UNAVAILABLE';
    for (const purpose of purposes) {
      expect(rotation.next(purpose)).toEqual({ cause: 'age', atMs: undefined, heldUpBy });
    }
    expect(log.filter(({ code }) => code === heldUpBy)).toHaveLength(3);
    expect(node.keys.state.activeDekId).toEqual(activeDekId);
    await expectSealing(node);
    kek.isAway = false;
    await rotation.consider();
    expect(node.keys.state.activeDekId).toEqual(activeDekId);
    clocks.pass(15_000);
    await rotation.consider();
    expect(countOf(node.keys.state)).toEqual({ storage: 2, raft: 2, index: 2 });
    expect(rotation.next('raft')).toMatchObject({ cause: 'age', heldUpBy: undefined });
  });

  it('keeps no registration waiting while a rotation waits for it', async () => {
    const kek = await newKek();
    const waiting: (() => void)[] = [];
    let isSlow = false;
    const slow: KekProvider = {
      kekUri: kek.kekUri,
      wrapKey: async (dek, binding) => {
        if (isSlow) await new Promise<void>((resolve) => waiting.push(resolve));
        return kek.wrapKey(dek, binding);
      },
      unwrapKey: (wrapped, binding) => kek.unwrapKey(wrapped, binding),
      close: () => kek.close(),
    };
    const node = await sealedNode(newWorld(1), { keks: KekSet.of(slow) });
    const { raft } = node.keys.state.activeDekId;
    isSlow = true;
    const { rotation } = rotating(node, { afterDays: 0, afterSeals: 0n });
    const considered = rotation.consider();
    await until(() => waiting.length > 0);
    await node.operations.recordRegistration({ nodeId: 'b', dekId: raft, epoch: 1 });
    expect([...node.keys.state.writers.values()]).toContain('b');
    isSlow = false;
    for (const go of waiting) go();
    await considered;
    expect(countOf(node.keys.state)).toEqual({ storage: 2, raft: 2, index: 2 });
  });
});

describe('a raft key that is used up', () => {
  /** Starts the node again as one that has sealed so often under its raft key. */
  async function withSeals(node: KeyNode, world: World, seals: bigint): Promise<KeyNode> {
    await node.stop();
    const registry = openWriterRegistry(join(node.directory, 'writers'));
    await registry.putSealCounts(new Map([[node.keys.state.activeDekId.raft, seals]]));
    await registry.close();
    const { directory, keys } = node;
    const next = await leadingKeyNode({ ...world, directory, keks: keys.keks });
    await next.operations.registerWriter();
    return next;
  }

  it('AROT-15: seals its own rotation, and nothing else', async () => {
    const world = newWorld();
    const node = await withSeals(await sealedNode(world), world, SEALS_MAX - RESERVED_SEALS - 4n);
    const replies: string[] = [];
    for (let i = 0; i < 8; i++) replies.push(await propose(node.groups[1], `${i}`));
    expect(replies.filter((reply) => reply === 'RAFTSEAL_ENVELOPE_NONCES_EXHAUSTED')).not.toEqual(
      [],
    );
    expect(node.groups.every(({ state }) => state === 'leading')).toBe(true);
    const { rotation } = rotating(node, { afterDays: 0 });
    await rotation.consider();
    expect(countOf(node.keys.state)).toEqual({ storage: 1, raft: 2, index: 1 });
    await expectSealing(node);
  });

  it('AROT-15: is warned of once half of it is used', async () => {
    const world = newWorld();
    const node = await withSeals(await sealedNode(world), world, SEALS_MAX / 2n);
    const { rotation, log } = rotating(node, { afterDays: 0 });
    for (let look = 0; look < 3; look++) await rotation.consider();
    expect(log.map(({ level }) => level)).toEqual([40]);
    expect(rotation.next('raft')).toBeUndefined();
  });

  it('AROT-15: is rotated within the hour of another rotation, if this node alone uses it up', async () => {
    const world = newWorld();
    const node = await sealedNode(world);
    await node.operations.rotate('raft');
    const next = await withSeals(node, world, SEALS_ROTATED - 5n);
    const { rotation } = rotating(next, { afterDays: 0 });
    await rotation.consider();
    await next.operations.rotate('storage');
    await rotation.consider();
    expect(countOf(next.keys.state)).toEqual({ storage: 2, raft: 2, index: 1 });
    for (let i = 0; i < 5; i++) await propose(next.groups[1], `${i}`);
    await rotation.consider();
    expect(countOf(next.keys.state)).toEqual({ storage: 2, raft: 3, index: 1 });
    await expectSealing(next);
  });
});

describe('rotations while entries are under way', () => {
  it('moby/swarmkit#1766: leave every entry open to the next process', async () => {
    const world = newWorld(3);
    const node = await sealedNode(world);
    const { rotation } = rotating(node, { afterDays: 0, afterSeals: 0n });
    const writes = Array.from({ length: 300 }, (_, i) => propose(node.groups[i % 3], `write ${i}`));
    const considered = rotation.consider();
    const more = Array.from({ length: 300 }, (_, i) => propose(node.groups[i % 3], `more ${i}`));
    expect(await Promise.all(writes)).toEqual(writes.map((_, i) => `write ${i}`));
    expect(await Promise.all(more)).toEqual(more.map((_, i) => `more ${i}`));
    await considered;
    expect(countOf(node.keys.state)).toEqual({ storage: 2, raft: 2, index: 2 });
    await node.stop();
    const { directory, keys } = node;
    const next = await leadingKeyNode({ ...world, directory, keks: keys.keks });
    await next.operations.registerWriter();
    await expectSealing(next);
  });
});
