/** The envelopes of a store, read beside it while it is open and without it once it is closed. */
import { afterEach, describe, expect, it } from 'vitest';
import { stoppedStoreEnvelopes } from '../src/index.ts';
import { rowSeal } from './support/seal.ts';
import { TestShard } from './support/shard.ts';
import { withTable } from './support/store-files.ts';

const shards: TestShard[] = [];
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

async function shardWith(seal: ReturnType<typeof rowSeal> | 'cleartext'): Promise<TestShard> {
  const shard = await TestShard.open({ seal });
  shards.push(shard);
  for (let n = 0; n < 600; n++) shard.line(`set key-${n} value-${n}`);
  await shard.machine.flush();
  return shard;
}

function hexOf(envelopes: readonly Buffer[]): string[] {
  return envelopes.map((envelope) => envelope.toString('hex'));
}

describe('the envelopes of a store', () => {
  it('are those of its meta row and its rows, whether it is open or not', async () => {
    const shard = await shardWith(rowSeal());
    const live = hexOf([...shard.machine.envelopes()]);
    await shard.machine.close();
    const stopped: Buffer[] = [];
    for await (const each of stoppedStoreEnvelopes(shard.options.directory)) stopped.push(each);
    expect(hexOf(stopped)).toEqual(live);
    const rows = await withTable(shard.options.directory, 'sealed', (table) => table.rows());
    const meta = await withTable(shard.options.directory, 'meta', (table) => table.rows());
    const HEADER_BYTES = 9;
    const written = [...meta, ...rows].map(({ value }) => value.subarray(HEADER_BYTES));
    expect(live).toEqual(hexOf(written));
    expect(live).toHaveLength(601);
  });

  it('are none where it is in the clear', async () => {
    const shard = await shardWith('cleartext');
    expect([...shard.machine.envelopes()]).toEqual([]);
    await shard.machine.close();
    const stopped = stoppedStoreEnvelopes(shard.options.directory);
    expect(await stopped.next()).toMatchObject({ done: true });
  });
});
