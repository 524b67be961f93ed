/** Key states for tests: one that is written out, and an arbitrary of all that may be on disk. */
import { randomBytes } from 'node:crypto';
import type { KeyPurpose, KeyRecord, KeyState } from '@raftseal/interface';
import fc from 'fast-check';
import { deriveMacKey, type SidecarMac } from '../src/index.ts';

export const clusterId: Uint8Array = Uint8Array.from({ length: 16 }, (_, at) => at + 1);

/** The DEK that the MAC of {@link sampleState} derives from. */
export const macDek: Uint8Array = Uint8Array.from({ length: 32 }, (_, at) => 255 - at);

export const mac: SidecarMac = { dekId: 0x2000_0002, macKey: deriveMacKey(macDek) };

function key(purpose: KeyPurpose, fill: number, parts: Partial<KeyRecord> = {}): KeyRecord {
  const wraps = [{ kekUri: 'file:/etc/raftseal/kek', bytes: new Uint8Array(60).fill(fill) }];
  return { purpose, wraps, createdAtMs: 1_760_000_000_000, nonceEpoch: 3, ...parts };
}

/** A cluster after storage was sealed, shard 1 was cut over, and raft and index DEK were rotated. */
export function sampleState(parts: Partial<KeyState> = {}): KeyState {
  return {
    clusterId,
    nodeId: 'node-a',
    generation: 7n,
    appliedIndex: new Map([
      [0, 2n ** 53n + 1n],
      [1, 4_000n],
    ]),
    cutoverIndex: new Map([
      [0, 2n ** 53n],
      [1, 3_999n],
    ]),
    cutoverIntent: { controlIndex: 2n ** 53n, waves: [[0], [1, 2]] },
    storageIndex: 12n,
    activeDekId: { storage: 0x1000_0001, raft: 0x2000_0002, index: 0xffff_ffff },
    keys: new Map([
      [0x1000_0001, key('storage', 0x11)],
      [0x2000_0001, key('raft', 0x21, { nonceEpoch: 0xffff })],
      [0x2000_0002, key('raft', 0x22)],
      [0xffff_fffe, key('index', 0x32, { nonceEpoch: 0 })],
      [0xffff_ffff, key('index', 0x33, { nonceEpoch: 0 })],
    ]),
    retired: new Map([[0x1000_0000, { purpose: 'storage', controlIndex: 2n ** 53n - 1n }]]),
    sealedOnlyIndex: 2n ** 53n + 1n,
    writers: new Map([
      [1, 'node-a'],
      [65_535, 'node-b'],
    ]),
    backups: new Map([
      ['2025-10-01', { createdAtMs: 1_760_000_000_000, dekIds: [0x1000_0001, 0x2000_0001] }],
    ]),
    sealedClusterKeys: new Uint8Array(80).fill(0x44),
    ...parts,
  };
}

/** {@link sampleState} with the record of one key changed. */
export function withRecord(dekId: number, parts: Partial<KeyRecord>): KeyState {
  const state = sampleState();
  const record = state.keys.get(dekId);
  if (record === undefined) throw new Error(`the sample has no DEK ${dekId}`);
  return { ...state, keys: new Map(state.keys).set(dekId, { ...record, ...parts }) };
}

/** The state of a later write, of about `bytes` bytes on disk. */
export function nextState(generation: bigint, bytes = 0): KeyState {
  const wraps = [{ kekUri: 'test:', bytes: randomBytes(1_000) }];
  const keys = new Map(sampleState().keys);
  for (let count = 1; count <= bytes / 1_000; count++) {
    keys.set(count, { purpose: 'storage', wraps, createdAtMs: 0, nonceEpoch: 0 });
  }
  return sampleState({ generation, keys });
}

const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const dekId = fc.integer({ min: 1, max: 0xffff_ffff });
const index = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n });
const text = fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' });
const purposes = ['storage', 'raft', 'index'] as const;

function mapOf<Value>(ids: fc.Arbitrary<number>, values: fc.Arbitrary<Value>, minLength = 0) {
  return fc
    .uniqueArray(fc.tuple(ids, values), { minLength, maxLength: 6, selector: ([id]) => id })
    .map((entries) => new Map(entries));
}

const record: fc.Arbitrary<Omit<KeyRecord, 'purpose'>> = fc.record({
  wraps: fc.uniqueArray(
    fc.record({ kekUri: text, bytes: fc.uint8Array({ minLength: 1, maxLength: 300 }) }),
    { minLength: 1, maxLength: 3, selector: ({ kekUri }) => kekUri },
  ),
  createdAtMs: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  nonceEpoch: u16,
});

/** Every state that may be on disk, up to a size. */
export const keyStates: fc.Arbitrary<KeyState> = fc
  .record({
    clusterId: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    nodeId: text,
    generation: index,
    appliedIndex: mapOf(u32, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
    cutoverIndex: mapOf(u32, index),
    cutoverIntent: fc.option(
      fc.record({
        controlIndex: index,
        waves: fc.uniqueArray(u32, { maxLength: 5 }).map((ids) => [ids.slice(0, 2), ids.slice(2)]),
      }),
      { nil: undefined },
    ),
    storageIndex: fc.option(index, { nil: undefined }),
    records: mapOf(dekId, record, 3),
    writers: mapOf(fc.integer({ min: 1, max: 0xffff }), text),
    retired: mapOf(
      dekId,
      fc.record({ purpose: fc.constantFrom<KeyPurpose>(...purposes), controlIndex: index }),
    ),
    sealedOnly: fc.option(index, { nil: undefined }),
    backupIds: fc.uniqueArray(text, { maxLength: 3 }),
    clusterKeys: fc.uint8Array({ minLength: 80, maxLength: 80 }),
  })
  .map(({ records, retired, sealedOnly, backupIds, clusterKeys, ...state }) => {
    const dekIds = [...records.keys()];
    const keys = new Map(
      [...records].map(([id, parts], at): [number, KeyRecord] => [
        id,
        { ...parts, purpose: purposes[at % 3] ?? 'raft' },
      ]),
    );
    const [storage = 0, raft = 0, index = 0] = dekIds;
    const needed = dekIds.toSorted((a, b) => a - b);
    const gone = new Map([...retired].filter(([id]) => !keys.has(id)));
    const indexDeks = [...keys.values(), ...gone.values()].filter(
      ({ purpose }) => purpose === 'index',
    );
    return {
      ...state,
      keys,
      sealedClusterKeys: indexDeks.length > 1 ? clusterKeys : undefined,
      activeDekId: { storage, raft, index },
      retired: gone,
      sealedOnlyIndex: state.storageIndex === undefined ? undefined : sealedOnly,
      backups: new Map(
        backupIds.map((id, at) => [id, { createdAtMs: at, dekIds: needed.slice(at) }]),
      ),
    };
  });
