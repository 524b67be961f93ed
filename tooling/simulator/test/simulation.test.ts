/**
 * Seeds that once found something, as many fresh ones as there is time for, and faults that are
 * planted to be found. A failure says which seed it was: `npm run simulate -- --seed <seed>`.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { PlantName } from '../src/plants.ts';
import { simulate, simulateSeed } from '../src/run.ts';
import { scheduleOf } from '../src/schedule.ts';
import { shrink } from '../src/shrink.ts';

const FRESH_SEEDS = 100;
const FRESH_MS = 3_000;
const SEED_MAX = 2 ** 31;

interface RegressionSeed {
  readonly seed: number;
  /** What it found. */
  readonly found: string;
}

const regressions = JSON.parse(
  readFileSync(new URL('../seeds.json', import.meta.url), 'utf8'),
) as readonly RegressionSeed[];

describe('after whatever happens to a cluster of real parts', () => {
  it.each(regressions)('seed $seed no longer finds: $found', async ({ seed }) => {
    expect((await simulateSeed(seed)).findings).toEqual([]);
  });

  it('invariants 1, 2, 3, 4, 6, 8, 9 and 12 hold, on seeds never tried', async () => {
    const firstSeed = Math.floor(Math.random() * SEED_MAX);
    const untilMs = performance.now() + FRESH_MS;
    let faults = 0;
    for (let at = 0; at < FRESH_SEEDS && performance.now() < untilMs; at++) {
      const run = await simulateSeed(firstSeed + at);
      expect({ seed: run.seed, findings: run.findings }).toEqual({ seed: run.seed, findings: [] });
      faults += Object.values(run.faults).reduce((sum, count) => sum + count, 0);
    }
    expect(faults).toBeGreaterThan(0);
  });
});

describe('the same checks find', () => {
  const planted: readonly (readonly [PlantName, string])[] = [
    ['no-fence', 'HAZARD PROP-18: an engine without fences'],
    ['no-installer', 'HAZARD PROP-18, invariant 4: a node without an installer'],
    ['loose-comparison', 'invariant 1: a marker that counts as above the cutover'],
    ['nonce-given-back', 'invariant 3: a nonce that is drawn again after a fenced append'],
  ];
  it.each(planted)('%s: %s', async (plant) => {
    let found: readonly string[] = [];
    for (let seed = 1; seed <= 100 && found.length === 0; seed++) {
      found = (await simulateSeed(seed, plant)).findings;
    }
    expect(found).not.toEqual([]);
  });

  it('a fault in a shorter schedule, where there is one', async () => {
    const schedule = scheduleOf(1);
    const { findings } = await simulate(schedule, 'no-installer');
    const shrunk = await shrink(schedule, findings[0] ?? '', 'no-installer');
    expect(shrunk.schedule.actions.length).toBeLessThan(schedule.actions.length);
    expect((await simulate(shrunk.schedule, 'no-installer')).findings).toContain(shrunk.finding);
  });
});

it('the same seed is the same run, to the byte', async () => {
  const first = await simulateSeed(8);
  await simulateSeed(9);
  expect(await simulateSeed(8)).toEqual(first);
  expect(first.counts.operations).toBeGreaterThan(10);
});
