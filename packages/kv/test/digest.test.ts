import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { KvStateMachine } from '../src/index.ts';
import { entryOf, timeOf } from './support/entries.ts';
import { rowSeal } from './support/seal.ts';
import { START_MS, stateOf, TestShard } from './support/shard.ts';
import { editRows, flipBit } from './support/store-files.ts';

const shards: TestShard[] = [];
async function openShard(...args: Parameters<typeof TestShard.open>): Promise<TestShard> {
  const shard = await TestShard.open(...args);
  shards.push(shard);
  return shard;
}
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

async function digestOf(...lines: string[]): Promise<string> {
  const shard = await openShard();
  for (const line of lines) shard.line(line);
  return (await shard.machine.digest()).digest;
}

describe('the digest of a state', () => {
  it('invariant 9, HAZARD SENV-22: is the same on every replica, though their disks differ', async () => {
    const replicas = [
      await openShard({ seal: 'cleartext' }),
      await openShard({ seal: rowSeal(1, 1), dirtyBytesMax: 20_000, cacheBytesMax: 5_000 }),
      await openShard({ seal: 'cleartext' }),
    ];
    const seen = new Set<string>();
    for (let through = 100n; through <= 500n; through += 100n) {
      for (const [number, { machine }] of replicas.entries()) {
        for (let index = machine.appliedIndex + 1n; index <= through; index++) {
          machine.apply(entryOf(index));
          if (number === 0 && index % 30n === 0n) await machine.flush();
        }
        if (number === 2 && through === 300n) machine.sealRows(rowSeal(1, 2));
      }
      const digests = [];
      for (const { machine } of replicas) digests.push(await machine.digest());
      expect(digests[0]?.index).toBe(through);
      expect(digests[1]).toEqual(digests[0]);
      expect(digests[2]).toEqual(digests[0]);
      seen.add(digests[0]?.digest ?? '');
    }
    expect(seen.size).toBe(5);
  });

  it('differs where a key, value, kind, field, expiry or version does', async () => {
    const digests = [
      await digestOf(),
      await digestOf('set a 1'),
      await digestOf('set a 2'),
      await digestOf('set b 1'),
      await digestOf('set a 1 px 5000'),
      await digestOf('set a 1 px 5001'),
      await digestOf('set x 1', 'set a 1', 'del x'),
      await digestOf('set a 1', 'set b 1'),
      await digestOf('set b 1', 'set a 1'),
      await digestOf('hset a 1 1'),
      await digestOf('hset a 1 2'),
      await digestOf('hset a 1 1 2 2'),
    ];
    expect(new Set(digests).size).toBe(digests.length);
    expect(await digestOf('set a 1', 'set b 1', 'del b')).toBe(await digestOf('set a 1'));
  });

  it('is what the specification says', async () => {
    const shard = await openShard({ seal: rowSeal() });
    shard.run('set', 'key', 'value', 'PX', '5000');
    shard.run('hset', 'h', 'f', 'v');
    const rows = [
      { expireAtMs: START_MS + 5_000, content: '\x01\0\0\0\0\0\0\0\x01\0\0\0\x03keyvalue' },
      {
        expireAtMs: 0,
        content: '\x02\0\0\0\0\0\0\0\x02\0\0\0\x01h\0\0\0\x01\0\0\0\x01f\0\0\0\x01v',
      },
    ];
    const sum = Buffer.alloc(8 + 32);
    sum.writeBigUInt64BE(2n, 0);
    for (const { expireAtMs, content } of rows) {
      const expiry = Buffer.alloc(8);
      expiry.writeBigUInt64BE(BigInt(expireAtMs), 0);
      const digest = createHash('sha256').update(expiry).update(content, 'latin1').digest();
      for (let at = 0; at < 32; at += 4) {
        sum.writeUInt32BE((sum.readUInt32BE(8 + at) + digest.readUInt32BE(at)) % 2 ** 32, 8 + at);
      }
    }
    const expected = createHash('sha256').update(sum).digest('hex');
    expect(await shard.machine.digest()).toEqual({ index: 2n, digest: expected });
  });

  it('is of one index, in the midst of writes', async () => {
    const shard = await openShard({ seal: rowSeal(), dirtyBytesMax: 20_000 });
    const reference = await openShard();
    let writing = true;
    const writer = (async (): Promise<void> => {
      for (let index = 1n; writing; index++) {
        shard.machine.apply(entryOf(index));
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    const digests = [];
    for (let round = 0; round < 5; round++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      digests.push(await shard.machine.digest());
    }
    writing = false;
    await writer;
    for (const { index, digest } of digests) {
      for (let next = reference.machine.appliedIndex + 1n; next <= index; next++) {
        reference.machine.apply(entryOf(next));
      }
      expect(await reference.machine.digest()).toEqual({ index, digest });
    }
    expect(reference.machine.size()).toBeGreaterThan(0);
    expect(stateOf(reference.machine, timeOf(1n))).not.toBe('[]');
  });

  it('invariant 6: is an error where a row does not open', async () => {
    const shard = await openShard({ seal: rowSeal() });
    shard.line('set a 1');
    shard.line('set b 2');
    await shard.machine.close();
    await editRows(shard.options.directory, 'sealed', ({ value }) => flipBit(value, 200));
    shard.machine = await KvStateMachine.open(shard.options);
    await expect(shard.machine.digest()).rejects.toMatchObject({ code: 'RAFTSEAL_KV_ROW_CORRUPT' });
    const held = await openShard({ holdCheckpoints: true });
    const refused = { code: 'RAFTSEAL_KV_CHECKPOINTS_HELD' };
    await expect(held.machine.digest()).rejects.toMatchObject(refused);
  });
});
