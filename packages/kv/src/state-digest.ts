/**
 * A digest of the logical state of a shard: the same on every replica at the same index, though
 * what stands on their disks differs in nonces, DEKs and the order of rows.
 *
 * Each row's SHA-256 is over `expireAtMs u64 | content` (the content in the clear, as in its row).
 * The digests are added up, as eight u32 each modulo 2^32, so their order does not matter; the
 * result is the SHA-256 of `rows u64 | sum(32)`. It tells replicas that have diverged; it does not
 * withstand somebody who chooses rows so that their sum stays.
 */
import { hash } from 'node:crypto';
import type { RowSeal } from '@raftseal/interface';
import { cleartextFormat } from './lmdb-store.ts';
import { Pace } from './pace.ts';
import type { RowSource } from './row-source.ts';
import { RowTable } from './row-table.ts';
import { sealedFormat } from './sealed-store.ts';
import {
  CLEAR_EXPIRY_TABLE,
  CLEAR_ROWS_TABLE,
  SEALED_EXPIRY_TABLE,
  SEALED_ROWS_TABLE,
} from './tables.ts';

const LANES = 8;

class DigestSum {
  readonly #lanes = new Uint32Array(LANES);
  #rows = 0n;

  add(content: Buffer): void {
    const digest = hash('sha256', content, 'buffer');
    for (let lane = 0; lane < LANES; lane++) {
      this.#lanes[lane] = (this.#lanes[lane] ?? 0) + digest.readUInt32BE(4 * lane);
    }
    this.#rows++;
  }

  result(): string {
    const bytes = Buffer.alloc(8 + 4 * LANES);
    bytes.writeBigUInt64BE(this.#rows, 0);
    this.#lanes.forEach((sum, lane) => {
      bytes.writeUInt32BE(sum, 8 + 4 * lane);
    });
    return hash('sha256', bytes, 'hex');
  }
}

/** @throws RAFTSEAL_KV_ROW_CORRUPT */
export async function digestOf(
  source: RowSource,
  shardId: number,
  seal: RowSeal | 'cleartext',
): Promise<string> {
  const sum = new DigestSum();
  const pace = new Pace();
  const clear = { rows: CLEAR_ROWS_TABLE, expiry: CLEAR_EXPIRY_TABLE, format: cleartextFormat };
  const tables = [new RowTable({ ...clear, source })];
  if (seal !== 'cleartext') {
    const format = sealedFormat(seal, shardId);
    tables.push(
      new RowTable({ rows: SEALED_ROWS_TABLE, expiry: SEALED_EXPIRY_TABLE, format, source }),
    );
  }
  for (const table of tables) {
    for (const content of table.contents()) {
      sum.add(content);
      if (pace.due) await pace.rest();
    }
  }
  return sum.result();
}
