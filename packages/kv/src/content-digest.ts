/**
 * A digest of what is stored, in however many shards: keys, values, fields in their order, expiry
 * times. Versions are left out: they are indexes of one log, and another one has others. So it is
 * the same before and after all of it was moved to another cluster.
 *
 * It is the {@link RowSum} of `expireAtMs u64 | content` of each row, with zeros for the version.
 */
import { NO_EXPIRY } from './key-entry.ts';
import { RowSum } from './row-sum.ts';

const EXPIRY_BYTES = 8;
const VERSION_START: number = EXPIRY_BYTES + 1;
const VERSION_END: number = VERSION_START + 8;

export class ContentDigest {
  readonly #sum = new RowSum();
  readonly #nowMs: number;

  /** @param nowMs rows whose time has come by then are left out; 0 leaves none out. */
  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  get rowCount(): bigint {
    return this.#sum.rows;
  }

  /** @param row `expireAtMs u64 | content`; its version is overwritten. */
  add(row: Buffer): void {
    const expireAtMs = Number(row.readBigUInt64BE(0));
    if (expireAtMs !== NO_EXPIRY && expireAtMs <= this.#nowMs) return;
    row.fill(0, VERSION_START, VERSION_END);
    this.#sum.add(row);
  }

  /** Adds the rows of another shard. */
  merge(other: ContentDigest): void {
    this.#sum.merge(other.#sum);
  }

  /** 64 hex digits. */
  result(): string {
    return this.#sum.result();
  }
}
