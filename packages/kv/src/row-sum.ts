/**
 * A sum over rows that does not depend on their order, so that it can be taken in parts: the
 * SHA-256 of each row, added up as eight u32 each modulo 2^32; the result is the SHA-256 of
 * `rows u64 | sum(32)`. It tells sets of rows that differ; it does not withstand somebody who
 * chooses rows so that their sum stays.
 */
import { hash } from 'node:crypto';

const LANES = 8;

export class RowSum {
  readonly #lanes = new Uint32Array(LANES);
  #rows = 0n;

  get rows(): bigint {
    return this.#rows;
  }

  add(row: Buffer): void {
    const digest = hash('sha256', row, 'buffer');
    for (let lane = 0; lane < LANES; lane++) {
      this.#lanes[lane] = (this.#lanes[lane] ?? 0) + digest.readUInt32BE(4 * lane);
    }
    this.#rows++;
  }

  /** Adds what another sum is of. */
  merge(other: RowSum): void {
    other.#lanes.forEach((sum, lane) => {
      this.#lanes[lane] = (this.#lanes[lane] ?? 0) + sum;
    });
    this.#rows += other.#rows;
  }

  /** 64 hex digits. */
  result(): string {
    const bytes = Buffer.alloc(8 + 4 * LANES);
    bytes.writeBigUInt64BE(this.#rows, 0);
    this.#lanes.forEach((sum, lane) => {
      bytes.writeUInt32BE(sum, 8 + 4 * lane);
    });
    return hash('sha256', bytes, 'hex');
  }
}
