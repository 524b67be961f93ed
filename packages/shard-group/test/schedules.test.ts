/**
 * Random lives of a shard of three replicas, checked at their end. A failure prints the seed and the
 * path of fast-check; `RAFTSEAL_SCHEDULE=<seed>:<path>` runs that schedule again, and
 * `RAFTSEAL_SCHEDULES=<number>` runs more of them.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Schedule, schedules } from './schedule-actions.ts';
import { findings } from './schedule-checks.ts';
import { ScheduleWorld, type WorldOptions } from './schedule-world.ts';

const [seed, path] = (process.env.RAFTSEAL_SCHEDULE ?? '').split(/:(.*)/s);
const factor = Number(process.env.RAFTSEAL_SCHEDULES ?? 1);

const replay: fc.Parameters<[Schedule]> = {
  ...(seed ? { seed: Number(seed) } : {}),
  ...(path ? { path } : {}),
};

function holds(options: WorldOptions, ambiguity = true): fc.IAsyncProperty<[Schedule]> {
  return fc.asyncProperty(schedules({ ambiguity }), async (schedule) => {
    const found = findings(await ScheduleWorld.run(schedule, options));
    if (found.length > 0) throw new Error(found.join('\n'));
  });
}

describe('after any schedule of elections, faults, proposals and a cutover', () => {
  it('invariants 1, 2, 3, 4, 6, 8 and 9 hold', { timeout: 600_000 }, async () => {
    await fc.assert(holds({}), { numRuns: 400 * factor, ...replay });
  });

  it('they hold with several appends in flight', { timeout: 600_000 }, async () => {
    await fc.assert(holds({ appendsInFlightMax: 3 }, false), { numRuns: 120 * factor, ...replay });
  });

  it('HAZARD PROP-18: they hold by the readiness fence alone', { timeout: 600_000 }, async () => {
    const options: WorldOptions = { plantedFaults: ['ignoreExpectedIndex'] };
    await fc.assert(holds(options, false), { numRuns: 120 * factor, ...replay });
  });

  it('HAZARD PROP-18: they hold by the expected index alone', { timeout: 600_000 }, async () => {
    const options: WorldOptions = { plantedFaults: ['misreportHead'] };
    await fc.assert(holds(options), { numRuns: 120 * factor, ...replay });
  });
});

describe('the same checks find', () => {
  const broken: Record<string, [string, WorldOptions]> = {
    'HAZARD PROP-18: cleartext above the cutover, without either fence': [
      'invariant 1:',
      { plantedFaults: ['misreportHead', 'ignoreExpectedIndex'] },
    ],
    'HAZARD PROP-18, invariant 4: cleartext of a node that installs no wrap': [
      'invariant 1:',
      { withoutInstaller: 'b' },
    ],
    'writes of a leader of the past that replaced acknowledged ones': [
      'invariant 2:',
      { plantedFaults: ['ignoreTerm', 'ignoreExpectedIndex'] },
    ],
  };
  for (const [name, [invariant, options]] of Object.entries(broken)) {
    it(name, { timeout: 600_000 }, async () => {
      const unseen = fc.asyncProperty(schedules({ ambiguity: true }), async (schedule) => {
        const found = findings(await ScheduleWorld.run(schedule, options));
        expect(found.some((finding) => finding.startsWith(invariant))).toBe(false);
      });
      const { failed, errorInstance } = await fc.check(unseen, {
        numRuns: 1000,
        endOnFailure: true,
      });
      expect([failed, errorInstance]).toEqual([true, expect.objectContaining({ expected: false })]);
    });
  }
});

it('the same schedule is the same run, to the byte', async () => {
  const [schedule] = fc.sample(schedules({ ambiguity: true }), { seed: 8, numRuns: 1 });
  if (!schedule) throw new Error('expected a schedule');
  const first = await ScheduleWorld.run(schedule);
  const second = await ScheduleWorld.run(schedule);
  expect(first.log.length).toBeGreaterThan(3);
  expect(second.log).toEqual(first.log);
  expect(second.operations).toEqual(first.operations);
});
