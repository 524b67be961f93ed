import { describe, expect, it } from 'vitest';
import { type KeyStep, nameOfStep, planKeySteps } from '../../src/keys/key-steps.ts';
import { Random } from '../../src/random.ts';

function planOf(seed: number): readonly KeyStep[] {
  return planKeySteps(new Random(seed, 'steps'));
}

describe('the plan of an operator', () => {
  it('is the same for the same seed', () => {
    expect(planOf(3)).toEqual(planOf(3));
    expect(new Set([1, 2, 3, 4, 5].map((seed) => JSON.stringify(planOf(seed)))).size).toBe(5);
  });

  it('goes from one KEK to the other by way of both, and retires in the end', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const names = planOf(seed).map(nameOfStep);
      expect(names.filter((name) => /^(use|rewrap)/.test(name))).toEqual([
        'use-keks file+vault',
        'rewrap file+vault',
        'use-keks vault',
        'rewrap vault',
      ]);
      expect(names.at(-1)).toBe('retire-replaced');
      expect(names.lastIndexOf('forget-backups')).toBeLessThan(names.length - 1);
    }
  });

  it('rotates every purpose before and after', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const [before, between, after] = planOf(seed)
        .map(nameOfStep)
        .join()
        .split(/rewrap [^,]*/);
      expect(between).toBeDefined();
      for (const part of [before, after]) {
        for (const purpose of ['storage', 'raft', 'index'])
          expect(part).toContain(`rotate ${purpose}`);
      }
    }
  });

  it('needs no key of a backup where it finds out what else is needed', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const kinds = planOf(seed).map(({ kind }) => kind);
      for (const [at, kind] of kinds.entries()) {
        if (kind !== 'retire-too-early') continue;
        const rotatedSince = kinds.slice(0, at).lastIndexOf('rotate');
        expect(rotatedSince).toBeGreaterThan(kinds.slice(0, at).lastIndexOf('back-up'));
        expect(kinds.slice(at + 1, at + 3)).toEqual(['back-up', 'retire-backed-up']);
      }
    }
  });
});
