/** A cluster of three gets its first keys: every member is a writer from the same entry on. */
import { beforeEach, describe, expect, it } from 'vitest';
import { type BootstrapEntry, type NonceClaim, precheck, unwrapWith } from '../src/index.ts';
import {
  bootstrapEntry,
  Disk,
  describeRow,
  kek,
  Process,
  registrationOf,
  rotation,
  sharedState,
} from './world.ts';

const nodeIds = ['a', 'b', 'c'];

let bootstrap: BootstrapEntry;
let disks: ReadonlyMap<string, Disk>;

beforeEach(async () => {
  bootstrap = await bootstrapEntry({ writers: nodeIds });
  disks = new Map(nodeIds.map((nodeId) => [nodeId, new Disk()]));
});

/** A process of a node, which found the control log this long. */
async function start(nodeId: string, headIndex: bigint): Promise<Process> {
  const process = await Process.start(disks.get(nodeId) as Disk, { nodeId });
  process.lifecycle.noteControlHead(headIndex);
  return process;
}

describe('three first writers', () => {
  it('may seal at once, each with its own writer id and epoch 1', async () => {
    const processes = await Promise.all(nodeIds.map((nodeId) => start(nodeId, 0n)));
    for (const process of processes) await process.apply(0, 1n, bootstrap);
    const prefixes = processes.map(({ lifecycle }) => lifecycle.claimOf(2) as NonceClaim);
    expect(prefixes).toMatchObject([1, 2, 3].map((writerId) => ({ writerId, nonceEpoch: 1 })));
    for (const { lifecycle, state, registry } of processes) {
      for (const dekId of [1, 2]) expect(lifecycle.isRegistered(dekId)).toBe(true);
      expect(sharedState(state)).toEqual(sharedState((processes[0] as Process).state));
      expect(registry.rows().map(describeRow)).toEqual([
        '1/1@1-1',
        '1/2@1-1',
        '1/3@1-1',
        '2/1@1-1',
        '2/2@1-1',
        '2/3@1-1',
      ]);
    }
  });

  it('invariant 3: one that starts after the entry was appended claims 2', async () => {
    // The first process of c went down before it applied the entry, or so it seems from outside.
    await start('c', 0n);
    const second = await start('c', 1n);
    await second.apply(0, 1n, bootstrap);
    expect(second.lifecycle.claimOf(2)).toBeUndefined();
    const claim = await second.lifecycle.claimNonceEpoch(2);
    expect(claim).toMatchObject({ writerId: 3, nonceEpoch: 2 });
    await second.apply(0, 2n, registrationOf('c', 2, claim));
    expect(second.lifecycle.isRegistered(2)).toBe(true);
  });

  it('invariant 3: one that starts again after it applied the entry claims 2', async () => {
    const first = await start('b', 0n);
    await first.apply(0, 1n, bootstrap);
    expect(first.lifecycle.isRegistered(2)).toBe(true);
    const second = await start('b', 1n);
    expect(second.lifecycle.isRegistered(2)).toBe(false);
    expect(await second.lifecycle.claimNonceEpoch(2)).toMatchObject({ writerId: 2, nonceEpoch: 2 });
  });

  it('invariant 3: one that lost its disk in between claims 2', async () => {
    const first = await start('b', 0n);
    await first.apply(0, 1n, bootstrap);
    disks = new Map(disks).set('b', new Disk());
    const second = await start('b', 1n);
    await second.apply(0, 1n, bootstrap);
    expect(second.lifecycle.claimOf(2)).toBeUndefined();
    expect(await second.lifecycle.claimNonceEpoch(2)).toMatchObject({ nonceEpoch: 2 });
  });

  it('HAZARD AROT-14: have the next key at once, the one that started again once registered', async () => {
    const [a, first] = [await start('a', 0n), await start('b', 0n)];
    for (const process of [a, first]) await process.apply(0, 1n, bootstrap);
    const second = await start('b', 1n);
    for (const process of [a, second]) await process.apply(0, 2n, await rotation(4, 'raft'));
    expect(a.lifecycle.isRegistered(4)).toBe(true);
    expect(second.lifecycle.claimOf(4)).toBeUndefined();
    const claim = await second.lifecycle.claimNonceEpoch(4);
    expect(claim).toMatchObject({ writerId: 2, nonceEpoch: 2 });
    for (const process of [a, second]) {
      await process.apply(0, 3n, registrationOf('b', 4, claim));
      await process.apply(0, 4n, await rotation(5, 'raft'));
      expect(process.lifecycle.isRegistered(5)).toBe(true);
      expect(process.lifecycle.claimOf(5)).toMatchObject({ nonceEpoch: 1 });
    }
  });

  it('a member that is no first writer is registered by a leader, then claims 2', async () => {
    disks = new Map(disks).set('d', new Disk());
    const [leader, joiner] = [await start('a', 0n), await start('d', 0n)];
    for (const process of [leader, joiner]) await process.apply(0, 1n, bootstrap);
    const entry = { kind: 'register', nodeId: 'd', dekId: 2, epoch: 1 } as const;
    const { state, registry } = leader;
    const parts = { state, registry, unwrapDek: unwrapWith([kek]) };
    const { body } = await precheck(parts, { shardId: 0, entry });
    for (const { lifecycle } of [leader, joiner]) {
      await lifecycle.apply({ shardId: 0, index: 2n, body });
    }
    const claim = await joiner.lifecycle.claimNonceEpoch(2);
    expect(claim).toMatchObject({ writerId: 4, nonceEpoch: 2 });
    expect(joiner.lifecycle.isRegistered(2)).toBe(false);
    await joiner.apply(0, 3n, registrationOf('d', 2, claim));
    expect(joiner.lifecycle.isRegistered(2)).toBe(true);
  });
});
