/** What the core of the audit counts and finds, compared with maps of objects. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NonceLedger } from '../../src/nonces/nonce-ledger.ts';
import { RECORD_BYTES } from '../../src/nonces/nonce-record.ts';
import { type MadeEnvelope, recordsOf } from './records.ts';

function ledgerOf(
  envelopes: readonly MadeEnvelope[],
  sourceOf: (number: number) => number = () => 0,
) {
  const ledger = new NonceLedger();
  let number = 0;
  for (const chunk of recordsOf(envelopes)) {
    for (let at = 0; at < chunk.length; at += RECORD_BYTES) {
      ledger.add(chunk, at, sourceOf(number++));
    }
  }
  return ledger;
}

describe('a nonce ledger', () => {
  it('counts by DEK, writer and epoch, with the lowest and the highest counter', () => {
    const ledger = ledgerOf(
      [
        { counter: 5n },
        { counter: 2n },
        { counter: 9n, nonceEpoch: 2 },
        { counter: 1n, writerId: 65_535, nonceEpoch: 65_535, dekId: 4_294_967_295 },
        { counter: (1n << 63n) + 1n },
      ],
      (number) => number % 2,
    );
    expect(ledger.ranges()).toEqual([
      {
        dekId: 7,
        writerId: 1,
        nonceEpoch: 1,
        counted: 2,
        random: 1,
        lowest: 2,
        highest: 5,
        sources: new Set([0, 1]),
      },
      {
        dekId: 7,
        writerId: 1,
        nonceEpoch: 2,
        counted: 1,
        random: 0,
        lowest: 9,
        highest: 9,
        sources: new Set([0]),
      },
      {
        dekId: 4_294_967_295,
        writerId: 65_535,
        nonceEpoch: 65_535,
        counted: 1,
        random: 0,
        lowest: 1,
        highest: 1,
        sources: new Set([1]),
      },
    ]);
    expect([ledger.read, ledger.copies, ledger.reuseCount]).toEqual([5, 0, 0]);
  });

  it('invariant 3: takes the same envelope for a copy, and another one with its nonce for a reuse', () => {
    const ledger = ledgerOf(
      [{ counter: 5n }, { counter: 5n }, { counter: 5n, tag: 1 }, { counter: 5n, nonceEpoch: 2 }],
      (number) => number,
    );
    expect([ledger.copies, ledger.reuseCount]).toEqual([1, 1]);
    const reuse = { dekId: 7, writerId: 1, nonceEpoch: 1, counter: 5n, sources: [0, 2] };
    expect(ledger.reuses).toEqual([reuse]);
  });

  it('finds exactly the reuses of whatever it is told, in any order', () => {
    const envelope = fc.record({
      dekId: fc.constantFrom(1, 4_294_967_295),
      writerId: fc.integer({ min: 1, max: 2 }),
      nonceEpoch: fc.integer({ min: 1, max: 2 }),
      counter: fc.constantFrom(1n, 2n, 3n, (1n << 32n) + 1n, 1n << 63n, (1n << 64n) - 1n),
      tag: fc.constantFrom(0, 0, 0, 1),
    });
    const check = (envelopes: readonly Required<MadeEnvelope>[]): void => {
      const first = new Map<string, number>();
      let [copies, reuses] = [0, 0];
      for (const { dekId, writerId, nonceEpoch, counter, tag } of envelopes) {
        const nonce = `${dekId} ${writerId} ${nonceEpoch} ${counter}`;
        const known = first.get(nonce);
        if (known === undefined) first.set(nonce, tag);
        else if (known === tag) copies++;
        else reuses++;
      }
      const ledger = ledgerOf(envelopes);
      expect([ledger.copies, ledger.reuseCount]).toEqual([copies, reuses]);
      expect(ledger.read).toBe(envelopes.length);
    };
    fc.assert(fc.property(fc.array(envelope, { maxLength: 120 }), check), { numRuns: 200 });
  });

  it('keeps hundreds of thousands apart, and finds the one that is there twice', () => {
    const ledger = new NonceLedger();
    const add = (envelopes: readonly MadeEnvelope[]): void => {
      for (const chunk of recordsOf(envelopes)) {
        for (let at = 0; at < chunk.length; at += RECORD_BYTES) ledger.add(chunk, at, 0);
      }
    };
    // Counters of several writers, and some that lie far apart, as in a store that was written over.
    const count = 25_000;
    for (const [writerId, step] of [1n, 64n, 4096n, 65_537n].entries()) {
      const counters = Array.from({ length: count }, (_, n) => step * BigInt(n + 1));
      add(counters.map((counter) => ({ writerId: writerId + 1, counter, tag: Number(counter) })));
    }
    expect([ledger.read, ledger.copies, ledger.reuseCount]).toEqual([4 * count, 0, 0]);
    add([{ writerId: 3, counter: 4096n * 777n, tag: 1 }]);
    expect(ledger.reuses).toMatchObject([{ writerId: 3, counter: 4096n * 777n }]);
  });

  it('names a hundred reuses, and counts them all', () => {
    const envelopes = Array.from({ length: 300 }, (_, n) => ({
      counter: BigInt(1 + (n % 150)),
      tag: n,
    }));
    const ledger = ledgerOf(envelopes);
    expect([ledger.reuses.length, ledger.reuseCount]).toEqual([100, 150]);
  });
});
