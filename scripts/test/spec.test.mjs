/** The model of the cutover, small; `npm run spec` searches a larger one. */
import { describe, expect, it } from 'vitest';
import { holes, search, small } from '../spec.mjs';

const TIMEOUT_MS = 120_000;

describe('invariants 1, 4 and 9: the model of the cutover', () => {
  for (const configuration of small) {
    it(`${configuration.name}: holds in every state`, { timeout: TIMEOUT_MS }, () => {
      expect(search(configuration)).toMatchObject({ found: 'holds', violated: undefined });
    });
  }

  for (const configuration of holes) {
    it(`${configuration.name}: fails`, { timeout: TIMEOUT_MS }, () => {
      expect(search(configuration)).toMatchObject({
        found: 'fails',
        violated: expect.stringContaining('assertion violated'),
      });
    });
  }
});
