import type { NonceSequence } from '@raftseal/envelope';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  RESERVED_SEALS,
  type SealCountStore,
  SealLedger,
  UNRECORDED_SEALS_MAX,
} from '../src/seal-ledger.ts';
import { openWriterRegistry } from '../src/writer-registry-store.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const DEK_ID = 0xfedcba98;
const SEALS_MAX = 2n ** 32n;
const EXHAUSTED = expect.objectContaining({ code: 'RAFTSEAL_ENVELOPE_NONCES_EXHAUSTED' });
const nonce = new Uint8Array(12);

interface MemoryStore extends SealCountStore {
  readonly sealCounts: Map<number, bigint>;
  /** Calls that returned once they were durable. */
  now: number;
}

function memoryStore(seals = 0n): MemoryStore {
  const sealCounts = new Map(seals === 0n ? [] : [[DEK_ID, seals]]);
  const put = (counts: ReadonlyMap<number, bigint>): void => {
    for (const [dekId, count] of counts) sealCounts.set(dekId, count);
  };
  const store: MemoryStore = {
    sealCounts,
    now: 0,
    putSealCounts: async (counts) => put(counts),
    putSealCountsNow: (counts) => {
      store.now += 1;
      put(counts);
    },
  };
  return store;
}

function draw(sequence: NonceSequence, count: number): void {
  for (let i = 0; i < count; i++) sequence.draw(nonce, 0);
}

const sequenceOf = (ledger: SealLedger, nonceEpoch = 1): NonceSequence => {
  const sequence = ledger.sequence(DEK_ID, { writerId: 1, nonceEpoch });
  sequence.registered();
  return sequence;
};

describe('the seals of a node', () => {
  it('AROT-15: are counted over epochs and processes, exactly where each ended cleanly', async () => {
    const directory = temporaryDirectory();
    for (const process of [1, 2, 3]) {
      const registry = openWriterRegistry(directory);
      const ledger = new SealLedger(registry);
      draw(sequenceOf(ledger, 2 * process), 5);
      draw(sequenceOf(ledger, 2 * process + 1), 7);
      expect(ledger.seals(DEK_ID)).toBe(12n * BigInt(process));
      await ledger.close();
      await registry.close();
    }
    const registry = openWriterRegistry(directory);
    onTestFinished(() => registry.close());
    expect(registry.sealCounts).toEqual(new Map([[DEK_ID, 36n]]));
  });

  it('AROT-15: are durable up to a bound, without a step on the way, at any time', () => {
    const store = memoryStore();
    const ledger = new SealLedger(store);
    const sequence = sequenceOf(ledger);
    let behindMax = 0n;
    for (let i = 0; i < 3; i++) {
      draw(sequence, Number(UNRECORDED_SEALS_MAX));
      const behind = ledger.seals(DEK_ID) - (store.sealCounts.get(DEK_ID) ?? 0n);
      behindMax = behind > behindMax ? behind : behindMax;
    }
    expect(behindMax).toBeLessThan(UNRECORDED_SEALS_MAX);
    expect(store.now).toBeLessThan(8);
  });

  it('that cannot be made durable end the sealing, before the bound is passed', () => {
    const store = memoryStore();
    store.putSealCountsNow = () => {
      throw new Error('the disk is gone');
    };
    const ledger = new SealLedger(store);
    const sequence = sequenceOf(ledger);
    expect(() => draw(sequence, Number(UNRECORDED_SEALS_MAX))).toThrow('the disk is gone');
    expect(ledger.seals(DEK_ID)).toBeLessThan(UNRECORDED_SEALS_MAX);
  });

  it('a record that ends after a later one is made once more', async () => {
    const store = memoryStore();
    const ledger = new SealLedger(store);
    const sequence = sequenceOf(ledger);
    draw(sequence, 10);
    let isFirst = true;
    store.putSealCounts = async (counts) => {
      if (isFirst) draw(sequence, Number(UNRECORDED_SEALS_MAX));
      isFirst = false;
      for (const [dekId, count] of counts) store.sealCounts.set(dekId, count);
    };
    await ledger.close();
    expect(store.now).toBeGreaterThan(0);
    expect(store.sealCounts.get(DEK_ID)).toBe(ledger.seals(DEK_ID));
  });

  it('are forgotten with the key', () => {
    const ledger = new SealLedger(memoryStore(9n));
    ledger.retain(new Map([[DEK_ID, {}]]));
    expect(ledger.seals(DEK_ID)).toBe(9n);
    ledger.retain(new Map());
    expect(ledger.seals(DEK_ID)).toBe(0n);
  });

  it('are reported with the active keys first, and no more keys than others read', () => {
    const store = memoryStore(9n);
    for (let dekId = 1; dekId < 400; dekId++) store.sealCounts.set(dekId, 1n);
    const reported = new SealLedger(store).report([399, 7_777]);
    expect(reported.size).toBeLessThanOrEqual(256);
    expect([...reported][0]).toEqual([399, 1n]);
    expect(reported.has(7_777)).toBe(false);
  });
});

describe('the budget of a DEK', () => {
  it('is used up for what seals much while enough is left for what has begun', () => {
    const ledger = new SealLedger(memoryStore(SEALS_MAX - 2n ** 24n - 2n));
    let others = 1n;
    ledger.includeOthers(() => others);
    expect(ledger.isUsedUp(DEK_ID)).toBe(false);
    others = 2n;
    expect(ledger.isUsedUp(DEK_ID)).toBe(true);
    draw(sequenceOf(ledger), 1_000);
  });

  const before = SEALS_MAX - RESERVED_SEALS - 3n;

  it('AROT-15: is refused to a new process of a node that has used it up', () => {
    const ledger = new SealLedger(memoryStore(before));
    const sequence = sequenceOf(ledger);
    draw(sequence, 3);
    expect(() => draw(sequence, 1)).toThrow(EXHAUSTED);
    expect(() => draw(sequenceOf(ledger, 2), 1)).toThrow(EXHAUSTED);
    expect(ledger.seals(DEK_ID)).toBe(SEALS_MAX - RESERVED_SEALS);
  });

  it('AROT-15: keeps a reserve that is drawn on purpose only, and ends too', () => {
    const ledger = new SealLedger(memoryStore(before + 3n));
    const sequence = sequenceOf(ledger);
    for (let i = 0n; i < RESERVED_SEALS; i++) {
      expect(() => draw(sequence, 1)).toThrow(EXHAUSTED);
      sequence.draw(nonce, 0, true);
    }
    expect(() => sequence.draw(nonce, 0, true)).toThrow(EXHAUSTED);
    expect(ledger.seals(DEK_ID)).toBe(SEALS_MAX);
  });

  it('is that of the cluster: what the others have used is not there for this node', () => {
    const ledger = new SealLedger(memoryStore());
    let others = before;
    ledger.includeOthers((dekId) => (dekId === DEK_ID ? others : 0n));
    const sequence = sequenceOf(ledger);
    draw(sequence, 2);
    expect(ledger.sealsOfCluster(DEK_ID)).toBe(before + 2n);
    draw(sequence, 1);
    expect(() => draw(sequence, 1)).toThrow(EXHAUSTED);
    sequence.draw(nonce, 0, true);
    others = 0n;
    draw(sequence, 5);
  });
});
