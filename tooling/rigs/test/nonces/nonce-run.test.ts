/** A short run of the nonce rig, and the same with each of its planted faults. */
import { describe, expect, it } from 'vitest';
import { nonceRun } from '../../src/nonces/nonce-run.ts';

const size = { seed: 7, seals: 8_000, restarts: 40 };

describe('the nonce rig', () => {
  it('invariant 3: finds no nonce twice over restarts, failovers, old disks and copies', async () => {
    const result = await nonceRun(size);
    expect(result.findings).toEqual([]);
    expect(result.restarts).toBeGreaterThanOrEqual(size.restarts);
    expect(result.seals).toBeGreaterThanOrEqual(size.seals);
    // Nothing that was sealed is a copy, and nothing was left out.
    expect(result.nonces).toBe(result.seals);
    for (const fault of ['restart', 'failover', 'old disk', 'clone', 'snapshot'] as const) {
      expect(result.faults.get(fault) ?? 0, fault).toBeGreaterThan(0);
    }
  });

  it('HAZARD NON-09: finds nonces of processes that all use one epoch', async () => {
    const { findings } = await nonceRun({ ...size, plant: 'no-epoch-bump' });
    expect(findings[0]).toMatch(/^seed 7: nonce-reused: /);
  });

  it('invariant 3: finds nonces of processes that nobody has registered', async () => {
    const { findings } = await nonceRun({ ...size, plant: 'no-registration' });
    expect(findings[0]).toMatch(/^seed 7: (nonce-reused|epoch-unregistered): /);
  });
});
