/**
 * Every envelope in the stores of a node that does not run (docs/formats.md, F-STO): its rows and
 * the meta row of each shard.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, open } from 'lmdb';
import { readSeal } from './log-entry.ts';
import type { SealLedger } from './seal-ledger.ts';

const HEADER_BYTES = 9;

export interface StoreWalkOptions {
  readonly nodeName: string;
  readonly dataPath: string;
  readonly shardCount: number;
  readonly ledger: SealLedger;
}

export interface StoreWalk {
  readonly sealedRows: number;
  readonly cleartextRows: number;
  /** Every DEK that a row or a meta row is sealed under. */
  readonly dekIds: ReadonlySet<number>;
}

export async function walkStores(options: StoreWalkOptions): Promise<StoreWalk> {
  let [sealedRows, cleartextRows] = [0, 0];
  const dekIds = new Set<number>();
  for (let shardId = 0; shardId < options.shardCount; shardId++) {
    const path = join(options.dataPath, 'shards', `${shardId}`, 'store');
    if (!existsSync(join(path, 'data.mdb'))) continue;
    const environment = open({ path, readOnly: true, maxDbs: 8, overlappingSync: false });
    // A table that was never made is undefined in an environment that only reads.
    const table = (name: string): Database<Buffer, Buffer> | undefined =>
      environment.openDB<Buffer, Buffer>({ name, encoding: 'binary', keyEncoding: 'binary' });
    const where = `store of shard ${shardId} on ${options.nodeName}`;
    const add = (what: string, row: Buffer): void => {
      const envelope = row.subarray(HEADER_BYTES);
      options.ledger.add(`${where}, ${what}`, envelope);
      dekIds.add(readSeal(envelope).dekId);
    };
    for (const { key, value } of table('sealed')?.getRange() ?? []) {
      add(`row ${key.toString('hex', 0, 8)}`, value);
      sealedRows++;
    }
    const meta = table('meta')?.get(Buffer.from('sealed'));
    if (meta !== undefined) add('meta row', meta);
    cleartextRows += table('clear')?.getCount() ?? 0;
    await environment.close();
  }
  return { sealedRows, cleartextRows, dekIds };
}
