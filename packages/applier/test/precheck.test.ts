import type { KeyState } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import {
  decodeEntry,
  type KeyLifecycleEntry,
  MemoryWriterRegistry,
  type NewKey,
  type Precheck,
  precheck,
  transition,
  unwrapWith,
  WRITER_ID_MAX,
} from '../src/index.ts';
import {
  bootstrapEntry,
  bootstrapped,
  clusterId,
  cutoverRequest,
  dekOf,
  emptyState,
  enableStorage,
  foreignKek,
  foreignKey,
  kek,
  marker,
  newKey,
  type Process,
  registration,
  rotation,
  sealedUnder,
} from './world.ts';

const unwrapDek = unwrapWith([kek]);
const refused = (code: string): unknown => expect.objectContaining({ code, fatal: false });

function ask(process: Process, entry: KeyLifecycleEntry, shardId = 0): Promise<Precheck> {
  const { state, registry } = process;
  return precheck({ state, registry, unwrapDek }, { shardId, entry });
}

function askEmpty(entry: KeyLifecycleEntry): Promise<Precheck> {
  const registry = new MemoryWriterRegistry();
  return precheck({ state: emptyState(), registry, unwrapDek }, { shardId: 0, entry });
}

describe('before it proposes, a leader refuses', () => {
  it('invariant 11: wraps of another key, which would only show at the next start', async () => {
    const process = await bootstrapped();
    const rewrapTo = async (key: Promise<NewKey>): Promise<KeyLifecycleEntry> => {
      const { dekId, wraps } = await key;
      return { kind: 'rewrap-deks', keys: [{ dekId, wraps }] };
    };
    const ofAnotherPurpose = await rewrapTo(newKey(2, 'storage'));
    await expect(ask(process, ofAnotherPurpose)).rejects.toEqual(refused('RAFTSEAL_KEK_MISMATCH'));
    const otherBytes = await kek.wrapKey(dekOf(9), { clusterId, dekId: 2, purpose: 'raft' });
    const wraps = [{ kekUri: kek.kekUri, bytes: otherBytes }];
    const ofAnotherKey: KeyLifecycleEntry = { kind: 'rewrap-deks', keys: [{ dekId: 2, wraps }] };
    const conflict = refused('RAFTSEAL_APPLIER_DEK_CONFLICT');
    await expect(ask(process, ofAnotherKey)).rejects.toEqual(conflict);
    const again = await rewrapTo(newKey(2, 'raft'));
    expect((await ask(process, again)).outcome).toMatchObject({ kind: 'no-op' });
  });

  it('HAZARD ABOOT-18, ADM-20: a second Bootstrap, even the same one', async () => {
    const process = await bootstrapped();
    const code = 'RAFTSEAL_APPLIER_ALREADY_BOOTSTRAPPED';
    await expect(ask(process, await bootstrapEntry())).rejects.toEqual(refused(code));
    const other = await bootstrapEntry({ writers: ['z'] });
    await expect(ask(process, other)).rejects.toEqual(refused(code));
  });

  it('HAZARD ABOOT-17: a Bootstrap after a rotation, which replays without a halt', async () => {
    const process = await bootstrapped();
    await process.apply(0, 2n, await rotation(4, 'storage'));
    await expect(ask(process, await bootstrapEntry())).rejects.toThrow();
    expect(await process.apply(0, 1n, await bootstrapEntry())).toEqual({ kind: 'replayed' });
    expect(process.state.activeDekId.storage).toBe(4);
  });

  it('HAZARD ABOOT-19, ADM-20: a wrap that this KEK does not open, in Bootstrap and rotation', async () => {
    const keys = [
      await newKey(1, 'storage'),
      await newKey(2, 'raft'),
      await foreignKey(3, 'index'),
    ];
    const mismatch = refused('RAFTSEAL_KEK_MISMATCH');
    await expect(askEmpty(await bootstrapEntry({ keys }))).rejects.toEqual(mismatch);
    const rotate = { kind: 'rotate-dek', ...(await foreignKey(9, 'raft')) } as const;
    await expect(ask(await bootstrapped(), rotate)).rejects.toEqual(mismatch);
  });

  it('a wrap that is bound to another id, purpose or cluster', async () => {
    const { wraps } = await newKey(9, 'raft');
    const process = await bootstrapped();
    const mismatch = refused('RAFTSEAL_KEK_MISMATCH');
    const base = { kind: 'rotate-dek', wraps, createdAtMs: 1 } as const;
    expect(await ask(process, { ...base, dekId: 9, purpose: 'raft' })).toBeDefined();
    for (const moved of [
      { ...base, dekId: 10, purpose: 'raft' },
      { ...base, dekId: 9, purpose: 'storage' },
    ] as const) {
      await expect(ask(process, moved)).rejects.toEqual(mismatch);
    }
    const elsewhere = await bootstrapEntry({ clusterId: new Uint8Array(16).fill(0xee) });
    await expect(askEmpty(elsewhere)).rejects.toEqual(mismatch);
  });

  it('a wrap under a KEK that is not configured', async () => {
    const key = {
      ...(await newKey(9, 'raft')),
      wraps: [{ kekUri: 'x:y', bytes: new Uint8Array(9) }],
    };
    await expect(ask(await bootstrapped(), { kind: 'rotate-dek', ...key })).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_KEK_UNMATCHED'),
    );
  });

  it('HAZARD AROT-07: everything but Bootstrap before Bootstrap', async () => {
    const code = refused('RAFTSEAL_APPLIER_NOT_BOOTSTRAPPED');
    await expect(askEmpty(await rotation(4, 'storage'))).rejects.toEqual(code);
    await expect(askEmpty(enableStorage(1))).rejects.toEqual(code);
    await expect(askEmpty(cutoverRequest(2))).rejects.toEqual(code);
    await expect(askEmpty(registration('a', 1, 1))).rejects.toEqual(code);
  });

  it('AROT-08: a DEK id that is present or 0', async () => {
    const process = await bootstrapped();
    const conflict = refused('RAFTSEAL_APPLIER_DEK_CONFLICT');
    await expect(ask(process, await rotation(1, 'storage'))).rejects.toEqual(conflict);
    await expect(ask(process, await rotation(2, 'storage'))).rejects.toEqual(conflict);
    const zero = { kind: 'rotate-dek', ...(await newKey(9, 'raft')), dekId: 0 } as const;
    await expect(ask(process, zero)).rejects.toEqual(refused('RAFTSEAL_APPLIER_ENTRY_MALFORMED'));
  });

  it('an index DEK that brings other cluster keys along, or none that open', async () => {
    const process = await bootstrapped();
    const rotate = await rotation(9, 'index');
    await expect(ask(process, { ...rotate, sealedClusterKeys: sealedUnder(9, 4) })).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_CLUSTER_KEYS'),
    );
    await expect(
      ask(process, { ...rotate, sealedClusterKeys: sealedUnder(10) }),
    ).rejects.toMatchObject({ code: 'RAFTSEAL_ENVELOPE_INTEGRITY', fatal: false });
    const { sealedClusterKeys: _, ...without } = rotate;
    await expect(ask(process, without)).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_ENTRY_MALFORMED'),
    );
    expect((await ask(process, rotate)).outcome).toEqual({ kind: 'applied' });
  });

  it('HAZARD ADM-23, ADM-24: a stale epoch, of any node', async () => {
    const process = await bootstrapped();
    await process.apply(0, 2n, registration('b', 1, 5));
    await expect(ask(process, registration('b', 1, 4))).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_EPOCH_STALE'),
    );
    expect((await ask(process, registration('b', 1, 5))).outcome).toEqual({
      kind: 'no-op',
      reason: 'already-registered',
    });
    expect((await ask(process, registration('b', 1, 6))).outcome).toEqual({ kind: 'applied' });
  });

  it('HAZARD REG-20, ADM-24: no two nodes under one writer id, however their requests race', async () => {
    const process = await bootstrapped();
    // Both were checked on the same state; both apply, under ids of their own.
    const [c, d] = [registration('c', 1, 1), registration('d', 1, 1)];
    await Promise.all([ask(process, c), ask(process, d)]);
    await process.apply(0, 2n, c);
    await process.apply(0, 3n, d);
    expect([process.state.writers.get(3), process.state.writers.get(4)]).toEqual(['c', 'd']);
  });

  it('a registration under an unknown or the index DEK', async () => {
    const process = await bootstrapped();
    await expect(ask(process, registration('a', 77, 1))).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_DEK_UNKNOWN'),
    );
    await expect(ask(process, registration('a', 3, 1))).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_DEK_PURPOSE'),
    );
  });

  it('a new writer when every id has been given', async () => {
    const { state: few, registry } = await bootstrapped();
    const state: KeyState = { ...few, writers: new Map([[WRITER_ID_MAX, 'z']]) };
    const entry = registration('c', 1, 1);
    const code = 'RAFTSEAL_APPLIER_WRITERS_EXHAUSTED';
    await expect(precheck({ state, registry, unwrapDek }, { shardId: 0, entry })).rejects.toEqual(
      refused(code),
    );
    expect(() => transition(state, { shardId: 0, index: 9n, registry }, entry)).toThrow(
      expect.objectContaining({ code, fatal: true }),
    );
  });

  it.each([1600, 2100])('what would outgrow the sidecar (%s long ids)', async (count) => {
    const { state: few, registry } = await bootstrapped();
    const writers = new Map<number, string>();
    for (let id = 1; id <= count; id++) writers.set(id, `${id}`.padStart(2000, 'x'));
    const state: KeyState = { ...few, writers };
    const asked = (nodeId: string): Promise<Precheck> =>
      precheck({ state, registry, unwrapDek }, { shardId: 0, entry: registration(nodeId, 1, 1) });
    await expect(asked('c'.repeat(2000))).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_STATE_TOO_LARGE'),
    );
    expect((await asked(writers.get(7) ?? '')).outcome).toEqual({ kind: 'applied' });
  });

  it('an entry of the wrong shard, or a marker without its request', async () => {
    const process = await bootstrapped();
    await expect(ask(process, enableStorage(1), 7)).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_WRONG_SHARD'),
    );
    await expect(ask(process, marker(2, 1n), 7)).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_CONTROL_INDEX'),
    );
  });
});

describe('what a leader may propose', () => {
  it('comes encoded, with the outcome it would have', async () => {
    const process = await bootstrapped();
    const entry = enableStorage(1);
    const { body, outcome } = await ask(process, entry);
    expect(decodeEntry(body)).toEqual(entry);
    expect(outcome).toEqual({ kind: 'applied' });
    expect((await askEmpty(await bootstrapEntry())).outcome).toEqual({ kind: 'applied' });
  });

  it('ADM-27: shows as a no-op where it is so already', async () => {
    const process = await bootstrapped();
    await process.apply(0, 2n, enableStorage(1));
    await process.apply(0, 3n, cutoverRequest(2));
    const active = { kind: 'no-op', reason: 'already-active' };
    expect((await ask(process, enableStorage(1))).outcome).toEqual(active);
    expect((await ask(process, cutoverRequest(2))).outcome).toEqual(active);
    expect((await ask(process, enableStorage(9))).outcome).toEqual({
      kind: 'no-op',
      reason: 'stale-dek',
    });
  });

  it('is refused where apply would wait for the control shard, also for a repeated marker', async () => {
    const process = await bootstrapped();
    await process.apply(0, 2n, cutoverRequest(2));
    const marker = (controlIndex: bigint): KeyLifecycleEntry => ({
      kind: 'enable-raft',
      dekId: 2,
      controlIndex,
    });
    await process.apply(1, 1n, marker(2n));
    const { state, registry } = process;
    const parts = { state, registry, unwrapDek: unwrapWith([kek]) };
    const asked = (controlIndex: bigint) =>
      precheck(parts, { shardId: 1, entry: marker(controlIndex) });
    expect((await asked(2n)).outcome).toEqual({ kind: 'no-op', reason: 'already-active' });
    await expect(asked(3n)).rejects.toMatchObject({
      code: 'RAFTSEAL_APPLIER_CONTROL_INDEX',
      fatal: false,
    });
  });

  it('is asked of the state alone: nothing is changed, and every DEK is wiped', async () => {
    const process = await bootstrapped();
    const before = process.state;
    const handed: Uint8Array[] = [];
    const entry = await rotation(9, 'raft');
    await precheck(
      {
        state: before,
        registry: process.registry,
        unwrapDek: async (key, binding) => {
          const dek = await unwrapDek(key, binding);
          handed.push(dek);
          return dek;
        },
      },
      { shardId: 0, entry },
    );
    expect(process.state).toBe(before);
    expect(handed.map((dek) => Buffer.from(dek).toString('hex'))).toEqual(['00'.repeat(32)]);
  });
});

describe('a key with several wraps', () => {
  const binding = { clusterId: new Uint8Array(16), dekId: 9, purpose: 'raft' } as const;

  it('opens with whichever KEK is there and can be reached', async () => {
    const dek = new Uint8Array(32).fill(5);
    const bytes = await kek.wrapKey(dek, binding);
    const down = {
      ...foreignKek,
      kekUri: 'down',
      unwrapKey: () => Promise.reject(new Error('down')),
    };
    const key = {
      purpose: 'raft' as const,
      createdAtMs: 1,
      nonceEpoch: 1,
      wraps: [
        { kekUri: 'elsewhere', bytes },
        { kekUri: 'down', bytes },
        { kekUri: kek.kekUri, bytes },
      ],
    };
    expect(Buffer.from(await unwrapWith([down, kek])(key, binding))).toEqual(Buffer.from(dek));
    await expect(unwrapWith([down])(key, binding)).rejects.toThrow('down');
    await expect(unwrapWith([])(key, binding)).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_KEK_UNMATCHED'),
    );
  });
});
