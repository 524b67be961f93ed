/**
 * What looks random to a client and is the same on every replica: numbers that follow from the
 * index of the entry (Mulberry32).
 */
export function seededRandom(index: bigint): () => number {
  let state = Number(BigInt.asUintN(32, (index * 0x9e3779b97f4a7c15n) >> 16n));
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
