/**
 * A small seeded generator (mulberry32): the same seed draws the same numbers on every machine.
 * For schedules only; nothing secret is ever drawn from it.
 */
export interface Random {
  /** A whole number from 0 up to, not including, `bound`. */
  below(bound: number): number;
  /** True half of the time. */
  coin(): boolean;
}

/** @param name separates the streams of one seed, so that one's draws do not move another's. */
export function seededRandom(seed: number, name: string): Random {
  let state = seed >>> 0;
  for (const char of name) state = Math.imul(state ^ char.charCodeAt(0), 0x01000193) >>> 0;
  const below = (bound: number): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
  return { below, coin: () => below(2) === 1 };
}
