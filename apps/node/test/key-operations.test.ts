import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Precheck, precheck } from '@raftseal/applier';
import { type KekProvider, type KeyState, RaftsealError } from '@raftseal/interface';
import { inspectSidecar, SIDECAR_FILE_NAME, type SidecarInspection } from '@raftseal/sidecar';
import { describe, expect, it } from 'vitest';
import { KekSet } from '../src/kek-set.ts';
import {
  type KeyNode,
  type KeyNodeOptions,
  leadingKeyNode,
  newCluster,
  newKek,
  openKeyNode,
  propose,
  tagsOf,
  until,
} from './key-world.ts';
import { temporaryDirectory } from './temporary-directory.ts';

type World = Pick<KeyNodeOptions, 'cluster' | 'shardIds'>;

function newWorld(shardCount = 1, nodes: readonly string[] = ['a']): World {
  const shardIds = Array.from({ length: shardCount }, (_, shardId) => shardId);
  return { cluster: newCluster(nodes, shardIds), shardIds };
}

async function sidecarOf({ directory }: KeyNode): Promise<SidecarInspection> {
  return inspectSidecar(await readFile(join(directory, SIDECAR_FILE_NAME)));
}

function dekIdsOf({ keys }: KeyState, purpose: string): number[] {
  return [...keys].filter(([, key]) => key.purpose === purpose).map(([dekId]) => dekId);
}

/** Ends a process, and starts the next one of the same node. */
async function restarted(node: KeyNode, world: World): Promise<KeyNode> {
  await node.stop();
  const { directory, keys } = node;
  return await leadingKeyNode({ ...world, directory, keks: keys.keks });
}

/** Ids of the shards in the order in which they are cut over. */
async function sealedOrder(node: KeyNode): Promise<number[]> {
  const order: number[] = [];
  node.keys.lifecycle.onChange(({ cutoverIndex }) => {
    for (const shardId of cutoverIndex.keys()) if (!order.includes(shardId)) order.push(shardId);
  });
  await until(() => node.groups.every(({ wrap }) => wrap.kind === 'sealed'));
  return order;
}

describe('enabling encryption', () => {
  it('makes three keys, turns value sealing on, and cuts the control shard over', async () => {
    const world = newWorld();
    const node = await leadingKeyNode(world);
    await node.operations.enableEncryption();
    const { state } = node.keys;
    expect([...state.keys.values()].map(({ purpose }) => purpose)).toEqual([
      'storage',
      'raft',
      'index',
    ]);
    expect(Object.values(state.activeDekId)).toEqual([...state.keys.keys()]);
    expect(state.clusterId).toHaveLength(16);
    expect(state.storageIndex).toBe(2n);
    expect(state.cutoverIndex).toEqual(new Map([[0, 3n]]));
    expect(tagsOf(world.cluster, 0)).toBe('CCC');
    expect(await propose(node.groups[0], 'hello')).toBe('hello');
    expect(tagsOf(world.cluster, 0)).toBe('CCCS');
    const { payload = [] } = world.cluster.log(0)[3] ?? {};
    expect(Buffer.from(payload).includes('hello')).toBe(false);
  });

  it('is in the sidecar by the time it resolves', async () => {
    const node = await leadingKeyNode(newWorld());
    await node.operations.enableEncryption();
    const { activeDekId, cutoverIndex, storageIndex } = await sidecarOf(node);
    expect(activeDekId).toEqual(node.keys.state.activeDekId);
    expect({ cutoverIndex, storageIndex }).toEqual({ cutoverIndex: { 0: '3' }, storageIndex: '2' });
  });

  it('registers this process under both keys that seal, without a registration entry', async () => {
    const node = await leadingKeyNode(newWorld());
    await node.operations.enableEncryption();
    const { storage, raft } = node.keys.state.activeDekId;
    for (const dekId of [storage, raft]) {
      expect(node.keys.lifecycle.isRegistered(dekId)).toBe(true);
      expect(node.keys.registry.row(dekId, 1)).toMatchObject({ firstEpoch: 1, lastEpoch: 1 });
    }
  });

  it('asked for again, changes nothing and proposes nothing', async () => {
    const world = newWorld(2);
    const node = await leadingKeyNode(world);
    await node.operations.enableEncryption();
    await until(() => node.groups.every(({ wrap }) => wrap.kind === 'sealed'));
    const { state } = node.keys;
    const heads = world.shardIds.map((shardId) => tagsOf(world.cluster, shardId));
    await node.operations.enableEncryption();
    await node.operations.enableEncryption([[1], [0]]);
    expect(node.keys.state).toBe(state);
    expect(world.shardIds.map((shardId) => tagsOf(world.cluster, shardId))).toEqual(heads);
  });

  it('asked for by many at once, is done once', async () => {
    const world = newWorld(2);
    const node = await leadingKeyNode(world);
    await Promise.all(Array.from({ length: 5 }, () => node.operations.enableEncryption()));
    expect(tagsOf(world.cluster, 0)).toBe('CCC');
    expect(node.keys.state.keys.size).toBe(3);
  });

  it('without a KEK, makes nothing and proposes nothing', async () => {
    const world = newWorld();
    const node = await leadingKeyNode({ ...world, keks: KekSet.of(), encryption: 'off' });
    await expect(node.operations.enableEncryption()).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_KEK_REQUIRED',
      fatal: false,
    });
    expect(node.keys.state.clusterId).toBe(undefined);
    expect(tagsOf(world.cluster, 0)).toBe('');
    expect(await propose(node.groups[0], 'still')).toBe('still');
  });

  it.each([1, 2])('goes on from where its process ended, after step %i', async (step) => {
    const world = newWorld();
    const node = await leadingKeyNode(world);
    let steps = 0;
    const ended = new Promise<void>((resolve) => {
      node.keys.lifecycle.onChange(() => {
        if (++steps === step) resolve(node.stop());
      });
    });
    await expect(node.operations.enableEncryption()).rejects.toMatchObject({
      code: expect.stringMatching(/^RAFTSEAL_(SHARD_GROUP_(STOPPED|NOT_LEADER)|APPLIER_CLOSED)$/),
    });
    await ended;
    const { clusterId, keys } = node.keys.state;
    expect(keys.size).toBe(3);
    const again = await restarted(node, world);
    await again.operations.enableEncryption();
    expect(again.keys.state.clusterId).toEqual(clusterId);
    expect(new Set(again.keys.state.keys.keys())).toEqual(new Set(keys.keys()));
    expect(again.groups[0]?.wrap.kind).toBe('sealed');
  });

  it('takes writes all the while', async () => {
    const world = newWorld(2);
    const node = await leadingKeyNode(world);
    const writes = Array.from({ length: 200 }, (_, i) => propose(node.groups[i % 2], `write ${i}`));
    const enabled = node.operations.enableEncryption();
    const more = Array.from({ length: 200 }, (_, i) => propose(node.groups[i % 2], `more ${i}`));
    expect(await Promise.all(writes)).toEqual(writes.map((_, i) => `write ${i}`));
    expect(await Promise.all(more)).toEqual(more.map((_, i) => `more ${i}`));
    await enabled;
    await until(() => node.groups.every(({ wrap }) => wrap.kind === 'sealed'));
    for (const shardId of world.shardIds) {
      const cutoverIndex = Number(node.keys.state.cutoverIndex.get(shardId));
      expect(tagsOf(world.cluster, shardId).slice(0, cutoverIndex)).toMatch(/^C+$/);
      expect(tagsOf(world.cluster, shardId).slice(cutoverIndex)).toMatch(/^S*$/);
    }
  });
});

describe('the waves of a cutover', () => {
  it('are carried out one after the other, the shards left out last', async () => {
    const world = newWorld(5);
    const node = await leadingKeyNode(world);
    await node.operations.enableEncryption([[3], [1, 4]]);
    expect(node.keys.state.cutoverIntent?.waves).toEqual([[3], [1, 4], [2]]);
    const order = await sealedOrder(node);
    expect(order.slice(0, 2)).toEqual([0, 3]);
    expect(new Set(order.slice(2, 4))).toEqual(new Set([1, 4]));
    expect(order[4]).toBe(2);
  });

  it('are one of all shards where none are asked for', async () => {
    const node = await leadingKeyNode(newWorld(4));
    await node.operations.enableEncryption();
    expect(node.keys.state.cutoverIntent?.waves).toEqual([[1, 2, 3]]);
  });

  it('leave the control shard out, which is first anyhow, and what is empty', async () => {
    const node = await leadingKeyNode(newWorld(3));
    await node.operations.enableEncryption([[2, 0], [], [1]]);
    expect(node.keys.state.cutoverIntent?.waves).toEqual([[2], [1]]);
  });

  it.each([[[[3]]], [[[-1]]], [[[1.5]]], [[[1], [1]]], [[[1, 1]]], [[[0], [0]]]])(
    'are refused as %j, before any key is made',
    async (waves) => {
      const node = await leadingKeyNode(newWorld(3));
      await expect(node.operations.enableEncryption(waves)).rejects.toMatchObject({
        code: 'RAFTSEAL_NODE_BAD_REQUEST',
      });
      expect(node.keys.state.clusterId).toBe(undefined);
    },
  );
});

describe('rotating a key', () => {
  it('HAZARD AROT-07: before there are keys is refused, and nothing is proposed', async () => {
    const world = newWorld();
    const node = await leadingKeyNode(world);
    for (const purpose of ['raft', 'storage', 'index'] as const) {
      await expect(node.operations.rotate(purpose)).rejects.toMatchObject({
        code: 'RAFTSEAL_NODE_NOT_BOOTSTRAPPED',
      });
    }
    expect(tagsOf(world.cluster, 0)).toBe('');
  });

  it.each(['raft', 'storage'] as const)(
    'HAZARD AROT-14: of purpose %s, resolves to the new active key, which seals at once',
    async (purpose) => {
      const node = await leadingKeyNode(newWorld(2));
      await node.operations.enableEncryption();
      await until(() => node.groups.every(({ wrap }) => wrap.kind === 'sealed'));
      const before = node.keys.state.activeDekId;
      const dekId = await node.operations.rotate(purpose);
      expect(node.keys.state.activeDekId).toEqual({ ...before, [purpose]: dekId });
      expect(dekIdsOf(node.keys.state, purpose)).toEqual([before[purpose], dekId]);
      expect(node.keys.lifecycle.isRegistered(dekId)).toBe(true);
      for (const group of node.groups) {
        expect(group.wrap).toMatchObject({ dekId: node.keys.state.activeDekId.raft });
        expect(await propose(group, 'after')).toBe('after');
      }
      expect(node.keys.authority.seals(node.keys.state.activeDekId.raft)).toBeGreaterThan(0n);
    },
  );

  it('of the index key changes no name of a row, and what the node is authenticated under', async () => {
    const world = newWorld();
    const node = await leadingKeyNode(world);
    await node.operations.enableEncryption();
    const [first] = dekIdsOf(node.keys.state, 'index');
    const name = node.keys.rowSeal.rowKey(0, Buffer.from('user:1'));
    const seed = node.keys.certificateSeed();
    const dekIds = [await node.operations.rotate('index'), await node.operations.rotate('index')];
    expect(node.keys.state.activeDekId.index).toBe(dekIds[1]);
    expect(dekIdsOf(node.keys.state, 'index')).toEqual([first, ...dekIds]);
    expect((await sidecarOf(node)).macDekId).toBe(dekIds[1]);
    const next = await restarted(node, world);
    expect(next.keys.rowSeal.rowKey(0, Buffer.from('user:1'))).toEqual(name);
    expect(next.keys.certificateSeed()).toEqual(seed);
    await next.operations.registerWriter();
    expect(await propose(next.groups[0], 'after')).toBe('after');
  });

  it('many times at once gives each its own key', async () => {
    const node = await leadingKeyNode(newWorld());
    await node.operations.enableEncryption();
    const rotations = Array.from({ length: 4 }, () => node.operations.rotate('raft'));
    const dekIds = await Promise.all(rotations);
    expect(new Set(dekIds).size).toBe(4);
    expect(node.keys.state.activeDekId.raft).toBe(dekIds.at(-1));
    expect(await propose(node.groups[0], 'after')).toBe('after');
  });

  it('overlaps with a cutover without harm', async () => {
    const world = newWorld(3);
    const node = await leadingKeyNode(world);
    const enabled = node.operations.enableEncryption([[1], [2]]);
    const rotated = node.operations.rotate('raft');
    await enabled;
    const dekId = await rotated;
    await until(() => node.groups.every(({ wrap }) => wrap.kind === 'sealed'));
    for (const group of node.groups) expect(group.wrap).toMatchObject({ dekId });
  });

  it('goes on after one that the KEK refused', async () => {
    const kek = await newKek();
    let failing = false;
    const flaky: KekProvider = {
      kekUri: kek.kekUri,
      wrapKey: async (dek, binding) => {
        if (failing) throw new RaftsealError('RAFTSEAL_KEK_UNAVAILABLE', 'not now');
        return kek.wrapKey(dek, binding);
      },
      unwrapKey: (wrapped, binding) => kek.unwrapKey(wrapped, binding),
      close: () => kek.close(),
    };
    const node = await leadingKeyNode({ ...newWorld(), keks: KekSet.of(flaky) });
    await node.operations.enableEncryption();
    failing = true;
    await expect(node.operations.rotate('raft')).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_UNAVAILABLE',
    });
    failing = false;
    const dekId = await node.operations.rotate('raft');
    expect(node.keys.state.activeDekId.raft).toBe(dekId);
  });

  it('wipes the new key once it is wrapped', async () => {
    const kek = await newKek();
    const seen: Uint8Array[] = [];
    const watching: KekProvider = {
      kekUri: kek.kekUri,
      wrapKey: (dek, binding) => {
        seen.push(dek);
        return kek.wrapKey(dek, binding);
      },
      unwrapKey: (wrapped, binding) => kek.unwrapKey(wrapped, binding),
      close: () => kek.close(),
    };
    const node = await leadingKeyNode({ ...newWorld(), keks: KekSet.of(watching) });
    await node.operations.enableEncryption();
    await node.operations.rotate('storage');
    expect(seen).toHaveLength(4);
    for (const dek of seen) expect(Buffer.from(dek)).toEqual(Buffer.alloc(32));
  });
});

describe('a rewrap', () => {
  const urisOf = ({ keys }: KeyState): Set<string> =>
    new Set([...keys.values()].flatMap(({ wraps }) => wraps.map(({ kekUri }) => kekUri)));

  it('puts every key under the KEKs of the node, and takes it from under the others', async () => {
    const world = newWorld();
    const [before, after] = [await newKek(), await newKek()];
    const directory = join(temporaryDirectory(), 'keys');
    const first = await leadingKeyNode({ ...world, directory, keks: KekSet.of(before) });
    await first.operations.enableEncryption();
    await first.operations.rotate('raft');
    await first.operations.rotate('storage');
    await first.stop();
    const both = KekSet.of(before, after);
    const second = await leadingKeyNode({ ...world, directory, keks: both });
    await second.operations.registerWriter();
    expect(await second.operations.rewrap()).toEqual([before.kekUri, after.kekUri]);
    expect(second.keys.state.keys.size).toBe(5);
    expect(urisOf(second.keys.state)).toEqual(new Set([before.kekUri, after.kekUri]));
    await second.stop();
    const third = await leadingKeyNode({ ...world, directory, keks: KekSet.of(after) });
    await third.operations.registerWriter();
    await third.operations.rewrap();
    expect(urisOf(third.keys.state)).toEqual(new Set([after.kekUri]));
    await third.stop();
    await expect(
      openKeyNode({ ...world, directory, keks: KekSet.of(before) }),
    ).rejects.toMatchObject({ code: 'RAFTSEAL_KEK_MISMATCH' });
    const last = await leadingKeyNode({ ...world, directory, keks: KekSet.of(after) });
    await last.operations.registerWriter();
    expect(await propose(last.groups[0], 'after')).toBe('after');
  });

  it('leaves wraps alone that are there and open: a second one proposes nothing', async () => {
    const world = newWorld();
    const node = await leadingKeyNode(world);
    await node.operations.enableEncryption();
    const { state } = node.keys;
    const { headIndex } = await world.cluster.engine('a', 0).bounds();
    await node.operations.rewrap();
    expect((await world.cluster.engine('a', 0).bounds()).headIndex).toBe(headIndex);
    expect(node.keys.state).toBe(state);
  });

  it('replaces a wrap of its KEK that does not open', async () => {
    const world = newWorld();
    const [kek, other] = [await newKek(), await newKek()];
    // Makes wraps under the name of another KEK, and opens what it has made.
    const posing: KekProvider = {
      kekUri: other.kekUri,
      wrapKey: (dek, binding) => kek.wrapKey(dek, binding),
      unwrapKey: (wrapped, binding) => kek.unwrapKey(wrapped, binding),
      close: () => kek.close(),
    };
    const directory = join(temporaryDirectory(), 'keys');
    const first = await leadingKeyNode({ ...world, directory, keks: KekSet.of(kek, posing) });
    await first.operations.enableEncryption();
    await first.stop();
    const second = await leadingKeyNode({ ...world, directory, keks: KekSet.of(kek, other) });
    await second.operations.registerWriter();
    await second.operations.rewrap();
    await second.stop();
    const third = await leadingKeyNode({ ...world, directory, keks: KekSet.of(other) });
    expect(third.keys.state.keys.size).toBe(3);
  });

  it('is refused while a KEK is out of reach, and where there are no keys', async () => {
    const world = newWorld();
    const [kek, other] = [await newKek(), await newKek()];
    let failing = false;
    const flaky: KekProvider = {
      kekUri: other.kekUri,
      wrapKey: async (dek, binding) => {
        if (failing) throw new RaftsealError('RAFTSEAL_KEK_UNAVAILABLE', 'not now');
        return other.wrapKey(dek, binding);
      },
      unwrapKey: async (wrapped, binding) => {
        if (failing) throw new RaftsealError('RAFTSEAL_KEK_UNAVAILABLE', 'not now');
        return other.unwrapKey(wrapped, binding);
      },
      close: () => other.close(),
    };
    const node = await leadingKeyNode({ ...world, keks: KekSet.of(kek, flaky) });
    await expect(node.operations.rewrap()).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_NOT_BOOTSTRAPPED',
    });
    await node.operations.enableEncryption();
    const { state } = node.keys;
    failing = true;
    await expect(node.operations.rewrap()).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_UNAVAILABLE',
    });
    expect(node.keys.state).toBe(state);
    expect(node.groups[0]?.state).toBe('leading');
  });
});

describe('a KEK that makes wraps it does not open', () => {
  it('HAZARD ABOOT-19: halts nothing: the keys are refused before they are proposed', async () => {
    const kek = await newKek();
    const other = await newKek();
    const crossed: KekProvider = {
      kekUri: kek.kekUri,
      wrapKey: (dek, binding) => other.wrapKey(dek, binding),
      unwrapKey: (wrapped, binding) => kek.unwrapKey(wrapped, binding),
      close: () => kek.close(),
    };
    const world = newWorld();
    const node = await leadingKeyNode({ ...world, keks: KekSet.of(crossed) });
    await expect(node.operations.enableEncryption()).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_MISMATCH',
    });
    expect(tagsOf(world.cluster, 0)).toBe('');
    expect(node.groups[0]?.state).toBe('leading');
  });
});

describe('a node that does not lead the control shard', () => {
  it('refuses, and can be asked again once it leads', async () => {
    const world = newWorld();
    const node = await openKeyNode(world);
    await expect(node.operations.enableEncryption()).rejects.toMatchObject({
      code: 'RAFTSEAL_SHARD_GROUP_NOT_LEADER',
    });
    expect(tagsOf(world.cluster, 0)).toBe('');
    node.campaign();
    await until(() => node.groups[0]?.state === 'leading');
    await node.operations.enableEncryption();
    expect(tagsOf(world.cluster, 0)).toBe('CCC');
  });
});

describe('a process that starts again', () => {
  it('invariant 3: seals nothing before it has registered a new nonce epoch', async () => {
    const world = newWorld(2);
    const first = await leadingKeyNode(world);
    await first.operations.enableEncryption();
    await until(() => first.groups.every(({ wrap }) => wrap.kind === 'sealed'));
    expect(await propose(first.groups[1], 'first')).toBe('first');
    const again = await restarted(first, world);
    for (const group of again.groups) {
      expect(await propose(group, 'early')).toBe('RAFTSEAL_NODE_WRITER_NOT_REGISTERED');
    }
    await again.operations.registerWriter();
    for (const group of again.groups) expect(await propose(group, 'later')).toBe('later');
    const { storage, raft } = again.keys.state.activeDekId;
    for (const dekId of [storage, raft]) {
      expect(again.keys.lifecycle.claimOf(dekId)).toMatchObject({ writerId: 1, nonceEpoch: 2 });
      expect(again.keys.registry.row(dekId, 1)).toMatchObject({ firstEpoch: 1, lastEpoch: 2 });
    }
  });

  it('registers once, however often it is asked to', async () => {
    const world = newWorld();
    const first = await leadingKeyNode(world);
    await first.operations.enableEncryption();
    const again = await restarted(first, world);
    await Promise.all([again.operations.registerWriter(), again.operations.registerWriter()]);
    await again.operations.registerWriter();
    // One registration each for the raft and the storage key.
    expect(tagsOf(world.cluster, 0)).toBe('CCCSS');
  });

  it('invariant 3: uses no nonce twice over many starts', async () => {
    const world = newWorld(2);
    let node = await leadingKeyNode(world);
    await node.operations.enableEncryption();
    await until(() => node.groups.every(({ wrap }) => wrap.kind === 'sealed'));
    for (let start = 0; start < 4; start++) {
      for (const group of node.groups) await propose(group, `start ${start}`);
      if (start === 2) await node.operations.rotate('raft');
      node = await restarted(node, world);
      await node.operations.registerWriter();
    }
    // Tag, version, flag; then DEK id and nonce.
    const nonces = world.shardIds
      .flatMap((shardId) => world.cluster.log(shardId))
      .filter(({ payload }) => payload[0] === 0x53)
      .map(({ payload }) => Buffer.from(payload.subarray(3, 19)).toString('hex'));
    expect(nonces.length).toBeGreaterThan(16);
    expect(new Set(nonces).size).toBe(nonces.length);
  });

  it('goes on with a cutover that its first process had only begun', async () => {
    const world = newWorld(3);
    const first = await leadingKeyNode(world);
    first.coordinator.stop();
    await first.operations.enableEncryption();
    expect(first.keys.state.cutoverIndex).toEqual(new Map([[0, 3n]]));
    const again = await restarted(first, world);
    await until(() => again.groups.every(({ wrap }) => wrap.kind === 'sealed'));
    expect(world.shardIds.slice(1).map((shardId) => tagsOf(world.cluster, shardId))).toEqual([
      'C',
      'C',
    ]);
  });
});

describe('registering a backup', () => {
  it('keeps the keys of stored values from being retired until it is forgotten', async () => {
    const node = await leadingKeyNode(newWorld());
    const { operations, keys } = node;
    const early = await operations.registerBackup('early').catch((error: unknown) => error);
    expect(early).toMatchObject({ code: 'RAFTSEAL_NODE_NOT_BOOTSTRAPPED' });
    await operations.enableEncryption();
    const [storage = 0] = dekIdsOf(keys.state, 'storage');
    const dekIds = await operations.registerBackup('backup-1');
    expect(dekIds).toEqual([storage, ...dekIdsOf(keys.state, 'index')].toSorted((a, b) => a - b));
    expect(await operations.registerBackup('backup-1')).toEqual(dekIds);
    await operations.rotate('storage');
    const { lifecycle, registry, keks } = keys;
    const retire = (): Promise<Precheck> =>
      precheck(
        { state: lifecycle.state, registry, unwrapDek: keks.unwrap },
        { shardId: 0, entry: { kind: 'retire-dek', dekId: storage } },
      );
    await expect(retire()).rejects.toMatchObject({ code: 'RAFTSEAL_APPLIER_DEK_IN_BACKUP' });
    await operations.forgetBackup('backup-1');
    await expect(retire()).resolves.toMatchObject({ outcome: { kind: 'applied' } });
    await expect(operations.forgetBackup('backup-1')).rejects.toMatchObject({
      code: 'RAFTSEAL_BACKUP_UNKNOWN',
    });
  });
});
