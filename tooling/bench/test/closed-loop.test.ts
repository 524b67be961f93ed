import { describe, expect, it } from 'vitest';
import { closedLoop } from '../src/etcd/closed-loop.ts';

const loop = { callers: 3, warmUpMs: 5, durationMs: 300 };

describe('a closed loop', () => {
  it('has one call of each caller under way, and counts what is answered in its time', async () => {
    const underWay = new Set<number>();
    let calls = 0;
    const result = await closedLoop((caller, done) => {
      expect(underWay.has(caller)).toBe(false);
      underWay.add(caller);
      calls += 1;
      setImmediate(() => {
        underWay.delete(caller);
        done(null);
      });
    }, loop);
    const counted = (result.perSecond * loop.durationMs) / 1000;
    expect(counted).toBeGreaterThan(0);
    expect(counted).toBeLessThan(calls);
    expect(result.p50Ms).toBeGreaterThan(0);
    expect(result.p99Ms).toBeGreaterThanOrEqual(result.p50Ms);
  });

  it('fails with the first call that fails', async () => {
    const failing = closedLoop((_, done) => setImmediate(done, new Error('it is full')), loop);
    await expect(failing).rejects.toThrow('it is full');
  });
});
