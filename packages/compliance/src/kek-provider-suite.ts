/**
 * The suite for {@link KekProvider}: what a wrap must withstand. It runs against the real service
 * or an emulator of it; one pass makes a few thousand calls, at most {@link CALLS_AT_ONCE} at a
 * time.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  CLUSTER_ID_BYTES,
  codeOf,
  DEK_BYTES,
  type ErrorCode,
  type KekProvider,
  type WrapBinding,
} from '@raftseal/interface';
import type { TestRunner } from './test-runner.ts';

export interface KekProviderSuiteOptions {
  /** Heads the suite's name. */
  readonly name: string;
  /** A new provider over the same KEK each time; the suite closes it. */
  readonly create: () => Promise<KekProvider>;
  /** A new provider over another KEK than `create`'s, of the same kind. */
  readonly createOther: () => Promise<KekProvider>;
}

const CALLS_AT_ONCE = 64;

/** Runs the suite under `runner`. */
export function kekProviderSuite(runner: TestRunner, options: KekProviderSuiteOptions): void {
  runner.describe(`${options.name}: KekProvider`, () => {
    wrapCases(runner, options);
    refusalCases(runner, options);
    lifetimeCases(runner, options);
  });
}

function wrapCases(runner: TestRunner, { create }: KekProviderSuiteOptions): void {
  runner.it(
    'unwraps what it wrapped, for every purpose and for the lowest and highest DEK id',
    () =>
      using(create, async (kek) => {
        for (const purpose of ['storage', 'raft', 'index'] as const) {
          for (const dekId of [1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
            const dek = randomBytes(DEK_BYTES);
            const binding = newBinding({ purpose, dekId });
            assertSameBytes(await kek.unwrapKey(await kek.wrapKey(dek, binding), binding), dek);
          }
        }
      }),
  );

  runner.it('unwraps what another provider over the same KEK wrapped', () =>
    using(create, (first) =>
      using(create, async (second) => {
        const dek = randomBytes(DEK_BYTES);
        const binding = newBinding();
        assert.equal(first.kekUri, second.kekUri);
        assertSameBytes(await second.unwrapKey(await first.wrapKey(dek, binding), binding), dek);
      }),
    ),
  );

  runner.it('wraps one DEK differently each time, and never in the clear', () =>
    using(create, async (kek) => {
      const dek = randomBytes(DEK_BYTES);
      const binding = newBinding();
      const wraps = await mapBounded(Array.from({ length: 16 }), () => kek.wrapKey(dek, binding));
      const texts = wraps.map((wrap) => Buffer.from(wrap).toString('hex'));
      assert.equal(new Set(texts).size, texts.length, 'two wraps are equal');
      for (const wrap of wraps) assert.ok(!Buffer.from(wrap).includes(dek), 'a wrap holds the DEK');
    }),
  );

  runner.it("leaves the caller's DEK, wrap and cluster id as they were", () =>
    using(create, async (kek) => {
      const dek = randomBytes(DEK_BYTES);
      const binding = newBinding();
      const before = [dek, binding.clusterId].map((bytes) => Buffer.from(bytes));
      const wrapped = await kek.wrapKey(dek, binding);
      const wrappedBefore = Buffer.from(wrapped);
      await kek.unwrapKey(wrapped, binding);
      assert.deepEqual([dek, Buffer.from(binding.clusterId)], before);
      assertSameBytes(wrapped, wrappedBefore);
    }),
  );

  runner.it('gives each caller a DEK of its own to wipe', () =>
    using(create, async (kek) => {
      const dek = randomBytes(DEK_BYTES);
      const binding = newBinding();
      const wrapped = await kek.wrapKey(dek, binding);
      const first = await kek.unwrapKey(wrapped, binding);
      const second = await kek.unwrapKey(wrapped, binding);
      first.fill(0);
      assertSameBytes(second, dek);
      assertSameBytes(await kek.unwrapKey(wrapped, binding), dek);
    }),
  );

  runner.it('serves concurrent calls without mixing them up', () =>
    using(create, async (kek) => {
      const deks = Array.from({ length: CALLS_AT_ONCE }, () => randomBytes(DEK_BYTES));
      await Promise.all(
        deks.map(async (dek, at) => {
          const binding = newBinding({ dekId: at + 1 });
          assertSameBytes(await kek.unwrapKey(await kek.wrapKey(dek, binding), binding), dek);
        }),
      );
    }),
  );
}

function refusalCases(runner: TestRunner, { create, createOther }: KekProviderSuiteOptions): void {
  const refusesWraps = (changed: (wrapped: Buffer) => Iterable<Buffer>): Promise<void> =>
    using(create, async (kek) => {
      const binding = newBinding();
      const wrapped = Buffer.from(await kek.wrapKey(randomBytes(DEK_BYTES), binding));
      await mapBounded([...changed(wrapped)], (wrap) => refusesUnwrap(kek, wrap, binding));
    });

  runner.it('invariant 7: refuses a wrap with any one bit flipped', () =>
    refusesWraps(everyBitFlipped),
  );

  runner.it('invariant 7: refuses a wrap cut at any length, extended, or empty', () =>
    refusesWraps(everyOtherLength),
  );

  runner.it('HAZARD KEK-07: refuses a wrap under another DEK id, purpose or cluster', () =>
    using(create, async (kek) => {
      const binding = newBinding({ purpose: 'storage', dekId: 0x0102_0304 });
      const wrapped = await kek.wrapKey(randomBytes(DEK_BYTES), binding);
      const clusterId = Uint8Array.from(binding.clusterId);
      clusterId[CLUSTER_ID_BYTES - 1] = (clusterId[CLUSTER_ID_BYTES - 1] ?? 0) ^ 1;
      for (const change of [
        { dekId: 0x0102_0305 },
        { dekId: 0x0403_0201 },
        { purpose: 'raft' as const },
        { purpose: 'index' as const },
        { clusterId },
        { clusterId: randomBytes(CLUSTER_ID_BYTES) },
      ]) {
        await refusesUnwrap(kek, wrapped, { ...binding, ...change });
      }
    }),
  );

  runner.it('refuses a wrap made under another KEK', () =>
    using(create, (kek) =>
      using(createOther, async (other) => {
        const binding = newBinding();
        const dek = randomBytes(DEK_BYTES);
        await refusesUnwrap(kek, await other.wrapKey(dek, binding), binding);
        await refusesUnwrap(other, await kek.wrapKey(dek, binding), binding);
      }),
    ),
  );

  runner.it('refuses to wrap a DEK that is not 32 bytes long', () =>
    using(create, async (kek) => {
      for (const length of [0, 16, DEK_BYTES - 1, DEK_BYTES + 1, 2 * DEK_BYTES]) {
        const wrapping = kek.wrapKey(randomBytes(length), newBinding());
        await rejectsWithCode(wrapping, 'RAFTSEAL_KEK_DEK_LENGTH');
      }
    }),
  );
}

function lifetimeCases(runner: TestRunner, { create }: KekProviderSuiteOptions): void {
  runner.it('names its KEK', () =>
    using(create, async (kek) => {
      assert.match(kek.kekUri, /^[a-z][a-z0-9+.-]*:./, 'a kekUri is a scheme, a colon and a name');
    }),
  );

  runner.it('refuses calls after close, which may be repeated', async () => {
    const kek = await create();
    const binding = newBinding();
    const dek = randomBytes(DEK_BYTES);
    const wrapped = await kek.wrapKey(dek, binding);
    await kek.close();
    await kek.close();
    await rejectsWithCode(kek.wrapKey(dek, binding), 'RAFTSEAL_KEK_CLOSED');
    await rejectsWithCode(kek.unwrapKey(wrapped, binding), 'RAFTSEAL_KEK_CLOSED');
  });

  runner.it('stays open when another provider over the same KEK closes', () =>
    using(create, async (kek) => {
      await using(create, async () => undefined);
      const binding = newBinding();
      const dek = randomBytes(DEK_BYTES);
      assertSameBytes(await kek.unwrapKey(await kek.wrapKey(dek, binding), binding), dek);
    }),
  );
}

async function using(
  create: () => Promise<KekProvider>,
  body: (kek: KekProvider) => Promise<void>,
): Promise<void> {
  const kek = await create();
  try {
    await body(kek);
  } finally {
    await kek.close();
  }
}

function newBinding(parts: Partial<WrapBinding> = {}): WrapBinding {
  return { clusterId: randomBytes(CLUSTER_ID_BYTES), dekId: 7, purpose: 'raft', ...parts };
}

function* everyBitFlipped(wrapped: Buffer): Iterable<Buffer> {
  for (let bit = 0; bit < 8 * wrapped.length; bit++) {
    const copy = Buffer.from(wrapped);
    copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    yield copy;
  }
}

function* everyOtherLength(wrapped: Buffer): Iterable<Buffer> {
  for (let length = 0; length < wrapped.length; length++) yield wrapped.subarray(0, length);
  yield Buffer.concat([wrapped, Buffer.alloc(1)]);
  yield Buffer.concat([Buffer.alloc(1), wrapped]);
  yield Buffer.concat([wrapped, wrapped]);
}

function refusesUnwrap(kek: KekProvider, wrapped: Uint8Array, binding: WrapBinding): Promise<void> {
  return rejectsWithCode(kek.unwrapKey(wrapped, binding), 'RAFTSEAL_KEK_MISMATCH');
}

async function rejectsWithCode(call: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(call, (error) => {
    assert.equal(codeOf(error), code);
    return true;
  });
}

function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  // Compared as a whole, so that a failure prints no key bytes.
  assert.ok(Buffer.from(actual).equals(expected), 'the bytes differ');
}

/** Maps with at most {@link CALLS_AT_ONCE} calls under way. */
async function mapBounded<Item, Result>(
  items: readonly Item[],
  call: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  for (let start = 0; start < items.length; start += CALLS_AT_ONCE) {
    const chunk = items.slice(start, start + CALLS_AT_ONCE);
    results.push(...(await Promise.all(chunk.map((item) => call(item)))));
  }
  return results;
}
