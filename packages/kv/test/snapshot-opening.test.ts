/** Snapshots that are opened row by row, and installed nowhere. */
import { codeOf } from '@raftseal/interface';
import { afterEach, describe, expect, it } from 'vitest';
import { ContentDigest, openSnapshotRows } from '../src/index.ts';
import { rowSeal } from './support/seal.ts';
import { START_MS, TestShard } from './support/shard.ts';
import { assemble, cut, framesOf, snapshotOf, type WholeSnapshot } from './support/snapshots.ts';

const SHARD_ID = 3;
const ROWS = 300;
const seal = rowSeal(1, 9);

const shards: TestShard[] = [];
async function openShard(...args: Parameters<typeof TestShard.open>): Promise<TestShard> {
  const shard = await TestShard.open(...args);
  shards.push(shard);
  return shard;
}
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

async function filled(
  options: Parameters<typeof TestShard.open>[0] = { seal },
): Promise<TestShard> {
  const shard = await openShard(options);
  for (let n = 0; n < ROWS; n++) shard.line(`set key:${n} ${'v'.repeat(n)}`);
  shard.line('hset hash z 1 a 2');
  shard.line('set soon 1 px 5000');
  await shard.machine.flush();
  return shard;
}

interface Opened {
  readonly keys: string[];
  readonly digest: ContentDigest;
}

async function openAll(
  { bytes, expected }: Pick<WholeSnapshot, 'bytes' | 'expected'>,
  { pieceBytes = 1 << 16, nowMs = 0 } = {},
): Promise<Opened> {
  const keys: string[] = [];
  const digest = new ContentDigest(nowMs);
  const parts = { shardId: SHARD_ID, seal, expected };
  for await (const rows of openSnapshotRows(cut(bytes, pieceBytes), parts)) {
    for (const { record, row } of rows) {
      keys.push(record.key);
      digest.add(row);
    }
  }
  return { keys, digest };
}

const refusal = (opening: Promise<unknown>): Promise<string | undefined> =>
  opening.then(() => 'opened', codeOf);

describe('opening the rows of a snapshot', () => {
  it('gives every row, wherever the pieces are cut, and says how much room they take', async () => {
    const shard = await filled();
    const taken = await shard.machine.snapshot();
    expect(taken.isSealed).toBe(true);
    taken.release();
    const whole = await snapshotOf(shard.machine);
    expect(taken.storedBytes).toBeGreaterThan(whole.bytes.length / 2);
    for (const pieceBytes of [whole.bytes.length, 1 << 16, 97]) {
      const { keys, digest } = await openAll(whole, { pieceBytes });
      expect(keys).toHaveLength(ROWS + 2);
      expect(new Set(keys)).toEqual(new Set(shard.machine.keys('*', START_MS)));
      expect(digest.result()).toBe((await shard.machine.contentDigest(0)).result());
    }
  });

  it('invariant 7: gives nothing of a snapshot in the clear', async () => {
    const shard = await filled({ seal: 'cleartext' });
    const whole = await snapshotOf(shard.machine);
    expect(await refusal(openAll(whole))).toBe('RAFTSEAL_KV_SNAPSHOT_INVALID');
    const taken = await shard.machine.snapshot();
    expect(taken.isSealed).toBe(false);
    taken.release();
  });

  it('invariant 7: refuses what is cut, or has a row that was changed under a right digest', async () => {
    const { bytes, expected } = await snapshotOf((await filled()).machine);
    for (const end of [10, 40, bytes.length >> 1, bytes.length - 1]) {
      const opening = openAll({ bytes: bytes.subarray(0, end), expected });
      expect(await refusal(opening)).toBe('RAFTSEAL_KV_SNAPSHOT_INVALID');
    }
    const { header, frames } = framesOf(bytes);
    const changed = frames.map(({ kind, body }, at) => {
      const copy = Buffer.from(body);
      if (at === 5) copy.writeUInt8(copy.readUInt8(copy.length - 1) ^ 1, copy.length - 1);
      return { kind, body: copy };
    });
    const forged = assemble(header, changed, seal);
    expect(await refusal(openAll({ bytes: forged, expected }))).toBe(
      'RAFTSEAL_KV_SNAPSHOT_INVALID',
    );
  });
});

describe('the digest of what is stored', () => {
  it('is the same for rows of other versions, in other shards, with what has expired left out', async () => {
    const whole = await filled();
    const parts = [await openShard({ seal }), await openShard({ seal: 'cleartext', shardId: 8 })];
    for (const shard of parts) shard.line('set gone 1');
    for (const shard of parts) shard.line('del gone');
    for (let n = ROWS - 1; n >= 0; n--) parts[n % 2]?.line(`set key:${n} ${'v'.repeat(n)}`);
    parts[0]?.line('hset hash z 1 a 2');
    const sum = new ContentDigest(0);
    for (const { machine } of parts) sum.merge(await machine.contentDigest(START_MS + 5000));
    expect(sum.rowCount).toBe(BigInt(ROWS + 1));
    const digest = await whole.machine.contentDigest(START_MS + 5000);
    expect(sum.result()).toBe(digest.result());
    expect((await whole.machine.contentDigest(START_MS)).rowCount).toBe(BigInt(ROWS + 2));
  });

  it('differs where a value, the order of fields or an expiry does', async () => {
    const results = new Set<string>();
    for (const line of [
      'hset a f 1 g 2',
      'hset a g 2 f 1',
      'set a 1',
      'set a 1 px 99',
      'set a 2',
    ]) {
      const shard = await openShard();
      shard.line(line);
      results.add((await shard.machine.contentDigest(0)).result());
    }
    expect(results.size).toBe(5);
  });
});
