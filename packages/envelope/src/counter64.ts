/**
 * A 64-bit counter in two 32-bit halves, exact where a JavaScript number is not (past 2^53), and
 * without the allocation of a bigint per step. It never goes past its limit and never wraps.
 */
export class Counter64 {
  /** The higher and lower 32 bits of the value. */
  high = 0;
  low = 0;
  #limitHigh = 0;
  #limitLow = 0;

  /** Both u64, `start` not above `limit`. */
  constructor({ start, limit }: { readonly start: bigint; readonly limit: bigint }) {
    this.high = Number(start >> 32n);
    this.low = Number(start & 0xffff_ffffn);
    this.limitTo(limit);
  }

  /** Moves the limit, a u64; one below the value comes to the value itself. */
  limitTo(limit: bigint): void {
    const { value } = this;
    const reachable = limit < value ? value : limit;
    this.#limitHigh = Number(reachable >> 32n);
    this.#limitLow = Number(reachable & 0xffff_ffffn);
  }

  get value(): bigint {
    return (BigInt(this.high) << 32n) | BigInt(this.low);
  }

  /** Adds one. @returns false, and adds nothing, at the limit */
  increment(): boolean {
    if (this.low === this.#limitLow && this.high === this.#limitHigh) return false;
    this.low = (this.low + 1) >>> 0;
    if (this.low === 0) this.high++;
    return true;
  }
}
