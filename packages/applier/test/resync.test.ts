/** A node whose sidecar is gone, damaged or old gets a new one from what another node has. */
import { deriveMacKey } from '@raftseal/sidecar';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  checkNonceEpochs,
  checkRegistry,
  type KeyLifecycleEntry,
  MemoryWriterRegistry,
  openReplicatedKeyState,
  type ReplicatedKeyState,
  type ResyncedKeyState,
  resyncKeyState,
  unwrapWith,
} from '../src/index.ts';
import {
  bootstrapEntry,
  clusterId,
  cutoverRequest,
  Disk,
  dekOf,
  kek,
  Process,
  registration,
  rotation,
  sharedState,
} from './world.ts';

const refused = (code: string): unknown => expect.objectContaining({ code, fatal: false });

let life: readonly KeyLifecycleEntry[];
let replicated: ReplicatedKeyState;

beforeAll(async () => {
  life = [
    await bootstrapEntry(),
    registration('a', 2, 4),
    cutoverRequest(2),
    await rotation(5, 'raft'),
    registration('a', 5, 2),
  ];
  const { lifecycle } = await live(new Disk(), 'b');
  const bytes = await lifecycle.exportKeyState();
  replicated = await openReplicatedKeyState(bytes ?? Buffer.alloc(0), unwrapWith([kek]));
});

async function live(disk: Disk, nodeId: string, entries = life): Promise<Process> {
  const process = await Process.start(disk, { nodeId });
  for (const [at, entry] of entries.entries()) await process.apply(0, BigInt(at) + 1n, entry);
  return process;
}

/** What the command does with the result: rows first, then the sidecar. */
async function write(disk: Disk, { state, rows }: ResyncedKeyState): Promise<void> {
  const registry = new MemoryWriterRegistry([...disk.rows, ...rows]);
  disk.rows = registry.rows();
  const dekId = state.activeDekId.index;
  await disk.open().write(state, { dekId, macKey: deriveMacKey(dekOf(dekId)) });
}

const registryOf = (disk: Disk): MemoryWriterRegistry => new MemoryWriterRegistry(disk.rows);

describe('MISS-05: rebuilding a sidecar', () => {
  it('gives a node that starts, with the keys and cutovers of the cluster', async () => {
    const disk = new Disk();
    await write(disk, resyncKeyState({ nodeId: 'a', replicated, registry: registryOf(disk) }));
    const process = await Process.start(disk);
    checkRegistry(process.state, process.registry);
    checkNonceEpochs(process.state, process.registry);
    expect(sharedState(process.state)).toEqual(sharedState((await live(new Disk(), 'a')).state));
    expect(process.installed.get(0)).toEqual({ shardId: 0, cutoverIndex: 3n, dekId: 5 });
  });

  it.each([
    ['registered, where the rows are lost', 0, 4, 2],
    ['in the rows, where they are above', 9, 9, 9],
    ['registered, where the rows are behind', 1, 4, 2],
  ])('invariant 3: takes the epochs that are %s', async (_, own, older, active) => {
    const disk = new Disk();
    const row = { writerId: 1, firstEpoch: 1, lastEpoch: own };
    if (own > 0) disk.rows = [2, 5].map((dekId) => ({ ...row, dekId }));
    await write(disk, resyncKeyState({ nodeId: 'a', replicated, registry: registryOf(disk) }));
    const { state, lifecycle } = await Process.start(disk);
    expect(state.keys.get(2)?.nonceEpoch).toBe(older);
    expect(state.keys.get(5)?.nonceEpoch).toBe(active);
    expect(await lifecycle.claimNonceEpoch(5)).toMatchObject({ nonceEpoch: active + 1 });
  });

  it('works for a node that is no writer', async () => {
    const registry = new MemoryWriterRegistry();
    const { state } = resyncKeyState({ nodeId: 'd', replicated, registry });
    expect(state.nodeId).toBe('d');
    expect([...state.keys.values()].map(({ nonceEpoch }) => nonceEpoch)).toEqual([0, 0, 0, 0]);
  });

  it('takes in a sidecar that is behind, and its epochs', async () => {
    const disk = new Disk();
    const process = await live(disk, 'a', life.slice(0, 2));
    await process.lifecycle.claimNonceEpoch(2);
    const registry = registryOf(disk);
    const sidecar = process.state;
    const { state } = resyncKeyState({ nodeId: 'a', replicated, registry, sidecar });
    expect(state.keys.get(2)?.nonceEpoch).toBe(5);
    expect(state.generation).toBe(sidecar.generation + 1n);
    expect(state.appliedIndex.get(0)).toBe(5n);
  });

  it('gives back the rows where only they are lost', async () => {
    const disk = new Disk();
    const { state: sidecar } = await live(disk, 'a');
    const registry = new MemoryWriterRegistry();
    const resynced = resyncKeyState({ nodeId: 'a', replicated, registry, sidecar });
    expect(resynced.rows).toHaveLength(replicated.rows.length);
    expect({ ...resynced.state, generation: sidecar.generation }).toEqual(sidecar);
  });

  it('is refused where the sidecar is intact and not behind', async () => {
    const disk = new Disk();
    for (const entries of [life, [...life, await rotation(6, 'raft')]]) {
      const { state: sidecar } = await live(disk, 'a', entries);
      const registry = registryOf(disk);
      expect(() => resyncKeyState({ nodeId: 'a', replicated, registry, sidecar })).toThrow(
        refused('RAFTSEAL_APPLIER_RESYNC_NOT_NEEDED'),
      );
    }
  });

  it('is refused where the sidecar has applied a marker that it does not know of', async () => {
    const { state } = await live(new Disk(), 'a', life.slice(0, 2));
    const sidecar = { ...state, appliedIndex: new Map(state.appliedIndex).set(7, 40n) };
    const other = {
      ...replicated,
      appliedIndex: new Map(replicated.appliedIndex).set(7, 30n),
      cutoverIndex: new Map(replicated.cutoverIndex).set(7, 30n),
    };
    const registry = new MemoryWriterRegistry();
    expect(() => resyncKeyState({ nodeId: 'a', replicated: other, registry, sidecar })).toThrow(
      refused('RAFTSEAL_APPLIER_KEY_STATE_CONFLICT'),
    );
  });

  it("is refused with another node's sidecar, another cluster's state, or one that cannot be", async () => {
    const { state: sidecar } = await live(new Disk(), 'a', life.slice(0, 2));
    const registry = new MemoryWriterRegistry();
    const foreign = { ...replicated, clusterId: clusterId.map((byte) => byte ^ 1) };
    const request = { nodeId: 'a', replicated, registry, sidecar };
    expect(() => resyncKeyState({ ...request, nodeId: 'b' })).toThrow(
      refused('RAFTSEAL_APPLIER_NODE_MISMATCH'),
    );
    expect(() => resyncKeyState({ ...request, replicated: foreign })).toThrow(
      refused('RAFTSEAL_APPLIER_FOREIGN_KEY_STATE'),
    );
    expect(() => resyncKeyState({ ...request, replicated: { ...replicated, rows: [] } })).toThrow(
      refused('RAFTSEAL_APPLIER_KEY_STATE_INVALID'),
    );
  });

  it('HAZARD AREG-17: lets the log be applied from wherever it is', async () => {
    const disk = new Disk();
    disk.rows = [{ dekId: 5, writerId: 1, firstEpoch: 1, lastEpoch: 9 }];
    await write(disk, resyncKeyState({ nodeId: 'a', replicated, registry: registryOf(disk) }));
    const process = await live(disk, 'a');
    await process.apply(0, 6n, registration('a', 5, 7));
    await process.apply(0, 7n, registration('a', 5, 9));
    expect(process.state.keys.get(5)?.nonceEpoch).toBe(9);
  });
});
