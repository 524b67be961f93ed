/**
 * Random histories on a disk that loses power at a random operation, again and again: the model
 * knows what was acknowledged, and what else may be there.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryDisk, systemError } from './memory-disk.ts';
import { openOn, payloadOf, readAll } from './samples.ts';

interface ShardModel {
  readonly shardId: number;
  /** Highest index acknowledged, and highest ever submitted since the log was last opened. */
  acknowledged: bigint;
  submitted: bigint;
  truncated: bigint;
  truncationAsked: bigint;
  term: bigint;
  /** Payload length by index of what was submitted last under it. */
  readonly lengths: Map<bigint, number>;
}

const rounds = Number(process.env.RAFTSEAL_POWER_CUTS ?? 60);

describe('a power cut', () => {
  it('invariant 2: loses nothing acknowledged and invents nothing, whatever it cuts', async () => {
    await fc.assert(histories(undefined), { numRuns: rounds });
  }, 3_600_000);

  for (const lie of ['writeFlushed', 'flushDirectory'] as const) {
    it(`is caught where ${lie} reports success without a flush`, async () => {
      const { failed } = await fc.check(histories(lie), { numRuns: 200, endOnFailure: true });
      expect(failed).toBe(true);
    });
  }
});

function histories(lie: MemoryDisk['lie']) {
  const step = fc.record({
    shardId: fc.constantFrom(0, 0, 0, 1),
    width: fc.integer({ min: 1, max: 3 }),
    byteLength: fc.constantFrom(0, 1, 40, 300, 900, 5000, 30_000),
    truncate: fc.constantFrom(false, false, false, true),
    drop: fc.constantFrom(false, false, false, true),
  });
  const life = fc.record({
    cutAfter: fc.integer({ min: 1, max: 60 }),
    steps: fc.array(step, { minLength: 1, maxLength: 25 }),
  });
  const lives = fc.array(life, { minLength: 2, maxLength: 5 });
  return fc.asyncProperty(fc.integer(), lives, async (keepSeed, all) => {
    const keep = coins(keepSeed);
    const models = [0, 1].map(newModel);
    let disk = new MemoryDisk();
    for (const { cutAfter, steps } of all) {
      disk.lie = lie;
      cutPowerAfter(disk, cutAfter);
      await live(disk, steps, models);
      disk = disk.afterPowerCut(keep);
      await verify(disk, models);
    }
  });
}

interface Step {
  readonly shardId: number;
  readonly width: number;
  readonly byteLength: number;
  readonly truncate: boolean;
  readonly drop: boolean;
}

/** Runs steps until they are done or the power is cut; the model notes what was acknowledged. */
async function live(
  disk: MemoryDisk,
  steps: readonly Step[],
  models: readonly ShardModel[],
): Promise<void> {
  const log = await openOn(disk, { confirmAfterMs: 1 }).catch(ignorePowerCut);
  if (log === undefined) return;
  try {
    const terms = new Map<number, bigint>();
    for (const { shardId, width, byteLength, truncate, drop } of steps) {
      const model = models[shardId] as ShardModel;
      const engine = log.engine(shardId);
      if (!terms.has(shardId)) {
        const { term } = await engine.elect();
        expect(term).toBeGreaterThan(model.term);
        model.term = term;
        terms.set(shardId, term);
      }
      const term = terms.get(shardId) ?? 0n;
      const appends: Promise<void>[] = [];
      for (let place = 0; place < width; place++) {
        const index = model.submitted + 1n;
        model.submitted = index;
        model.lengths.set(index, byteLength);
        const payload = payloadOf(shardId, index, byteLength);
        appends.push(
          engine.append({ term, index, payload }).then(({ outcome }) => {
            expect(outcome).toBe('done');
            model.acknowledged = index;
          }),
        );
      }
      await Promise.all(appends);
      if (truncate) {
        model.truncationAsked = model.acknowledged - 1n;
        await engine.truncate(model.truncationAsked);
        model.truncated = model.truncationAsked;
      }
      if (drop) await log.dropTruncated();
    }
  } catch (error) {
    ignorePowerCut(error);
  } finally {
    await log.close();
  }
}

/** Opens what the cut left, compares it with the model, and takes it over as what is known. */
async function verify(disk: MemoryDisk, models: readonly ShardModel[]): Promise<void> {
  const log = await openOn(disk);
  for (const model of models) {
    const engine = log.engine(model.shardId);
    const { firstIndex, headIndex } = await engine.bounds();
    expect(headIndex).toBeGreaterThanOrEqual(model.acknowledged);
    expect(headIndex).toBeLessThanOrEqual(model.submitted);
    expect(firstIndex).toBeGreaterThanOrEqual(model.truncated + 1n);
    expect(firstIndex).toBeLessThanOrEqual(model.truncationAsked + 1n);
    const entries = await readAll(engine);
    expect(entries.map((entry) => entry.index)).toEqual(indexesFrom(firstIndex, headIndex));
    for (const { index, payload } of entries) {
      const wanted = payloadOf(model.shardId, index, model.lengths.get(index));
      expect(wanted.equals(payload)).toBe(true);
    }
    const { term, headIndex: elected } = await engine.elect();
    expect(term).toBeGreaterThan(model.term);
    expect(elected).toBe(headIndex);
    Object.assign(model, {
      acknowledged: headIndex,
      submitted: headIndex,
      truncated: firstIndex - 1n,
      truncationAsked: firstIndex - 1n,
      term,
    });
  }
  await log.close();
}

function newModel(shardId: number): ShardModel {
  return {
    shardId,
    acknowledged: 0n,
    submitted: 0n,
    truncated: 0n,
    truncationAsked: 0n,
    term: 0n,
    lengths: new Map(),
  };
}

function indexesFrom(first: bigint, last: bigint): bigint[] {
  const indexes: bigint[] = [];
  for (let index = first; index <= last; index++) indexes.push(index);
  return indexes;
}

/** From the `after`th change on, nothing happens to the disk any more. */
function cutPowerAfter(disk: MemoryDisk, after: number): void {
  let changes = 0;
  disk.onOperation = (operation, name) => {
    if (operation !== 'open' && operation !== 'read') changes += 1;
    if (changes >= after) throw systemError('POWER', name);
  };
}

/** What a cut may raise: the cut itself while the log is opened, a failed flush after that. */
function ignorePowerCut(error: unknown): undefined {
  const code = (error as { code?: string }).code ?? '';
  if (code === 'POWER' || code === 'RAFTSEAL_ENGINE_FLUSH_FAILED') return;
  throw error;
}

/** A coin that falls the same way for the same seed. */
function coins(seed: number): () => boolean {
  let state = seed | 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return state > 0;
  };
}
