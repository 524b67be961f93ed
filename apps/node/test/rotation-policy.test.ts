import { describe, expect, it } from 'vitest';
import {
  agedAtMs,
  budgetLeft,
  type KeyUse,
  NONCE_EPOCH_ROTATED,
  ROTATION_DEFAULT,
  rotationCause,
  SEALS_ROTATED,
} from '../src/rotation-policy.ts';

const DAY_MS = 86_400_000;
const MADE_MS = Date.UTC(2026, 0, 1);
const use = (changes: Partial<KeyUse> = {}): KeyUse => ({
  createdAtMs: MADE_MS,
  seals: 0n,
  nonceEpoch: 1,
  ...changes,
});

describe('the cause of a rotation', () => {
  it('is none for a new key', () => {
    expect(rotationCause(use(), ROTATION_DEFAULT, MADE_MS)).toBeUndefined();
  });

  it('AROT-15: is its age from the day on that the policy says', () => {
    const at = agedAtMs(use(), ROTATION_DEFAULT) ?? 0;
    expect(at).toBe(MADE_MS + 90 * DAY_MS);
    expect(rotationCause(use(), ROTATION_DEFAULT, at - 1)).toBeUndefined();
    expect(rotationCause(use(), ROTATION_DEFAULT, at)).toBe('age');
    expect(rotationCause(use(), { afterDays: 0 }, at)).toBeUndefined();
    expect(agedAtMs(use(), { afterDays: 0 })).toBeUndefined();
  });

  it('AROT-15: is its use at 90 % of 2^32 seals, or earlier where that is asked for', () => {
    expect(rotationCause(use({ seals: SEALS_ROTATED - 1n }), { afterDays: 0 }, 0)).toBeUndefined();
    expect(rotationCause(use({ seals: SEALS_ROTATED }), { afterDays: 0 }, MADE_MS)).toBe('seals');
    const early = { afterDays: 0, afterSeals: 5n };
    expect(rotationCause(use({ seals: 4n }), early, MADE_MS)).toBeUndefined();
    expect(rotationCause(use({ seals: 5n }), early, MADE_MS)).toBe('seals');
  });

  it('is its nonce epochs while some are left for processes to come', () => {
    const late = use({ nonceEpoch: NONCE_EPOCH_ROTATED });
    expect(rotationCause(late, { afterDays: 0 }, MADE_MS)).toBe('nonce-epochs');
    expect(
      rotationCause({ ...late, nonceEpoch: 0xfeff }, { afterDays: 0 }, MADE_MS),
    ).toBeUndefined();
  });

  it('is a time before which it was made, and not while that time is to come', () => {
    const policy = { afterDays: 0, madeBeforeMs: MADE_MS + 1 };
    expect(rotationCause(use(), policy, MADE_MS)).toBeUndefined();
    expect(rotationCause(use(), policy, MADE_MS + 1)).toBe('made-before');
    const made = use({ createdAtMs: MADE_MS + 1 });
    expect(rotationCause(made, policy, MADE_MS + 2)).toBeUndefined();
  });

  it('is an age that cannot be told: the key is from far ahead', () => {
    const ahead = (days: number) => use({ createdAtMs: MADE_MS + days * DAY_MS });
    expect(rotationCause(ahead(1), ROTATION_DEFAULT, MADE_MS)).toBeUndefined();
    expect(rotationCause(ahead(2), ROTATION_DEFAULT, MADE_MS)).toBe('age');
    expect(rotationCause(ahead(2), { afterDays: 0 }, MADE_MS)).toBeUndefined();
  });
});

it('the budget goes from 1 to 0, and not below', () => {
  expect([0n, 2n ** 31n, 2n ** 32n, 2n ** 33n].map(budgetLeft)).toEqual([1, 0.5, 0, 0]);
});
