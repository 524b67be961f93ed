import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { codeOf, type KeyState, RaftsealError } from '@raftseal/interface';
import { decodeSidecar, deriveMacKey, encodeSidecar } from '@raftseal/sidecar';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  decodeReplicatedKeyState,
  deriveReplicatedMacKey,
  encodeReplicatedKeyState,
  openReplicatedKeyState,
  REPLICATED_KEY_STATE_BYTES_MAX,
  type ReplicatedKeyState,
  replicatedKeyState,
  unwrapWith,
} from '../src/index.ts';
import { type KeyPool, keyPool } from './commands.ts';
import { interleave, logs, Replica } from './replica.ts';
import {
  bootstrapped,
  cutoverRequest,
  dekOf,
  emptyState,
  enableStorage,
  foreignKek,
  kek,
  marker,
  registration,
  rotation,
} from './world.ts';

const packr = new Packr({ useRecords: false });
const macKey = deriveReplicatedMacKey(dekOf(3));
const unwrapDek = unwrapWith([kek]);
const INVALID = expect.objectContaining({
  code: 'RAFTSEAL_APPLIER_KEY_STATE_INVALID',
  fatal: false,
});

let pool: KeyPool;
/** Of a node whose whole life has happened. */
let exported: Buffer;
let whole: ReplicatedKeyState;

beforeAll(async () => {
  pool = await keyPool();
  const process = await bootstrapped();
  await process.apply(0, 2n, registration('c', 2, 5));
  await process.apply(0, 3n, enableStorage(1));
  await process.apply(0, 4n, await rotation(5, 'raft'));
  await process.apply(0, 5n, cutoverRequest(5, 7, 8));
  await process.apply(7, 40n, marker(5, 5n));
  exported = (await process.lifecycle.exportKeyState()) ?? Buffer.alloc(0);
  whole = await openReplicatedKeyState(exported, unwrapDek);
});

/** The bytes of a value with a MAC that is right. */
function signed(value: unknown): Buffer {
  const payload = Buffer.from(packr.pack(value));
  return encodeWithMac(payload);
}

function encodeWithMac(payload: Uint8Array): Buffer {
  return Buffer.concat([payload, createHmac('sha256', macKey).update(payload).digest()]);
}

describe('a replicated key state', () => {
  it('SNAP-16: carries what the replicas share, and nothing of the node that gives it', async () => {
    expect(whole.appliedIndex).toEqual(
      new Map([
        [0, 5n],
        [7, 40n],
      ]),
    );
    expect([...whole.writers]).toEqual([
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ]);
    expect(whole.rows).toContainEqual({ dekId: 2, writerId: 3, firstEpoch: 5, lastEpoch: 5 });
    expect(whole.rows).toHaveLength(9);
    for (const key of whole.keys.values()) expect(key).not.toHaveProperty('nonceEpoch');
    expect(whole).not.toHaveProperty('nodeId');
    expect(whole).not.toHaveProperty('generation');
  });

  it('comes back as it was, for every state of a cluster', () => {
    fc.assert(
      fc.property(logs(pool), (all) => {
        const replica = new Replica();
        interleave(replica, all, [0, 1, 2]);
        const replicated = replicatedKeyState(replica.state, replica.registry.rows());
        if (replicated === undefined) return;
        const bytes = encodeReplicatedKeyState(replicated, macKey);
        const back = decodeReplicatedKeyState(bytes).verify(macKey);
        const byKey = (a: { dekId: number; writerId: number }, b: typeof a): number =>
          a.dekId - b.dekId || a.writerId - b.writerId;
        expect(back).toEqual({ ...replicated, rows: [...replicated.rows].sort(byKey) });
        expect(encodeReplicatedKeyState(back, macKey)).toEqual(bytes);
      }),
      { numRuns: 100 },
    );
  });

  it('does not exist before there are keys', () => {
    expect(replicatedKeyState(emptyState(), [])).toBeUndefined();
  });

  it('leaves out rows of keys and writers that its state has not', () => {
    const row = (dekId: number, writerId: number) => ({
      dekId,
      writerId,
      firstEpoch: 1,
      lastEpoch: 1,
    });
    const state: KeyState = {
      ...emptyState(),
      ...whole,
      keys: new Map([...whole.keys].map(([dekId, key]) => [dekId, { ...key, nonceEpoch: 9 }])),
    };
    const rows = [...whole.rows, row(77, 1), row(2, 9)];
    expect(replicatedKeyState(state, rows)?.rows).toEqual(whole.rows);
  });

  it('has the bytes that the format says', () => {
    const fixture = new URL('fixtures/replicated-key-state-1.hex', import.meta.url);
    const recorded = Buffer.from(readFileSync(fixture, 'utf8').trim(), 'hex');
    const state = decodeReplicatedKeyState(recorded).verify(macKey);
    expect(state).toEqual(fixed);
    expect(encodeReplicatedKeyState(fixed, macKey)).toEqual(recorded);
  });

  it('that cannot be is not given away', () => {
    const rows = whole.rows.filter(({ writerId }) => writerId !== 3);
    expect(() => encodeReplicatedKeyState({ ...whole, rows }, macKey)).toThrow(TypeError);
  });
});

/** Never changed: its bytes are recorded. */
const fixed: ReplicatedKeyState = {
  clusterId: new Uint8Array(16).fill(0xc1),
  appliedIndex: new Map([
    [0, 12n],
    [7, 0x8000_0000_0000_0000n],
  ]),
  cutoverIndex: new Map([
    [0, 9n],
    [7, 300n],
  ]),
  cutoverIntent: { controlIndex: 9n, waves: [[7], [8, 70_000]] },
  storageIndex: 4n,
  activeDekId: { storage: 1, raft: 0xffff_ffff, index: 3 },
  sealedClusterKeys: new Uint8Array(80).fill(5),
  keys: new Map([
    [1, fixedKey('storage', 1)],
    [3, fixedKey('index', 3)],
    [4, fixedKey('index', 2)],
    [0xffff_ffff, fixedKey('raft', 4)],
  ]),
  writers: new Map([
    [1, 'a'],
    [0xffff, 'ü'],
  ]),
  rows: [
    { dekId: 1, writerId: 1, firstEpoch: 1, lastEpoch: 200 },
    { dekId: 1, writerId: 0xffff, firstEpoch: 2, lastEpoch: 0xffff },
    { dekId: 0xffff_ffff, writerId: 1, firstEpoch: 1, lastEpoch: 1 },
  ],
  retired: new Map([[2, { purpose: 'raft', controlIndex: 11n }]]),
  sealedOnlyIndex: 12n,
  backups: new Map([['monday', { createdAtMs: 1_700_000_000_000, dekIds: [1, 3] }]]),
};

function fixedKey(purpose: 'storage' | 'raft' | 'index', at: number) {
  const wraps = [{ kekUri: `file:/${at}`, bytes: new Uint8Array(60).fill(at) }];
  return { purpose, wraps, createdAtMs: 1_700_000_000_000 + at };
}

describe('invariant 7: a replicated key state that is not the one that was given away', () => {
  it('with any byte changed is refused', async () => {
    for (let at = 0; at < exported.length; at++) {
      const changed = Buffer.from(exported);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      const opened = openReplicatedKeyState(changed, unwrapDek);
      const code = await opened.then(() => 'opened', codeOf);
      // A changed id or wrap of the index DEK is refused by the KEK that would open it.
      expect(
        [
          'RAFTSEAL_APPLIER_KEY_STATE_INVALID',
          'RAFTSEAL_KEK_MISMATCH',
          'RAFTSEAL_APPLIER_KEK_UNMATCHED',
        ],
        `byte ${at}`,
      ).toContain(code);
    }
  });

  it.each([
    ['an epoch of a writer', { rows: 'lower' }],
    [
      'a cutover index',
      {
        cutoverIndex: new Map([
          [0, 5n],
          [7, 39n],
        ]),
      },
    ],
    ['the active key', { activeDekId: { storage: 1, raft: 2, index: 3 } }],
    [
      'a writer',
      {
        writers: new Map([
          [1, 'a'],
          [2, 'x'],
          [3, 'c'],
        ]),
      },
    ],
  ])('with %s changed under the old MAC is refused', async (_, change) => {
    const rows =
      'rows' in change
        ? whole.rows.map((row) => ({ ...row, firstEpoch: 1, lastEpoch: 1 }))
        : whole.rows;
    const changed = encodeReplicatedKeyState(
      { ...whole, ...change, rows } as ReplicatedKeyState,
      Buffer.alloc(32, 1),
    );
    const mac = exported.subarray(-32);
    const forged = Buffer.concat([changed.subarray(0, -32), mac]);
    await expect(openReplicatedKeyState(forged, unwrapDek)).rejects.toEqual(INVALID);
    await expect(openReplicatedKeyState(changed, unwrapDek)).rejects.toEqual(INVALID);
  });

  it('whose MAC was made with the key of a sidecar is refused, and the other way round', async () => {
    const sidecarKey = deriveMacKey(dekOf(3));
    expect(sidecarKey).not.toEqual(macKey);
    const bytes = encodeReplicatedKeyState(whole, sidecarKey);
    await expect(openReplicatedKeyState(bytes, unwrapDek)).rejects.toEqual(INVALID);
    const { state } = (await bootstrapped()).lifecycle;
    const sidecar = decodeSidecar(encodeSidecar(state, { dekId: 3, macKey }));
    expect(() => sidecar.verify(sidecarKey)).toThrow(
      expect.objectContaining({ code: 'RAFTSEAL_SIDECAR_MAC' }),
    );
  });

  it('of a cluster under another KEK is refused by that KEK', async () => {
    await expect(openReplicatedKeyState(exported, unwrapWith([foreignKek]))).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_MISMATCH',
    });
  });

  it('cut short or extended is refused, and never crashes the decoder', () => {
    for (let length = 0; length < exported.length; length++) {
      expect(() => decodeReplicatedKeyState(exported.subarray(0, length)).verify(macKey)).toThrow(
        INVALID,
      );
    }
    expect(() => decodeReplicatedKeyState(Buffer.concat([exported, Buffer.alloc(1)]))).toThrow(
      INVALID,
    );
    expect(() =>
      decodeReplicatedKeyState(Buffer.alloc(REPLICATED_KEY_STATE_BYTES_MAX + 1)),
    ).toThrow(INVALID);
  });

  it('made of arbitrary bytes is refused, with a right MAC as well', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
        for (const bytes of [noise, encodeWithMac(noise)]) {
          expect(() => decodeReplicatedKeyState(bytes)).toThrow(INVALID);
        }
      }),
    );
  });
});

describe('a replicated key state that cannot be is refused though its MAC is right', () => {
  const fields = (): unknown[] => packr.unpack(exported.subarray(0, -32)) as unknown[];
  const at = (place: number, value: unknown): Buffer => {
    const list = fields();
    list[place] = value;
    return signed(list);
  };

  it('as it is it opens', () => {
    expect(decodeReplicatedKeyState(signed(fields())).state.appliedIndex.get(0)).toBe(5n);
  });

  const wrap = ['k', Buffer.from('w')];
  const cases: readonly (readonly [string, number, unknown])[] = [
    ['of another version', 0, 2],
    ['with cluster keys and one index DEK', 13, Buffer.alloc(80)],
    ['with cluster keys as text', 13, 'sealed'],
    ['with a short cluster id', 1, Buffer.alloc(15)],
    ['that applied nothing', 2, []],
    [
      'with a shard twice',
      2,
      [
        [0, 5n],
        [7, 40n],
        [7, 40n],
      ],
    ],
    [
      'with shards that descend',
      2,
      [
        [7, 40n],
        [0, 5n],
      ],
    ],
    [
      'with a cutover that is not applied',
      2,
      [
        [0, 5n],
        [7, 39n],
      ],
    ],
    [
      'with a cutover at 0',
      3,
      [
        [0, 5n],
        [7, 0n],
      ],
    ],
    ['with a request and no cutover of the control shard', 3, [[7, 40n]]],
    ['with a cutover and no request', 4, null],
    ['with a request elsewhere', 4, [4n, [[7, 8]]]],
    ['with a request that names a shard twice', 4, [5n, [[7], [7]]]],
    ['with values sealed later than applied', 5, 6n],
    ['with values sealed from 0', 5, 0n],
    ['with an active key that is not there', 6, [1, 9, 3]],
    ['with an active key of another purpose', 6, [1, 1, 3]],
    ['with two purposes', 6, [1, 5]],
    ['without keys', 7, []],
    ['with a key without wraps', 7, [[1, 1, [], 1n]]],
    [
      'with a key twice',
      7,
      [
        [1, 1, [wrap], 1n],
        [1, 1, [wrap], 1n],
      ],
    ],
    ['with a nonce epoch', 7, [[1, 1, [wrap], 1n, 4]]],
    ['with an unknown purpose', 7, [[4, 1, [wrap], 1n]]],
    ['with writer 0', 8, [[0, 'a']]],
    ['with a writer past u16', 8, [[65_536, 'a']]],
    [
      'with a node that has two writer ids',
      8,
      [
        [1, 'a'],
        [2, 'b'],
        [3, 'b'],
      ],
    ],
    [
      'with a writer without a row',
      8,
      [
        [1, 'a'],
        [2, 'b'],
        [3, 'c'],
        [4, 'd'],
      ],
    ],
    [
      'with a row of no writer',
      8,
      [
        [1, 'a'],
        [2, 'b'],
      ],
    ],
    [
      'with a row of no key',
      9,
      [
        [1, 1, 1, 1],
        [1, 2, 1, 1],
        [2, 3, 5, 5],
        [9, 1, 1, 1],
      ],
    ],
    [
      'with a row of the index DEK',
      9,
      [
        [1, 1, 1, 1],
        [1, 2, 1, 1],
        [2, 3, 5, 5],
        [3, 1, 1, 1],
      ],
    ],
    [
      'with a row twice',
      9,
      [
        [1, 1, 1, 1],
        [1, 1, 1, 1],
        [1, 2, 1, 1],
        [2, 3, 5, 5],
      ],
    ],
    [
      'with rows that descend',
      9,
      [
        [2, 3, 5, 5],
        [1, 1, 1, 1],
        [1, 2, 1, 1],
      ],
    ],
    [
      'with epochs that descend',
      9,
      [
        [1, 1, 2, 1],
        [1, 2, 1, 1],
        [2, 3, 5, 5],
      ],
    ],
    [
      'with epoch 0',
      9,
      [
        [1, 1, 0, 1],
        [1, 2, 1, 1],
        [2, 3, 5, 5],
      ],
    ],
    [
      'with an epoch past 65535',
      9,
      [
        [1, 1, 1, 65_536],
        [1, 2, 1, 1],
        [2, 3, 5, 5],
      ],
    ],
    ['with a map', 9, { a: 1 }],
    ['with a float', 5, 4.5],
    ['with a Date', 5, new Date(0)],
  ];

  it.each(cases)('%s', (_, place, value) => {
    expect(() => decodeReplicatedKeyState(at(place, value))).toThrow(INVALID);
  });

  it('with a field too few or too many', () => {
    expect(() => decodeReplicatedKeyState(signed(fields().slice(0, -1)))).toThrow(INVALID);
    expect(() => decodeReplicatedKeyState(signed([...fields(), 1]))).toThrow(INVALID);
    expect(() => decodeReplicatedKeyState(signed({}))).toThrow(INVALID);
  });

  it('HAZARD TSH-09: shares no memory with the bytes it was decoded from', () => {
    const source = Buffer.from(exported);
    const { state } = decodeReplicatedKeyState(source);
    source.fill(0xee);
    expect(state).toEqual(whole);
  });

  it('says nothing of keys or wraps in its errors', () => {
    const secret = Buffer.alloc(60, 'wrapped-key-bytes');
    try {
      decodeReplicatedKeyState(at(7, [[1, 1, [['', secret]], 1n]]));
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(RaftsealError);
      expect((error as Error).message).not.toContain('wrapped-key');
    }
  });
});
