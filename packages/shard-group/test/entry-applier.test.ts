import { codeOf } from '@raftseal/interface';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EntryApplier, type EntryApplierOptions } from '../src/entry-applier.ts';
import {
  COMMAND_HEADER_BYTES,
  cleartext,
  DATA_HEADER_BYTES,
  KIND_KEY_LIFECYCLE,
  type RaftPayloadWrap,
  TAG_CLEARTEXT,
  TAG_SEALED,
} from '../src/index.ts';
import { writeDataHeader } from '../src/payload.ts';
import { type Appended, ListMachine } from './list-machine.ts';
import { FIRST_DEK_ID, ShardKeys } from './shard-keys.ts';

interface Fixture {
  readonly applier: EntryApplier<Appended>;
  readonly machine: ListMachine;
  readonly keys: ShardKeys;
}

type Waits = Partial<Pick<EntryApplierOptions, 'dekWaitMs' | 'dekMayCome'>>;

function fixture(waits: Waits = {}): Fixture {
  const machine = new ListMachine();
  const keys: ShardKeys = new ShardKeys({
    shardId: 0,
    writerId: 1,
    install: (wrap) => {
      applier.wrap = wrap;
    },
  });
  const applier: EntryApplier<Appended> = new EntryApplier(
    { shardId: 0, dekWaitMs: 1000, ...waits },
    { stateMachine: machine, keyLifecycle: keys, wrap: cleartext },
  );
  return { applier, machine, keys };
}

function data(timestampMs: number, ...commands: string[]): Buffer {
  const framed = commands.map((command) => {
    const frame = Buffer.alloc(COMMAND_HEADER_BYTES + command.length);
    frame.writeUInt32BE(command.length);
    frame.write(command, COMMAND_HEADER_BYTES);
    return frame;
  });
  const body = Buffer.concat([Buffer.alloc(DATA_HEADER_BYTES), ...framed]);
  writeDataHeader(body, { timestampMs, count: commands.length });
  return body;
}

const keyEntry = (body: string): Buffer =>
  Buffer.concat([Buffer.from([KIND_KEY_LIFECYCLE]), Buffer.from(body)]);

const clear = (body: Buffer): Buffer => Buffer.concat([Buffer.from([TAG_CLEARTEXT]), body]);

function sealedUnder(wrap: RaftPayloadWrap, index: bigint, body: Buffer): Buffer {
  if (wrap.kind === 'cleartext') throw new Error('expected a sealed wrap');
  const payload = wrap.seal(body, index, 1);
  payload[0] = TAG_SEALED;
  return payload;
}

/** Applies in order; ends with the code of what stopped it, or `all applied`. */
async function run(
  { applier }: Fixture,
  entries: readonly (readonly [bigint, Buffer])[],
): Promise<string> {
  for (const [index, payload] of entries) {
    try {
      await applier.apply(index, payload);
    } catch (error) {
      expect(error).toMatchObject({ fatal: true });
      return codeOf(error) ?? String(error);
    }
  }
  return 'all applied';
}

const CUTOVER = 2n;

/** Entry 1 in the clear, the marker at 2. */
async function cutOver(waits: Waits = {}): Promise<Fixture> {
  const made = fixture(waits);
  const entries: [bigint, Buffer][] = [
    [1n, clear(data(1, 'k=one'))],
    [CUTOVER, clear(keyEntry('marker'))],
  ];
  expect(await run(made, entries)).toBe('all applied');
  return made;
}

describe('apply', () => {
  it('HOOK-03: hands over what lies at or below the cutover as it is', async () => {
    const { machine, keys, applier } = await cutOver();
    expect(machine.batches).toEqual([{ index: 1n, timestampMs: 1, commands: ['k=one'] }]);
    expect(machine.skipped).toEqual([CUTOVER]);
    expect(keys.applied).toEqual([{ index: CUTOVER, body: 'marker' }]);
    expect(applier.wrap).toMatchObject({ kind: 'sealed', cutoverIndex: CUTOVER });
  });

  it('HOOK-04: opens what lies above it', async () => {
    const made = await cutOver();
    const entry = sealedUnder(made.applier.wrap, 3n, data(2, 'k=two', 'k=three'));
    expect(await made.applier.apply(3n, entry)).toEqual([
      { index: 3n, position: 1 },
      { index: 3n, position: 2 },
    ]);
    expect(made.applier.appliedIndex).toBe(3n);
  });

  it('HAZARD HOOK-12: never writes into the entry', async () => {
    const made = await cutOver();
    const entry = sealedUnder(made.applier.wrap, 3n, data(2, 'k=two'));
    const before = Buffer.from(entry);
    await made.applier.apply(3n, entry);
    expect(entry).toEqual(before);
  });

  it('gives results at once for data, and a promise where something is waited for', async () => {
    const { applier } = fixture();
    expect(Array.isArray(applier.apply(1n, clear(data(1, 'k=one'))))).toBe(true);
    const marker = applier.apply(2n, clear(keyEntry('marker')));
    expect(marker).toBeInstanceOf(Promise);
    expect(applier.appliedIndex).toBe(1n);
    expect(await marker).toEqual([]);
    expect(applier.appliedIndex).toBe(2n);
  });

  it('HAZARD HOOK-17: an index is applied only once all effects of its entry are', async () => {
    const { applier, keys, machine } = fixture();
    let release = (): void => undefined;
    keys.hold = new Promise((resolve) => {
      release = resolve;
    });
    const marker = applier.apply(1n, clear(keyEntry('marker')));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect([applier.appliedIndex, applier.wrap.kind, machine.skipped]).toEqual([
      0n,
      'cleartext',
      [],
    ]);
    release();
    await marker;
    expect([applier.appliedIndex, applier.wrap.kind]).toEqual([1n, 'sealed']);
  });

  it('remembers the highest timestamp that it has seen', async () => {
    const { applier } = fixture();
    for (const [at, timestampMs] of [50, 90, 70].entries()) {
      await applier.apply(BigInt(at + 1), clear(data(timestampMs, 'k=v')));
    }
    expect(applier.lastTimestampMs).toBe(90);
  });

  it('opens entries under a rotated DEK and under the one before it', async () => {
    const made = await cutOver();
    const before = made.applier.wrap;
    const entries: [bigint, Buffer][] = [
      [3n, sealedUnder(before, 3n, keyEntry('rotate 8'))],
      [4n, sealedUnder(before, 4n, data(2, 'k=two'))],
    ];
    expect(await run(made, entries)).toBe('all applied');
    expect(made.applier.wrap).toMatchObject({ dekId: 8, cutoverIndex: CUTOVER });
    const under8 = sealedUnder(made.applier.wrap, 5n, data(3, 'k=three'));
    expect(await run(made, [[5n, under8]])).toBe('all applied');
    expect(made.machine.lists.get('k')).toEqual(['one', 'two', 'three']);
  });
});

describe('invariant 6: apply stops for good, and nothing is applied, at', () => {
  const cases: Record<string, [string, (made: Fixture) => Buffer]> = {
    'HAZARD PROP-18, invariant 1: cleartext above the cutover': [
      'RAFTSEAL_SHARD_GROUP_CLEARTEXT_ABOVE_CUTOVER',
      () => clear(data(2, 'k=two')),
    ],
    'a key-lifecycle entry in the clear above the cutover': [
      'RAFTSEAL_SHARD_GROUP_CLEARTEXT_ABOVE_CUTOVER',
      () => clear(keyEntry('marker')),
    ],
    'invariant 7: an envelope of another index': [
      'RAFTSEAL_SHARD_GROUP_OPEN_FAILED',
      ({ applier }) => sealedUnder(applier.wrap, 4n, data(2, 'k=two')),
    ],
    'HOOK-07, invariant 7: an envelope with a bit flipped': [
      'RAFTSEAL_SHARD_GROUP_OPEN_FAILED',
      ({ applier }) => {
        const entry = sealedUnder(applier.wrap, 3n, data(2, 'k=two'));
        entry[entry.length - 1] = (entry.at(-1) ?? 0) ^ 1;
        return entry;
      },
    ],
    'an envelope cut short': [
      'RAFTSEAL_SHARD_GROUP_OPEN_FAILED',
      ({ applier }) => sealedUnder(applier.wrap, 3n, data(2, 'k=two')).subarray(0, 20),
    ],
    'no payload at all': ['RAFTSEAL_SHARD_GROUP_MALFORMED_ENTRY', () => Buffer.alloc(0)],
    'an unknown payload tag': [
      'RAFTSEAL_SHARD_GROUP_MALFORMED_ENTRY',
      () => Buffer.concat([Buffer.from([0x44]), data(2, 'k=two')]),
    ],
    'an unknown kind of body': [
      'RAFTSEAL_SHARD_GROUP_MALFORMED_ENTRY',
      ({ applier }) => sealedUnder(applier.wrap, 3n, Buffer.from('x')),
    ],
    'an empty body': [
      'RAFTSEAL_SHARD_GROUP_MALFORMED_ENTRY',
      ({ applier }) => sealedUnder(applier.wrap, 3n, Buffer.alloc(0)),
    ],
    'a data body that does not add up': [
      'RAFTSEAL_SHARD_GROUP_MALFORMED_ENTRY',
      ({ applier }) => sealedUnder(applier.wrap, 3n, data(2, 'k=two').subarray(0, -1)),
    ],
    'HOOK-09: bytes that the state machine calls no command, with its own code': [
      'RAFTSEAL_KV_COMMAND_MALFORMED',
      ({ applier }) => sealedUnder(applier.wrap, 3n, data(2, 'no command')),
    ],
    'a key-lifecycle entry that fails': [
      'RAFTSEAL_SHARD_GROUP_APPLY_FAILED',
      ({ applier }) => sealedUnder(applier.wrap, 3n, keyEntry('bad')),
    ],
  };

  for (const [name, [code, entryOf]] of Object.entries(cases)) {
    it(`${name}`, async () => {
      const made = await cutOver();
      expect(await run(made, [[3n, entryOf(made)]])).toBe(code);
      expect(made.applier.appliedIndex).toBe(CUTOVER);
      expect(made.machine.lists.get('k')).toEqual(['one']);
    });
  }

  it('a sealed entry below the cutover, or where none is known', async () => {
    const wrap = (await cutOver()).applier.wrap;
    const made = fixture();
    const entry = sealedUnder(wrap, 3n, data(1, 'k=one'));
    expect(await run(made, [[1n, entry]])).toBe('RAFTSEAL_SHARD_GROUP_SEALED_BELOW_CUTOVER');
    made.applier.wrap = made.keys.sealedAbove(5n, FIRST_DEK_ID);
    expect(await run(made, [[1n, entry]])).toBe('RAFTSEAL_SHARD_GROUP_SEALED_BELOW_CUTOVER');
    expect(made.applier.appliedIndex).toBe(0n);
  });

  it('HOOK-08: a bad entry between good ones, of which none after it is applied', async () => {
    const made = await cutOver();
    const { wrap } = made.applier;
    const code = await run(made, [
      [3n, sealedUnder(wrap, 3n, data(2, 'k=two'))],
      [4n, clear(data(2, 'k=bad'))],
      [5n, sealedUnder(wrap, 5n, data(2, 'k=three'))],
    ]);
    expect(code).toBe('RAFTSEAL_SHARD_GROUP_CLEARTEXT_ABOVE_CUTOVER');
    expect(made.machine.lists.get('k')).toEqual(['one', 'two']);
    const after = sealedUnder(wrap, 5n, data(2, 'k=three'));
    expect(await run(made, [[5n, after]])).toBe('RAFTSEAL_SHARD_GROUP_INDEX_GAP');
  });

  it('an index that is not the next one', async () => {
    const gaps = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).filter((index) => index !== 1n);
    await fc.assert(
      fc.asyncProperty(gaps, async (index) => {
        const made = fixture();
        const code = await run(made, [[index, clear(data(1, 'k=one'))]]);
        expect([code, made.applier.appliedIndex]).toEqual(['RAFTSEAL_SHARD_GROUP_INDEX_GAP', 0n]);
      }),
    );
  });

  it('a state machine that does not answer each command', async () => {
    const made = fixture();
    made.machine.losesResults = true;
    const code = await run(made, [[1n, clear(data(1, 'k=one', 'k=two'))]]);
    expect([code, made.applier.appliedIndex]).toEqual(['RAFTSEAL_SHARD_GROUP_APPLY_FAILED', 0n]);
  });
});

describe('an envelope under a DEK that is not loaded', () => {
  function sealedUnder8(index: bigint): Buffer {
    const elsewhere = new ShardKeys({ shardId: 0, writerId: 2, install: () => undefined });
    elsewhere.load(8);
    return sealedUnder(elsewhere.sealedAbove(CUTOVER, 8), index, data(2, 'k=two'));
  }

  it('waits for the control shard to bring it', async () => {
    const made = await cutOver();
    const applied = made.applier.apply(3n, sealedUnder8(3n));
    await new Promise((resolve) => setTimeout(resolve, 25));
    expect(made.applier.appliedIndex).toBe(CUTOVER);
    made.keys.load(8);
    expect(await applied).toEqual([{ index: 3n, position: 1 }]);
  });

  it('halts the shard once it has waited as long as it may', async () => {
    const made = await cutOver({ dekWaitMs: 30 });
    expect(await run(made, [[3n, sealedUnder8(3n)]])).toBe('RAFTSEAL_SHARD_GROUP_OPEN_FAILED');
    expect(made.applier.appliedIndex).toBe(CUTOVER);
  });

  it('waits longer while the control shard waits for a KEK', async () => {
    const made = await cutOver({ dekWaitMs: 30 });
    made.keys.awaitsKek = true;
    const applied = made.applier.apply(3n, sealedUnder8(3n));
    await new Promise((resolve) => setTimeout(resolve, 100));
    made.keys.awaitsKek = false;
    made.keys.load(8);
    expect(await applied).toEqual([{ index: 3n, position: 1 }]);
  });

  it('halts the shard at once where none can come, and takes one that came last', async () => {
    const made = await cutOver({ dekWaitMs: 3_600_000, dekMayCome: () => false });
    expect(await run(made, [[3n, sealedUnder8(3n)]])).toBe('RAFTSEAL_SHARD_GROUP_OPEN_FAILED');
    const last: Fixture = await cutOver({
      dekWaitMs: 3_600_000,
      dekMayCome: () => {
        last.keys.load(8);
        return false;
      },
    });
    expect(await run(last, [[3n, sealedUnder8(3n)]])).toBe('all applied');
    expect(last.applier.appliedIndex).toBe(3n);
  });

  it('leaves an entry that waits unapplied where the shard is stopped', async () => {
    const made = await cutOver({ dekWaitMs: 60_000 });
    const applied = made.applier.apply(3n, sealedUnder8(3n));
    made.applier.stop();
    const code = 'RAFTSEAL_SHARD_GROUP_STOPPED';
    await expect(applied).rejects.toMatchObject({ code, fatal: false });
    expect(made.applier.appliedIndex).toBe(CUTOVER);
  });

  it('does not wait where the DEK is there and the bytes are wrong', async () => {
    const made = await cutOver({ dekWaitMs: 60_000 });
    const moved = sealedUnder(made.applier.wrap, 9n, data(2, 'k=two'));
    expect(() => made.applier.apply(3n, moved)).toThrow('does not open');
  });
});
