/** Invariant 3 over everything that a cluster has written: what was sealed under which nonce. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { decodeEnvelope, decodeNonce, type NonceParts } from '@raftseal/envelope';
import { TAG_BYTES, TAG_SEALED } from '@raftseal/shard-group';
import { type Database, open } from 'lmdb';
import { expect } from 'vitest';
import type { StoredEntry } from './etcd-by-hand.ts';
import { SHARD_COUNT } from './running-cluster.ts';

const ROW_HEADER_BYTES = 9;

export class SealLedger {
  readonly #seals = new Map<string, string>();

  get seals(): number {
    return this.#seals.size;
  }

  addEntries(entries: readonly StoredEntry[]): void {
    for (const { shardId, index, payload } of entries) {
      const where = `entry ${index} of shard ${shardId}`;
      if (payload[0] === TAG_SEALED) this.#add(where, payload.subarray(TAG_BYTES));
    }
  }

  /** The rows of a node that does not run. */
  async addStores(dataPath: string): Promise<void> {
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
      const path = join(dataPath, 'shards', `${shardId}`, 'store');
      if (!existsSync(join(path, 'data.mdb'))) continue;
      const environment = open({ path, readOnly: true, maxDbs: 8, overlappingSync: false });
      // A table that was never made is undefined in an environment that only reads.
      const sealed: Database<Buffer, Buffer> | undefined = environment.openDB<Buffer, Buffer>({
        name: 'sealed',
        encoding: 'binary',
        keyEncoding: 'binary',
      });
      for (const { key, value } of sealed?.getRange() ?? []) {
        const where = `row ${key.toString('hex', 0, 8)} of shard ${shardId} in ${dataPath}`;
        this.#add(where, value.subarray(ROW_HEADER_BYTES));
      }
      await environment.close();
    }
  }

  /** The same bytes in two places are one seal: stores share rows, and copies of them do. */
  #add(where: string, bytes: Buffer): void {
    const { dekId, nonce } = decodeEnvelope(bytes);
    const key = `${dekId} ${Buffer.from(nonce).toString('hex')}`;
    const sealed = bytes.toString('base64');
    expect(this.#seals.get(key) ?? sealed, `nonce ${key}, used again in ${where}`).toBe(sealed);
    this.#seals.set(key, sealed);
  }
}

/** Who sealed an entry; undefined for one in the clear. */
export function writerOf({ payload }: StoredEntry): NonceParts | undefined {
  if (payload[0] !== TAG_SEALED) return undefined;
  return decodeNonce(decodeEnvelope(payload.subarray(TAG_BYTES)).nonce);
}
