import { afterEach, describe, expect, it } from 'vitest';
import { KvStateMachine } from '../src/index.ts';
import { rowSeal } from './support/seal.ts';
import { START_MS, TestShard } from './support/shard.ts';
import { editRows } from './support/store-files.ts';

const shards: TestShard[] = [];
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

const SHARD_ID = 3;
const HEADER_BYTES = 9;
/** Offsets in the content: of the flags, of the time, of the DEK of the latest pass. */
const FLAGS = 14;
const TIME = 15;
const REWRITE = 23;
const CONTENT_BYTES = 67;

/** A closed shard with one key, whose meta row was changed. */
async function closedShard(
  sealed: boolean,
  edit: (content: Buffer) => Buffer,
): Promise<TestShard['options']> {
  const seal = rowSeal();
  const shard = await TestShard.open({ seal: sealed ? seal : 'cleartext' });
  shards.push(shard);
  shard.line('set a 1');
  await shard.machine.close();
  await editRows(shard.options.directory, 'meta', ({ value }) => {
    const [header, rest] = [value.subarray(0, HEADER_BYTES), value.subarray(HEADER_BYTES)];
    if (!sealed) return Buffer.concat([header, edit(rest)]);
    const rowKey = seal.rowKey(SHARD_ID, Buffer.from('raftseal meta row'));
    const content = edit(seal.open(SHARD_ID, rowKey, header, rest));
    return Buffer.concat([header, seal.seal(SHARD_ID, rowKey, header, content)]);
  });
  return shard.options;
}

describe.each([false, true])('the meta row (sealed: %s)', (sealed) => {
  it('of format 1, which has no time, is read and rewritten with one', async () => {
    const options = await closedShard(sealed, (content) => {
      expect(content).toHaveLength(CONTENT_BYTES);
      const older = Buffer.from(content.subarray(0, TIME));
      older[FLAGS] = Number(!sealed);
      older.writeUInt16BE(1, 0);
      return older;
    });
    const shard = await TestShard.open(options);
    shards.push(shard);
    expect(shard.machine.durableIndex).toBe(1n);
    expect(shard.machine.durableTimestampMs).toBe(0);
    expect(shard.query('get', 'a')).toBe('1');
    shard.line('set b 2');
    await shard.reopen();
    expect(shard.machine.durableTimestampMs).toBe(START_MS);
  });

  it('of format 2, which knows of no pass over the rows, is read and rewritten with one', async () => {
    const options = await closedShard(sealed, (content) => {
      const older = Buffer.from(content.subarray(0, REWRITE));
      older.writeUInt16BE(2, 0);
      older[FLAGS] = Number(!sealed);
      return older;
    });
    const shard = await TestShard.open({ ...options, checkpointIdleMs: 1 });
    shards.push(shard);
    expect(shard.machine.durableTimestampMs).toBe(START_MS);
    expect(shard.query('get', 'a')).toBe('1');
    expect(shard.machine.statistics().rewrite?.rowsDone).toBe(sealed ? 0 : undefined);
    while (shard.machine.statistics().rewrite !== null) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });

  it.each([1, 2])('of format %d with the flag of format 3 is refused', async (format) => {
    const options = await closedShard(sealed, (content) => {
      const older = Buffer.from(content.subarray(0, format === 1 ? TIME : REWRITE));
      older.writeUInt16BE(format, 0);
      older[FLAGS] = 2;
      return older;
    });
    const again = KvStateMachine.open(options);
    await expect(again).rejects.toMatchObject({ code: 'RAFTSEAL_KV_ROW_CORRUPT' });
  });

  it('that says every row is under no DEK is refused', async () => {
    const options = await closedShard(sealed, (content) => {
      content[FLAGS] = 2;
      content.writeUInt32BE(0, REWRITE);
      return content;
    });
    const again = KvStateMachine.open(options);
    await expect(again).rejects.toMatchObject({ code: 'RAFTSEAL_KV_ROW_CORRUPT' });
  });

  it('of a format from the future is refused', async () => {
    const options = await closedShard(sealed, (content) => {
      content.writeUInt16BE(4, 0);
      return content;
    });
    const again = KvStateMachine.open(options);
    await expect(again).rejects.toMatchObject({ code: 'RAFTSEAL_KV_STORE_VERSION' });
  });

  it('with a time that no clock of ours can show is refused', async () => {
    const options = await closedShard(sealed, (content) => {
      content.writeBigUInt64BE(2n ** 53n, TIME);
      return content;
    });
    const again = KvStateMachine.open(options);
    await expect(again).rejects.toMatchObject({ code: 'RAFTSEAL_KV_ROW_CORRUPT' });
  });
});
