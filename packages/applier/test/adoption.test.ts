import type { KeyRecord, KeyState, WriterRow } from '@raftseal/interface';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type KeyLifecycleEntry,
  openReplicatedKeyState,
  type ReplicatedKeyState,
  replicatedKeyState,
  unwrapWith,
} from '../src/index.ts';
import { type KeyPool, keyPool } from './commands.ts';
import { interleave, type Logs, logs, Replica } from './replica.ts';
import {
  backup,
  bootstrapEntry,
  bootstrapped,
  clusterId,
  cutoverRequest,
  Disk,
  describeRow,
  enableSealedOnly,
  enableStorage,
  foreignKey,
  kek,
  localState,
  marker,
  Process,
  registration,
  registrationOf,
  retirement,
  rotation,
  sealedUnder,
  sharedState,
} from './world.ts';

const refused = (code: string): unknown => expect.objectContaining({ code, fatal: false });
const CONFLICT = refused('RAFTSEAL_APPLIER_KEY_STATE_CONFLICT');

type Placed = readonly [shardId: number, index: bigint, entry: KeyLifecycleEntry];

/** Everything that can be in the logs of a cluster. */
let life: readonly Placed[];
let pool: KeyPool;

beforeAll(async () => {
  pool = await keyPool();
  life = [
    [0, 1n, await bootstrapEntry()],
    [0, 2n, registration('c', 2, 1)],
    [0, 3n, enableStorage(1)],
    [0, 4n, await rotation(4, 'storage')],
    [0, 5n, cutoverRequest(2, 7, 8)],
    [7, 30n, marker(2, 5n)],
    [0, 6n, await rotation(5, 'raft')],
    [0, 7n, registration('c', 5, 3)],
    [8, 40n, marker(5, 6n)],
  ];
});

async function live(process: Process, entries: readonly Placed[]): Promise<Process> {
  for (const [shardId, index, entry] of entries) await process.apply(shardId, index, entry);
  return process;
}

/** A node that has applied the life so far. */
async function peer(entries: readonly Placed[] = life, nodeId = 'b'): Promise<Process> {
  return await live(await Process.start(new Disk(), { nodeId }), entries);
}

/** What a node gives away, as another one receives it. */
async function given(process: Process): Promise<ReplicatedKeyState> {
  const bytes = await process.lifecycle.exportKeyState();
  if (bytes === undefined) throw new Error('there are no keys');
  return await openReplicatedKeyState(bytes, unwrapWith([kek]));
}

const rowsOf = ({ registry }: Process): string[] => registry.rows().map(describeRow).sort();

describe('adopting the key state of another node', () => {
  it('performs load, rows, sidecar and installs in this order', async () => {
    const joiner = await Process.start(new Disk(), { nodeId: 'd' });
    await joiner.lifecycle.adopt(await given(await peer()));
    expect(joiner.performed).toEqual([
      ...[1, 2, 3, 4, 5].map((dekId) => `load ${dekId}`),
      expect.stringMatching(/^rows /),
      'sidecar',
      'install shard 0 above 5 with 5',
      'install shard 7 above 30 with 5',
      'install shard 8 above 40 with 5',
    ]);
  });

  it('HAZARD SNAP-17: gives a joiner keys, rows and cutovers, and they outlive it', async () => {
    const [disk, other] = [new Disk(), await peer()];
    const joiner = await Process.start(disk, { nodeId: 'd' });
    await joiner.lifecycle.adopt(await given(other));
    const restarted = await Process.start(disk, { nodeId: 'd' });
    for (const process of [joiner, restarted]) {
      expect(sharedState(process.state)).toEqual(sharedState(other.state));
      expect(process.keyring.ids()).toEqual([1, 2, 3, 4, 5]);
      expect(process.installed).toEqual(other.installed);
      expect(rowsOf(process)).toEqual(rowsOf(other));
    }
    expect(joiner.state.nodeId).toBe('d');
    expect(joiner.state.generation).toBe(1n);
  });

  it('forgets the keys that were retired meanwhile, last of all', async () => {
    const disk = new Disk();
    const process = await live(await Process.start(disk), life);
    process.performed.length = 0;
    const later: Placed[] = [
      [0, 8n, retirement(1)],
      [0, 9n, enableSealedOnly],
      [0, 10n, backup('monday', 4, 5)],
    ];
    const other = await peer([...life, ...later]);
    await process.lifecycle.adopt(await given(other));
    expect(process.performed.slice(0, 2)).toEqual(['sidecar', 'install shard 0 above 5 with 5']);
    expect(process.performed.at(-1)).toBe('unload 1');
    for (const each of [process, await Process.start(disk)]) {
      expect(sharedState(each.state)).toEqual(sharedState(other.state));
      expect(each.keyring.ids()).toEqual([2, 3, 4, 5]);
      expect(rowsOf(each)).toEqual(rowsOf(other));
    }
  });

  it('brings no retired key back from a node that is behind', async () => {
    const process = await peer([...life, [0, 8n, retirement(1)]], 'a');
    const before = process.state;
    await process.lifecycle.adopt(await given(await peer()));
    expect(process.state).toBe(before);
    expect(process.keyring.ids()).toEqual([2, 3, 4, 5]);
  });

  it('tells the listeners, once it is durable', async () => {
    const process = await peer(life.slice(0, 3), 'a');
    const seen: KeyState[] = [];
    process.lifecycle.onChange((state) => {
      expect(process.performed.at(-1)).toBe('sidecar');
      seen.push(state);
    });
    await process.lifecycle.adopt(await given(await peer()));
    expect(seen).toEqual([process.state]);
  });

  it('ends the waits for what it brings', async () => {
    const process = await peer(life.slice(0, 3), 'a');
    const waits = [
      process.lifecycle.waitForDek(5, 60_000),
      process.apply(8, 40n, marker(5, 6n)),
    ] as const;
    await process.lifecycle.adopt(await given(await peer()));
    await waits[0];
    expect(await waits[1]).toEqual({ kind: 'replayed' });
  });

  it('HAZARD SC-22: takes nothing back where the other node is behind', async () => {
    const [process, other] = [await peer(life, 'a'), await peer(life.slice(0, 3))];
    const before = process.state;
    const writes = process.sidecarWrites;
    await process.lifecycle.adopt(await given(other));
    expect(process.state).toBe(before);
    expect(process.sidecarWrites).toBe(writes);
    expect(rowsOf(process)).toEqual(rowsOf(await peer()));
  });

  it('takes a cutover from a node whose control shard is behind', async () => {
    const [process, other] = [await peer(life.slice(0, 5), 'a'), await peer(life.slice(0, 6))];
    await process.apply(0, 6n, await rotation(5, 'raft'));
    process.performed.length = 0;
    await process.lifecycle.adopt(await given(other));
    expect(process.state.cutoverIndex.get(7)).toBe(30n);
    expect(process.state.activeDekId.raft).toBe(5);
    expect(process.performed.at(-1)).toBe('install shard 7 above 30 with 5');
  });

  it('invariant 4: makes wraps active again where there is nothing new', async () => {
    const process = await peer(life, 'a');
    process.performed.length = 0;
    await process.lifecycle.adopt(await given(await peer()));
    expect(process.performed).toEqual([
      'install shard 0 above 5 with 5',
      'install shard 7 above 30 with 5',
      'install shard 8 above 40 with 5',
    ]);
  });

  it('needs keys: before Bootstrap there is nothing to give', async () => {
    const { lifecycle } = await Process.start(new Disk());
    expect(await lifecycle.exportKeyState()).toBeUndefined();
  });

  it('lets a shard go on whose failed entry it covers', async () => {
    const process = await peer(life.slice(0, 3), 'a');
    process.crashAt = 'before sidecar';
    await expect(process.apply(0, 4n, await rotation(4, 'storage'))).rejects.toThrow();
    await expect(process.apply(0, 5n, cutoverRequest(2))).rejects.toMatchObject({
      code: 'RAFTSEAL_APPLIER_HALTED',
    });
    await process.lifecycle.adopt(await given(await peer()));
    expect(await process.apply(0, 8n, enableStorage(4))).toEqual({
      kind: 'no-op',
      reason: 'already-active',
    });
  });

  it('does not let a shard go on whose failed entry it does not cover', async () => {
    const process = await peer(life, 'a');
    await expect(process.apply(0, 9n, marker(2, 5n))).rejects.toThrow();
    await process.lifecycle.adopt(await given(await peer()));
    await expect(process.apply(0, 10n, enableStorage(4))).rejects.toMatchObject({
      code: 'RAFTSEAL_APPLIER_HALTED',
    });
  });
});

describe('entries that an adopted state covers', () => {
  it('are replays: marker, registration, rotation, bootstrap', async () => {
    const process = await Process.start(new Disk(), { nodeId: 'c' });
    await process.lifecycle.adopt(await given(await peer()));
    const { state } = process;
    for (const [shardId, index, entry] of life) {
      expect(await process.apply(shardId, index, entry)).toEqual({ kind: 'replayed' });
    }
    expect(process.state).toBe(state);
    expect(process.installed.get(8)).toEqual({ shardId: 8, cutoverIndex: 40n, dekId: 5 });
  });

  it('do not keep the entries above them from being applied', async () => {
    const process = await Process.start(new Disk(), { nodeId: 'c' });
    await process.lifecycle.adopt(await given(await peer(life.slice(0, 5))));
    await live(process, life);
    expect(sharedState(process.state)).toEqual(sharedState((await peer()).state));
    expect(rowsOf(process)).toEqual(rowsOf(await peer()));
  });

  it('HAZARD AREG-17: halt nothing where rows came that are ahead of their state', async () => {
    // The giver's rows are from a registry that outlived its sidecar.
    const disk = new Disk();
    disk.rows = [{ dekId: 2, writerId: 3, firstEpoch: 1, lastEpoch: 9 }];
    const other = await live(await Process.start(disk, { nodeId: 'b' }), life.slice(0, 3));
    const process = await Process.start(new Disk());
    await process.lifecycle.adopt(await given(other));
    expect(await process.apply(0, 4n, registration('c', 2, 7))).toEqual({
      kind: 'no-op',
      reason: 'stale-epoch',
    });
    expect(await process.apply(0, 5n, registration('c', 2, 9))).toEqual({
      kind: 'no-op',
      reason: 'already-registered',
    });
  });
});

describe('a state that is not of the same logs', () => {
  it('of another cluster is refused, and changes nothing', async () => {
    const disk = new Disk();
    const process = await bootstrapped(disk);
    const before = disk.copy();
    const other = { ...(await given(await peer())), clusterId: clusterId.map((byte) => byte ^ 1) };
    await expect(process.lifecycle.adopt(other)).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_FOREIGN_KEY_STATE'),
    );
    expect(disk).toEqual(before);
  });

  it('that cannot be is refused', async () => {
    const process = await bootstrapped();
    const other = { ...(await given(await peer())), rows: [] };
    await expect(process.lifecycle.adopt(other)).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_KEY_STATE_INVALID'),
    );
  });

  const changes: readonly (readonly [
    string,
    (
      state: ReplicatedKeyState,
    ) => Partial<ReplicatedKeyState> | Promise<Partial<ReplicatedKeyState>>,
  ])[] = [
    [
      'another cutover of the control shard',
      ({ cutoverIntent, cutoverIndex }) => ({
        cutoverIndex: new Map(cutoverIndex).set(0, 6n),
        cutoverIntent: { controlIndex: 6n, waves: cutoverIntent?.waves ?? [] },
      }),
    ],
    [
      'another cutover of a shard',
      ({ cutoverIndex }) => ({
        cutoverIndex: new Map(cutoverIndex).set(7, 29n),
      }),
    ],
    [
      'no cutover where it was applied',
      ({ cutoverIndex }) => ({
        cutoverIndex: new Map([...cutoverIndex].filter(([shardId]) => shardId !== 7)),
      }),
    ],
    ['other waves', () => ({ cutoverIntent: { controlIndex: 5n, waves: [[7]] } })],
    ['values sealed from elsewhere', () => ({ storageIndex: 2n })],
    ['values not sealed', () => ({ storageIndex: undefined })],
    [
      'another time of a key',
      ({ keys }) => ({
        keys: new Map([...keys].map(([dekId, key]) => [dekId, { ...key, createdAtMs: 5 }])),
      }),
    ],
    [
      'a key missing',
      ({ keys, rows }) => ({
        keys: new Map([...keys].filter(([dekId]) => dekId !== 1)),
        rows: rows.filter(({ dekId }) => dekId !== 1),
      }),
    ],
    [
      'a writer missing',
      ({ writers, rows }) => ({
        writers: new Map([...writers].filter(([writerId]) => writerId !== 3)),
        rows: rows.filter(({ writerId }) => writerId !== 3),
      }),
    ],
    ['another node for a writer', ({ writers }) => ({ writers: new Map(writers).set(3, 'x') })],
  ];

  it.each(changes)(
    'with %s is refused, at the same index and above, and changes nothing',
    async (_, change) => {
      const disk = new Disk();
      const process = await live(await Process.start(disk), life);
      const before = disk.copy();
      process.performed.length = 0;
      const other = await given(await peer());
      const changed = { ...other, ...(await change(other)) };
      const later = { ...changed, appliedIndex: new Map(other.appliedIndex).set(0, 9n) };
      await expect(process.lifecycle.adopt(changed)).rejects.toEqual(CONFLICT);
      await expect(process.lifecycle.adopt(later)).rejects.toEqual(CONFLICT);
      expect(disk).toEqual(before);
      expect(process.performed).toEqual([]);
    },
  );

  it('is refused by a node that is ahead of it, too', async () => {
    const process = await peer([...life, [0, 8n, enableStorage(4)]], 'a');
    const before = process.state;
    const other = await given(await peer());
    for (const [what, change] of changes) {
      // That a node behind lacks something is no contradiction.
      if (what.endsWith('missing')) continue;
      const changed = { ...other, ...(await change(other)) };
      await expect(process.lifecycle.adopt(changed), what).rejects.toEqual(CONFLICT);
    }
    expect(process.state).toBe(before);
  });

  it('with other cluster keys under the same index DEK is refused', async () => {
    const rotated: readonly Placed[] = [...life, [0, 8n, await rotation(9, 'index')]];
    const process = await peer(rotated, 'a');
    const { state } = process;
    const other = await given(await peer(rotated));
    const changed = { ...other, sealedClusterKeys: sealedUnder(9, 4) };
    const later = { ...changed, appliedIndex: new Map(other.appliedIndex).set(0, 9n) };
    await expect(process.lifecycle.adopt(changed)).rejects.toEqual(CONFLICT);
    await expect(process.lifecycle.adopt(later)).rejects.toEqual(CONFLICT);
    expect(process.state).toBe(state);
  });

  it('whose new index DEK brings other cluster keys along is not loaded', async () => {
    const disk = new Disk();
    const process = await live(await Process.start(disk), life);
    const before = disk.copy();
    const other = await given(await peer([...life, [0, 8n, await rotation(9, 'index')]]));
    const changed = { ...other, sealedClusterKeys: sealedUnder(9, 4) };
    await expect(process.lifecycle.adopt(changed)).rejects.toMatchObject({
      code: 'RAFTSEAL_APPLIER_LOAD_FAILED',
      cause: { code: 'RAFTSEAL_APPLIER_CLUSTER_KEYS' },
    });
    expect(disk).toEqual(before);
    expect(process.keyring.has(9)).toBe(false);
  });

  it('with another active key at the same index is refused', async () => {
    const process = await peer(life, 'a');
    const other = await given(await peer());
    const changed = { ...other, activeDekId: { ...other.activeDekId, raft: 2 } };
    await expect(process.lifecycle.adopt(changed)).rejects.toEqual(CONFLICT);
  });

  it('with other wraps of a key is refused at the same index; above, they are taken over', async () => {
    const process = await peer(life, 'a');
    const other = await given(await peer());
    const { dekId, ...key } = await foreignKey(4, 'storage');
    const changed = { ...other, keys: new Map(other.keys).set(dekId, key) };
    await expect(process.lifecycle.adopt(changed)).rejects.toEqual(CONFLICT);
    await process.lifecycle.adopt({
      ...changed,
      appliedIndex: new Map(other.appliedIndex).set(0, 8n),
    });
    expect(process.state.keys.get(4)?.wraps).toEqual(key.wraps);
    await expect(process.lifecycle.adopt(other)).resolves.toBeUndefined();
    expect(process.state.keys.get(4)?.wraps).toEqual(key.wraps);
  });

  it('with other backups, or a retirement that this node must have seen, is refused', async () => {
    const more: Placed[] = [
      [0, 8n, retirement(1)],
      [0, 9n, backup('monday', 2)],
    ];
    const process = await peer([...life, ...more], 'a');
    const other = await given(await peer([...life, ...more]));
    const retired = (controlIndex: bigint) =>
      new Map([[1, { purpose: 'storage' as const, controlIndex }]]);
    const key = process.state.keys.get(5);
    for (const changed of [
      { ...other, backups: new Map() },
      { ...other, retired: retired(7n) },
      { ...other, retired: new Map(), keys: new Map(other.keys).set(1, key as KeyRecord) },
    ]) {
      await expect(process.lifecycle.adopt(changed)).rejects.toEqual(CONFLICT);
    }
    const appliedIndex = new Map(other.appliedIndex).set(0, 12n);
    const early = { ...other, retired: retired(2n), appliedIndex };
    await expect((await peer(life, 'c')).lifecycle.adopt(early)).rejects.toEqual(CONFLICT);
  });

  it('with one more key or writer at the same index is refused', async () => {
    const process = await peer(life, 'a');
    const other = await given(await peer());
    const { dekId, ...key } = await foreignKey(9, 'raft');
    const row = { dekId: 2, writerId: 4, firstEpoch: 1, lastEpoch: 1 };
    for (const changed of [
      { ...other, keys: new Map(other.keys).set(dekId, key) },
      { ...other, writers: new Map(other.writers).set(4, 'd'), rows: [...other.rows, row] },
    ]) {
      await expect(process.lifecycle.adopt(changed)).rejects.toEqual(CONFLICT);
    }
  });

  it('invariant 7: takes the ratchet to sealed-only from nobody who is ahead, or behind', async () => {
    const more: Placed[] = [[0, 8n, enableSealedOnly]];
    const process = await peer([...life, ...more], 'a');
    const ahead = await given(await peer([...life, [0, 8n, registration('c', 5, 4)]]));
    const further = { ...ahead, appliedIndex: new Map(ahead.appliedIndex).set(0, 9n) };
    for (const changed of [ahead, further, { ...further, sealedOnlyIndex: 9n }]) {
      await expect(process.lifecycle.adopt(changed)).rejects.toEqual(CONFLICT);
    }
    await process.lifecycle.adopt(await given(await peer()));
    expect(process.state.sealedOnlyIndex).toBe(8n);
  });

  it('with a switch that this node must have seen is refused', async () => {
    const process = await peer(life.slice(0, 5), 'a');
    const other = await given(await peer());
    const storage = await peer(
      [life[0] as Placed, life[1] as Placed, [0, 3n, enableStorage(9)]],
      'a',
    );
    await expect(process.lifecycle.adopt({ ...other, storageIndex: 4n })).rejects.toEqual(CONFLICT);
    await expect(storage.lifecycle.adopt(other)).rejects.toEqual(CONFLICT);
  });
});

describe('the nonce epochs of a node that adopts', () => {
  it('invariant 3: no adopted key is held at epoch 1', async () => {
    const process = await peer(life.slice(0, 2), 'a');
    process.lifecycle.noteControlHead(2n);
    await process.lifecycle.adopt(await given(await peer()));
    for (const dekId of [1, 2, 4, 5]) expect(process.lifecycle.claimOf(dekId)).toBeUndefined();
    expect(await process.lifecycle.claimNonceEpoch(5)).toMatchObject({ nonceEpoch: 2 });
  });

  it('START-12: are at least what it has registered, by either registry', async () => {
    const disk = new Disk();
    disk.rows = [
      { dekId: 2, writerId: 3, firstEpoch: 1, lastEpoch: 6 },
      { dekId: 5, writerId: 3, firstEpoch: 2, lastEpoch: 2 },
    ];
    const process = await Process.start(disk, { nodeId: 'c' });
    await process.lifecycle.adopt(await given(await peer()));
    expect(process.state.keys.get(2)?.nonceEpoch).toBe(6);
    expect(process.state.keys.get(5)?.nonceEpoch).toBe(3);
    expect(rowsOf(process)).toContain('2/3@1-6');
    expect(rowsOf(process)).toContain('5/3@1-3');
    expect(await process.lifecycle.claimNonceEpoch(2)).toMatchObject({ nonceEpoch: 7 });
  });

  it('are registered from the first one that either registry has', async () => {
    const disk = new Disk();
    disk.rows = [{ dekId: 5, writerId: 3, firstEpoch: 2, lastEpoch: 2 }];
    const process = await Process.start(disk, { nodeId: 'c' });
    const other = await given(await peer());
    await process.lifecycle.adopt(other);
    expect(rowsOf(process)).toContain('5/3@1-3');
    const later = other.rows.map((row) => ({ ...row, firstEpoch: row.lastEpoch }));
    await process.lifecycle.adopt({ ...other, rows: later });
    expect(rowsOf(process)).toContain('5/3@1-3');
    expect(process.performed.filter((effect) => effect.startsWith('rows'))).toHaveLength(1);
  });

  it('never fall', async () => {
    const process = await peer(life, 'a');
    await process.lifecycle.claimNonceEpoch(5);
    await process.lifecycle.claimNonceEpoch(5);
    const restarted = process.state.keys.get(5)?.nonceEpoch;
    await process.apply(0, 8n, registration('a', 4, 50));
    await process.lifecycle.adopt(await given(await peer()));
    expect(process.state.keys.get(5)?.nonceEpoch).toBe(restarted);
    expect(process.state.keys.get(4)?.nonceEpoch).toBe(50);
  });

  it('a joiner claims above what a leader registered for it', async () => {
    const disk = new Disk();
    const joiner = await Process.start(disk, { nodeId: 'd' });
    const { lifecycle } = joiner;
    const leader = await peer();
    await lifecycle.adopt(await given(leader));
    lifecycle.noteControlHead(7n);
    await expect(lifecycle.claimNonceEpoch(5)).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_WRITER_UNKNOWN'),
    );
    const admission = registration('d', 5, 1);
    for (const process of [leader, joiner]) await process.apply(0, 8n, admission);
    const claim = await lifecycle.claimNonceEpoch(5);
    expect(claim).toMatchObject({ writerId: 4, nonceEpoch: 2 });
    expect(lifecycle.isRegistered(5)).toBe(false);
    for (const process of [leader, joiner])
      await process.apply(0, 9n, registrationOf('d', 5, claim));
    expect(lifecycle.isRegistered(5)).toBe(true);
    // Under the other key it was never registered.
    const storage = await lifecycle.claimNonceEpoch(4);
    for (const process of [leader, joiner])
      await process.apply(0, 10n, registrationOf('d', 4, storage));
    expect(lifecycle.isRegistered(4)).toBe(true);
    expect(rowsOf(joiner)).toEqual(rowsOf(leader));
  });

  it('a joiner that was registered before it adopts claims 2 as well', async () => {
    const leader = await peer([...life, [0, 8n, registration('d', 5, 1)]]);
    const joiner = await Process.start(new Disk(), { nodeId: 'd' });
    await joiner.lifecycle.adopt(await given(leader));
    expect(await joiner.lifecycle.claimNonceEpoch(5)).toMatchObject({ writerId: 4, nonceEpoch: 2 });
  });

  it('invariant 3: a claim that another registration may have taken ends', async () => {
    const process = await peer(life, 'a');
    const claim = await process.lifecycle.claimNonceEpoch(5);
    expect(claim.nonceEpoch).toBe(2);
    // Not seen by this process: its own registration, or the one of a process on a copy.
    const other = await peer([...life, [0, 8n, registrationOf('a', 5, claim)]]);
    await process.lifecycle.adopt(await given(other));
    expect(process.lifecycle.claimOf(5)).toBeUndefined();
    expect(process.lifecycle.isRegistered(5)).toBe(false);
    expect(await process.lifecycle.claimNonceEpoch(5)).toMatchObject({ nonceEpoch: 3 });
  });

  it('invariant 3: a claim below an adopted registration ends, registered or not', async () => {
    const process = await peer(life, 'a');
    const claim = await process.lifecycle.claimNonceEpoch(5);
    await process.apply(0, 8n, registrationOf('a', 5, claim));
    expect(process.lifecycle.isRegistered(5)).toBe(true);
    const other = await peer([...life, [0, 9n, registration('a', 5, 3)]]);
    await process.lifecycle.adopt(await given(other));
    expect(process.lifecycle.claimOf(5)).toBeUndefined();
    expect(await process.lifecycle.claimNonceEpoch(5)).toMatchObject({ nonceEpoch: 4 });
  });

  it('a registered claim goes on, and one above what was adopted', async () => {
    const process = await peer(life, 'a');
    const claims = [
      await process.lifecycle.claimNonceEpoch(5),
      await process.lifecycle.claimNonceEpoch(4),
    ] as const;
    const registered = [0, 8n, registrationOf('a', 5, claims[0])] as const;
    await process.apply(...registered);
    const other = await peer([...life, registered, [0, 9n, await rotation(6, 'raft')]]);
    await process.lifecycle.adopt(await given(other));
    expect(process.lifecycle.isRegistered(5)).toBe(true);
    expect(process.lifecycle.claimOf(5)).toEqual(claims[0]);
    expect(process.lifecycle.claimOf(4)).toEqual(claims[1]);
  });

  it('invariant 3: after unseen registrations no new key is held at epoch 1', async () => {
    const process = await bootstrapped();
    expect(process.lifecycle.isRegistered(2)).toBe(true);
    const other = await peer([
      [0, 1n, await bootstrapEntry()],
      [0, 2n, registration('a', 1, 7)],
    ]);
    await process.lifecycle.adopt(await given(other));
    await process.apply(0, 3n, await rotation(5, 'raft'));
    expect(process.lifecycle.isRegistered(2)).toBe(true);
    expect(process.lifecycle.claimOf(5)).toBeUndefined();
  });
});

/** Everything that was applied on a replica, in the order in which it was. */
class Recorder extends Replica {
  readonly order: Placed[] = [];

  override apply(...placed: [number, bigint, KeyLifecycleEntry]): ReturnType<Replica['apply']> {
    this.order.push(placed);
    return super.apply(...placed);
  }
}

function orderOf(all: Logs, choices: readonly number[]): readonly Placed[] {
  const recorder = new Recorder();
  interleave(recorder, all, [...choices, 0, 1, 2]);
  return recorder.order;
}

const last = (order: readonly Placed[]): Map<number, bigint> => {
  const indexes = new Map<number, bigint>();
  for (const [shardId, index] of order) {
    if (index > (indexes.get(shardId) ?? 0n)) indexes.set(shardId, index);
  }
  return indexes;
};

/** Control entries first: whoever applied a marker has applied what it waits for. */
function upTo(order: readonly Placed[], indexes: ReadonlyMap<number, bigint>): Placed[] {
  return order
    .filter(([shardId, index]) => index <= (indexes.get(shardId) ?? 0n))
    .toSorted(([a], [b]) => Math.sign(a) - Math.sign(b));
}

describe('two replicas that are anywhere in their logs', () => {
  const choices = fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 30 });
  const share = fc.nat({ max: 100 });

  async function run(
    all: Logs,
    a: { choices: number[]; share: number },
    b: { choices: number[]; share: number },
  ): Promise<void> {
    const [whole, other] = [orderOf(all, a.choices), orderOf(all, b.choices)];
    const [done, given] = [
      whole.slice(0, Math.ceil((whole.length * a.share) / 100)),
      other.slice(0, Math.ceil((other.length * b.share) / 100)),
    ];
    const replica = new Replica('b');
    for (const placed of given) replica.apply(...placed);
    const replicated = replicatedKeyState(replica.state, replica.registry.rows());
    if (replicated === undefined) return;
    const process = await Process.start(new Disk());
    for (const placed of done) await process.apply(...placed);
    await process.lifecycle.adopt(replicated);

    const joint = new Replica('a');
    const furthest = last([...done, ...given]);
    for (const placed of upTo(whole, furthest)) joint.apply(...placed);
    expect(joint.haltedAt.size).toBe(0);
    expect(sharedState(process.state)).toEqual(sharedState(joint.state));
    expect(rowsOf(process)).toEqual(joint.rows);
    expectEpochsRegistered(process.state, process.registry.rows());

    const { state } = process;
    await process.lifecycle.adopt(replicated);
    expect(process.state).toBe(state);

    for (const placed of whole) await process.apply(...placed);
    const end = new Replica('a');
    for (const placed of whole) end.apply(...placed);
    expect(sharedState(process.state)).toEqual(sharedState(end.state));
    expect(rowsOf(process)).toEqual(end.rows);
    expectEpochsRegistered(process.state, process.registry.rows());
  }

  it('invariant 9: have the state of the longer log after one adopts, and go on alike', async () => {
    const place = fc.record({ choices, share });
    await fc.assert(fc.asyncProperty(logs(pool), place, place, run), { numRuns: 80 });
  });
});

function expectEpochsRegistered(state: KeyState, rows: readonly WriterRow[]): void {
  for (const { dekId, writerId, lastEpoch } of rows) {
    if (state.writers.get(writerId) !== state.nodeId) continue;
    expect(state.keys.get(dekId)?.nonceEpoch).toBeGreaterThanOrEqual(lastEpoch);
  }
}

describe('the state that is given away', () => {
  it('is that of one moment, between entries', async () => {
    const asked: Promise<Buffer | undefined>[] = [];
    const process = await Process.start(new Disk(), {
      // The rows are durable by now, the state is not.
      sidecar: { write: async () => void asked.push(process.lifecycle.exportKeyState()) },
    });
    await live(process, life.slice(0, 4));
    for (const [at, bytes] of (await Promise.all(asked)).entries()) {
      const { appliedIndex, rows } = await openReplicatedKeyState(
        bytes ?? Buffer.alloc(0),
        unwrapWith([kek]),
      );
      const then = await peer(life.slice(0, at + 1));
      expect(appliedIndex.get(0)).toBe(life[at]?.[1]);
      expect(rows.map(describeRow).sort()).toEqual(rowsOf(then));
    }
  });

  it('is adopted by the node that gave it without a change', async () => {
    const process = await peer(life, 'a');
    const before = localState(process.state);
    await process.lifecycle.adopt(await given(process));
    expect(localState(process.state)).toEqual(before);
  });
});
