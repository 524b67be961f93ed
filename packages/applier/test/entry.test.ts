import { codeOf, type KeyPurpose, RaftsealError } from '@raftseal/interface';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import {
  decodeEntry,
  ENTRY_BYTES_MAX,
  encodeEntry,
  type KeyLifecycleEntry,
  MemoryWriterRegistry,
  transition,
} from '../src/index.ts';
import { bootstrapEntry, emptyState, rotationTo } from './world.ts';

const packr = new Packr({ useRecords: false });
const pack = (value: unknown): Buffer => Buffer.from(packr.pack(value));

/** What refused: a code, or undefined where nothing did. Only fatal errors may. */
function refusal(bytes: Uint8Array): string | undefined {
  try {
    decodeEntry(bytes);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(RaftsealError);
    expect((error as RaftsealError).fatal).toBe(true);
    return codeOf(error);
  }
}

const MALFORMED = 'RAFTSEAL_APPLIER_ENTRY_MALFORMED';

const u32 = fc.oneof(
  fc.integer({ min: 1, max: 0xffff_ffff }),
  fc.constantFrom(1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff),
);
const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 80 });
const bytes = (minLength: number, maxLength: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength, maxLength });
const createdAtMs = fc.oneof(
  fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  fc.constantFrom(0, Number.MAX_SAFE_INTEGER),
);
const wraps = fc.uniqueArray(text, { minLength: 1, maxLength: 4 }).chain((kekUris) =>
  fc.tuple(
    ...kekUris.map((kekUri) =>
      fc.record({
        kekUri: fc.constant(kekUri),
        bytes: bytes(1, 300),
      }),
    ),
  ),
);
const key = (purpose: KeyPurpose, dekId: number) =>
  fc.record({ dekId: fc.constant(dekId), purpose: fc.constant(purpose), wraps, createdAtMs });
const controlIndex = fc.oneof(
  fc.bigInt({ min: 1n, max: 0xffff_ffff_ffff_ffffn }),
  fc.constantFrom(1n, 0x7fff_ffff_ffff_ffffn, 0x8000_0000_0000_0000n, 0xffff_ffff_ffff_ffffn),
);

const ascending = (ids: readonly number[]): number[] => ids.toSorted((a, b) => a - b);

const entries: fc.Arbitrary<KeyLifecycleEntry> = fc.oneof(
  fc.uniqueArray(u32, { minLength: 3, maxLength: 3 }).chain(([a = 1, b = 2, c = 3]) =>
    fc.record({
      kind: fc.constant('bootstrap' as const),
      clusterId: bytes(16, 16),
      keys: fc.tuple(key('storage', a), key('raft', b), key('index', c)),
      writers: fc.uniqueArray(text, { minLength: 1, maxLength: 20 }),
    }),
  ),
  fc.record({
    kind: fc.constant('register' as const),
    nodeId: text,
    dekId: u32,
    epoch: fc.integer({ min: 1, max: 0xffff }),
  }),
  fc.record({
    kind: fc.constant('register' as const),
    nodeId: text,
    dekId: u32,
    epoch: fc.integer({ min: 1, max: 0xffff }),
    claimId: bytes(16, 16),
  }),
  fc
    .tuple(fc.constantFrom<KeyPurpose>('storage', 'raft', 'index'), u32)
    .chain(([purpose, dekId]) => key(purpose, dekId))
    .map(rotationTo),
  u32.map((dekId) => ({ kind: 'enable-storage' as const, dekId })),
  fc.record({ kind: fc.constant('enable-raft' as const), dekId: u32, controlIndex }),
  fc.record({
    kind: fc.constant('enable-raft' as const),
    dekId: u32,
    controlIndex: fc.constant(0n),
    waves: fc.uniqueArray(u32, { maxLength: 20 }).map((ids) => ids.map((id) => [id])),
  }),
  fc
    .uniqueArray(u32, { minLength: 1, maxLength: 5 })
    .chain((ids) =>
      fc.tuple(...ascending(ids).map((dekId) => wraps.map((w) => ({ dekId, wraps: w })))),
    )
    .map((keys) => ({ kind: 'rewrap-deks' as const, keys })),
  u32.map((dekId) => ({ kind: 'retire-dek' as const, dekId })),
  fc.constant({ kind: 'enable-sealed-only' as const }),
  fc.record({
    kind: fc.constant('register-backup' as const),
    backupId: text,
    createdAtMs,
    dekIds: fc.uniqueArray(u32, { maxLength: 9 }).map(ascending),
  }),
  text.map((backupId) => ({ kind: 'forget-backup' as const, backupId })),
);

describe('a key-lifecycle entry', () => {
  it('FW-01: decodes to what was encoded', () => {
    fc.assert(
      fc.property(entries, (entry) => {
        expect(decodeEntry(encodeEntry(entry))).toEqual(entry);
      }),
    );
  });

  it('FW-03: cut short at any byte is refused, and never crashes the decoder', () => {
    fc.assert(
      fc.property(entries, (entry) => {
        const whole = encodeEntry(entry);
        for (let length = 0; length < whole.length; length += 1 + Math.floor(whole.length / 200)) {
          expect(refusal(whole.subarray(0, length))).toBe(MALFORMED);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('FW-04: with bytes after its end is refused', () => {
    fc.assert(
      fc.property(entries, bytes(1, 4), (entry, more) => {
        expect(refusal(Buffer.concat([encodeEntry(entry), more]))).toBe(MALFORMED);
      }),
      { numRuns: 50 },
    );
  });

  it('changed in any byte either decodes to a possible entry or is refused as fatal', () => {
    fc.assert(
      fc.property(entries, fc.nat(), fc.integer({ min: 1, max: 255 }), (entry, at, flip) => {
        const changed = Uint8Array.from(encodeEntry(entry));
        changed[at % changed.length] = (changed[at % changed.length] ?? 0) ^ flip;
        if (refusal(changed) === undefined) encodeEntry(decodeEntry(changed));
      }),
      { numRuns: 500 },
    );
  });

  it('made of arbitrary bytes is refused as fatal', () => {
    fc.assert(fc.property(bytes(0, 200), (noise) => refusal(noise) !== undefined));
  });

  it('FW-17: of an unknown version or kind is refused, never skipped', () => {
    expect(refusal(pack([2, 4, 7]))).toBe('RAFTSEAL_APPLIER_ENTRY_VERSION');
    expect(refusal(pack([1, 0, 7]))).toBe('RAFTSEAL_APPLIER_ENTRY_VERSION');
    for (const reserved of [11, 12, 13, 255]) {
      expect(refusal(pack([1, reserved, 7]))).toBe('RAFTSEAL_APPLIER_ENTRY_VERSION');
    }
  });

  it.each([
    ['a field too many', [1, 4, 7, 0]],
    ['a field too few', [1, 2, 'a', 7]],
    ['a map', { version: 1 }],
    ['a map for a field', [1, 2, { a: 1 }, 7, 1]],
    ['a float', [1, 4, 7.5]],
    ['an integer sent as a float', [1, 5, 7, 2 ** 40, null]],
    ['a negative number', [1, 4, -7]],
    ['a negative 64-bit number', [1, 5, 7, -1n, null]],
    ['a boolean', [1, 4, true]],
    ['text for a number', [1, 4, '7']],
    ['a number for text', [1, 2, 65, 7, 1]],
    ['nil for a number', [1, 4, null]],
    ['DEK id 0', [1, 4, 0]],
    ['a DEK id past u32', [1, 4, 2 ** 32]],
    ['epoch 0', [1, 2, 'a', 7, 0]],
    ['an epoch past 65535', [1, 2, 'a', 7, 65_536]],
    ['nil for a claim id', [1, 2, 'a', 7, 1, null]],
    ['a short claim id', [1, 2, 'a', 7, 1, Buffer.alloc(15)]],
    ['a long claim id', [1, 2, 'a', 7, 1, Buffer.alloc(17)]],
    ['a field after the claim id', [1, 2, 'a', 7, 1, Buffer.alloc(16), 0]],
    ['an unknown purpose', [1, 3, 4, 7, [['k', Buffer.from('w')]], 1n, null]],
    ['no wraps', [1, 3, 1, 7, [], 1n, null]],
    ['an index DEK alone', [1, 3, 3, 7, [['k', Buffer.from('w')]], 1n, null]],
    ['cluster keys of 79 bytes', [1, 3, 3, 7, [['k', Buffer.from('w')]], 1n, Buffer.alloc(79)]],
    ['a raft DEK with cluster keys', [1, 3, 2, 7, [['k', Buffer.from('w')]], 1n, Buffer.alloc(80)]],
    [
      'two wraps under one KEK',
      [
        1,
        3,
        1,
        7,
        [
          ['k', Buffer.from('w')],
          ['k', Buffer.from('v')],
        ],
        1n,
        null,
      ],
    ],
    ['a time past 2^53', [1, 3, 1, 7, [['k', Buffer.from('w')]], 2n ** 53n, null]],
    ['a Date', [1, 4, new Date(0)]],
    ['a Set', [1, 4, new Set([7])]],
    ['a RegExp', [1, 2, /(a+)+$/, 7, 1]],
    ['an Error', [1, 2, new Error('x'), 7, 1]],
    ['controlIndex without a shard to wait in', [1, 5, 7, 0, null]],
    ['waves beside a controlIndex', [1, 5, 7, 3, [[1]]]],
    ['an empty wave', [1, 5, 7, 0, [[]]]],
    ['shard 0 in a wave', [1, 5, 7, 0, [[0]]]],
    ['a shard twice', [1, 5, 7, 0, [[1], [1]]]],
  ])('with %s is refused', (_, value) => {
    expect(refusal(pack(value))).toBe(MALFORMED);
  });

  it('HAZARD FW-09: with an empty wrap is refused by its length', () => {
    expect(refusal(pack([1, 3, 1, 7, [['k', Buffer.alloc(0)]], 1n, null]))).toBe(MALFORMED);
    expect(refusal(pack([1, 3, 1, 7, [['k', Buffer.alloc(1)]], 1n, null]))).toBeUndefined();
  });

  it('of a registration that nobody claimed has no claim id', () => {
    const entry = { kind: 'register', nodeId: 'a', dekId: 7, epoch: 1 } as const;
    expect(encodeEntry(entry)).toEqual(pack([1, 2, 'a', 7, 1]));
    expect(decodeEntry(pack([1, 2, 'a', 7, 1]))).toEqual(entry);
  });

  it('with text that is no UTF-8 is refused', () => {
    const good = encodeEntry({ kind: 'register', nodeId: 'zz', dekId: 7, epoch: 1 });
    const at = good.indexOf('zz');
    good[at] = 0xff;
    expect(refusal(good)).toBe(MALFORMED);
  });

  it('with a record definition or the reserved byte is refused', () => {
    expect(refusal(Buffer.from('9301d472409161', 'hex'))).toBe(MALFORMED);
    expect(refusal(Buffer.from('930104c1', 'hex'))).toBe(MALFORMED);
  });

  it('FW-06: with a length far past its end is refused before anything is allocated', () => {
    const claims = ['dd7fffffff', 'ddffffffff', '930102dbffffffff', '950103', '9301020adbffffffff'];
    for (const claim of claims) expect(refusal(Buffer.from(claim, 'hex'))).toBe(MALFORMED);
    // A list of 2^32 - 1 wraps, and one wrap of 2^32 - 1 bytes.
    expect(refusal(Buffer.from('9701030107ddffffffff', 'hex'))).toBe(MALFORMED);
    expect(refusal(Buffer.from('970103010791' + '92a16bc6ffffffff', 'hex'))).toBe(MALFORMED);
  });

  it('over 1 MiB is refused before it is read', async () => {
    expect(refusal(new Uint8Array(ENTRY_BYTES_MAX + 1))).toBe('RAFTSEAL_APPLIER_ENTRY_TOO_LARGE');
    const writers = Array.from({ length: 2000 }, (_, at) => `${at}`.padStart(1000, '0'));
    const entry = await bootstrapEntry({ writers });
    const error = expect.objectContaining({
      code: 'RAFTSEAL_APPLIER_ENTRY_TOO_LARGE',
      fatal: false,
    });
    expect(() => encodeEntry(entry)).toThrow(error);
  });

  it('HAZARD TSH-09: shares no memory with the bytes it was decoded from', async () => {
    const source = encodeEntry(await bootstrapEntry());
    const expected = decodeEntry(source);
    const decoded = decodeEntry(source);
    source.fill(0xee);
    expect(decoded).toEqual(expected);
  });

  it('HAZARD TSH-01: carries 64-bit indexes without loss', () => {
    const entry = {
      kind: 'enable-raft' as const,
      dekId: 7,
      controlIndex: 0xffff_ffff_ffff_fffen,
    };
    expect(decodeEntry(encodeEntry(entry))).toEqual(entry);
  });

  it('that cannot be is refused before it is proposed, and halts nothing', () => {
    for (const entry of [
      { kind: 'enable-storage', dekId: 0 },
      { kind: 'register', nodeId: '\ud800', dekId: 1, epoch: 1 },
      { kind: 'register', nodeId: 'a'.repeat(2049), dekId: 1, epoch: 1 },
      { kind: 'register', nodeId: 'a', dekId: 1.5, epoch: 1 },
      { kind: 'register', nodeId: 'a', dekId: 1, epoch: 1, claimId: new Uint8Array(15) },
      { kind: 'rewrap-deks', keys: [] },
      { kind: 'rewrap-deks', keys: [{ dekId: 1, wraps: [] }] },
      { kind: 'retire-dek', dekId: 2 ** 32 },
      { kind: 'register-backup', backupId: '', createdAtMs: 1, dekIds: [] },
      { kind: 'register-backup', backupId: 'b', createdAtMs: 1.5, dekIds: [] },
      { kind: 'register-backup', backupId: 'b', createdAtMs: 1, dekIds: [2, 1] },
      { kind: 'forget-backup', backupId: 'b'.repeat(129) },
    ] as const) {
      expect(() => encodeEntry(entry)).toThrow(
        expect.objectContaining({ code: MALFORMED, fatal: false }),
      );
    }
  });

  it('HAZARD FW-16: of every kind is both decoded and applied', async () => {
    const kek = Uint8Array.of(1);
    const all: KeyLifecycleEntry[] = [
      await bootstrapEntry(),
      { kind: 'register', nodeId: 'a', dekId: 1, epoch: 2 },
      { kind: 'rotate-dek', ...(await bootstrapEntry()).keys[0], dekId: 9 } as KeyLifecycleEntry,
      { kind: 'enable-storage', dekId: 9 },
      { kind: 'enable-raft', dekId: 2, controlIndex: 0n, waves: [] },
      { kind: 'rewrap-deks', keys: [{ dekId: 1, wraps: [{ kekUri: 'k', bytes: kek }] }] },
      { kind: 'register-backup', backupId: 'b', createdAtMs: 1, dekIds: [1] },
      { kind: 'forget-backup', backupId: 'b' },
      { kind: 'retire-dek', dekId: 1 },
      { kind: 'enable-sealed-only' },
    ];
    const registry = new MemoryWriterRegistry();
    let state = emptyState();
    let index = 1n;
    for (const entry of all) {
      const context = { shardId: 0, index: index++, registry };
      const next = transition(state, context, decodeEntry(encodeEntry(entry)));
      expect(next.outcome).toEqual({ kind: 'applied' });
      state = next.state;
    }
  });
});
