import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '@raftseal/interface';
import { afterEach, describe, expect, it } from 'vitest';
import { KvStateMachine } from '../src/index.ts';
import { rowSeal } from './support/seal.ts';
import { START_MS, TestShard } from './support/shard.ts';
import { filesHold } from './support/store-files.ts';

const shards: TestShard[] = [];
async function openShard(...args: Parameters<typeof TestShard.open>): Promise<TestShard> {
  const shard = await TestShard.open(...args);
  shards.push(shard);
  return shard;
}
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

/** Something that is in a file only if it was put there. */
function canary(): string {
  return randomBytes(24).toString('hex');
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text, 'latin1').digest();
const code = (name: string) => expect.objectContaining({ code: `RAFTSEAL_KV_${name}` });

describe('rows of a shard that is sealed from the start', () => {
  it('invariant 10: no key, value, field or unkeyed name of a key is in any file', async () => {
    const shard = await openShard({ seal: rowSeal() });
    const [key, value, field, fieldValue] = [canary(), canary(), canary(), canary()];
    shard.run('set', key, value, 'PX', '100000');
    shard.run('hset', `${key}h`, field, fieldValue);
    await shard.machine.flush();
    await shard.machine.close();
    const { directory } = shard.options;
    for (const text of [key, value, field, fieldValue]) {
      expect(filesHold(directory, Buffer.from(text))).toBe(false);
    }
    expect(filesHold(directory, sha256(key))).toBe(false);
  });

  it('the search finds what is in the clear', async () => {
    const shard = await openShard({ seal: 'cleartext' });
    const [key, value] = [canary(), canary()];
    shard.run('set', key, value);
    await shard.machine.flush();
    await shard.machine.close();
    const { directory } = shard.options;
    expect(filesHold(directory, Buffer.from(key))).toBe(true);
    expect(filesHold(directory, Buffer.from(value))).toBe(true);
    expect(filesHold(directory, sha256(key))).toBe(true);
  });
});

describe('sealRows', () => {
  async function shardWithRows(count: number): Promise<TestShard> {
    const shard = await openShard({ seal: 'cleartext', cacheBytesMax: 5_000 });
    for (let i = 0; i < count; i++) shard.run('set', `key:${i}`, `value-${i}-${'x'.repeat(40)}`);
    await shard.machine.flush();
    return shard;
  }

  it('goes on where the disk has no place for a copy of the file, and tries again later', async () => {
    const shard = await shardWithRows(50);
    // A file where the copy is to be made.
    writeFileSync(join(shard.options.directory, 'copy'), '');
    shard.machine.sealRows(rowSeal());
    shard.line('set key:7 again');
    const index = shard.machine.appliedIndex;
    expect(await shard.machine.flush()).toBe(index);
    expect(shard.machine.statistics()).toMatchObject({ rowsCleartext: 0, cleartextLeft: true });
    shard.line('set key:8 later');
    await shard.reopen({ seal: rowSeal(1, 2) });
    expect(shard.query('get', 'key:8')).toBe('later');
    await shard.machine.flush();
    expect(shard.machine.statistics()).toMatchObject({ cleartextLeft: false });
  });

  it('seals every row, also those that nobody writes again, and counts them', async () => {
    const shard = await shardWithRows(500);
    expect(shard.machine.statistics()).toMatchObject({
      rowsCleartext: 500,
      rowsSealed: 0,
      cleartextLeft: true,
    });
    shard.line('set key:7 again');
    const before = shard.state();
    shard.machine.sealRows(rowSeal());
    await shard.machine.flush();
    expect(shard.machine.statistics()).toMatchObject({
      rowsCleartext: 0,
      rowsSealed: 500,
      cleartextLeft: false,
    });
    expect(shard.query('get', 'key:7')).toBe('again');
    expect(shard.state() === before).toBe(true);
  });

  it('invariant 10: leaves nothing in the clear in any file, not even in free pages', async () => {
    const shard = await openShard({ seal: 'cleartext' });
    const marks = Array.from({ length: 200 }, () => ({ key: canary(), value: canary() }));
    for (const { key, value } of marks) shard.run('set', key, value, 'PX', '5000000');
    shard.run('set', 'big', marks.map(({ value }) => value).join(''));
    await shard.machine.flush();
    const found = (): boolean =>
      marks.some(
        ({ key, value }) =>
          filesHold(shard.options.directory, Buffer.from(key)) ||
          filesHold(shard.options.directory, Buffer.from(value)) ||
          filesHold(shard.options.directory, sha256(key)),
      );
    expect(found()).toBe(true);
    shard.machine.sealRows(rowSeal());
    await shard.machine.flush();
    expect(found()).toBe(false);
    for (const { key, value } of marks) expect(shard.query('get', key)).toBe(value);
  });

  it('keeps reads, writes, SCAN and expiry right while rows move', async () => {
    const shard = await shardWithRows(3_000);
    const expected = new Set(shard.scanAll(100));
    shard.machine.sealRows(rowSeal());
    const flushed = shard.machine.flush();
    const seen = new Set<string>();
    let cursor = 0n;
    for (let i = 0; ; i++) {
      const page = shard.machine.scan(cursor, { count: 50 }, shard.nowMs);
      for (const key of page.keys) seen.add(key);
      cursor = page.cursor;
      expect(shard.query('get', `key:${i}`)).toBe(`value-${i}-${'x'.repeat(40)}`);
      shard.run('set', `key:${2999 - i}`, 'changed');
      if (cursor === 0n) break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await flushed;
    await shard.machine.flush();
    expect(seen).toEqual(expected);
    expect(shard.machine.size()).toBe(3_000);
    expect(shard.machine.statistics()).toMatchObject({ rowsCleartext: 0, rowsSealed: 3_000 });
    await shard.reopen({ seal: rowSeal(1, 2) });
    expect(shard.query('get', 'key:2999')).toBe('changed');
    expect(shard.scanAll(100)).toEqual([...expected].sort());
  });

  it('moves times of expiry with their rows', async () => {
    const shard = await openShard({ seal: 'cleartext' });
    shard.run('set', 'short', 'v', 'PX', '1000');
    shard.run('set', 'long', 'v', 'PX', '1000000');
    await shard.machine.flush();
    shard.machine.sealRows(rowSeal());
    await shard.machine.flush();
    await shard.reopen({ seal: rowSeal(1, 2) });
    shard.nowMs = START_MS + 2_000;
    const command = shard.machine.expired(shard.nowMs, 10);
    expect(command === undefined ? [] : shard.applyRaw(command)).toEqual([1]);
    expect(shard.machine.size()).toBe(1);
  });

  it('goes on after a restart in the middle', async () => {
    const shard = await shardWithRows(100);
    const before = shard.state();
    await shard.reopen({ seal: rowSeal() });
    await shard.machine.flush();
    expect(shard.machine.statistics()).toMatchObject({
      rowsCleartext: 0,
      rowsSealed: 100,
      cleartextLeft: false,
    });
    expect(shard.state()).toBe(before);
  });
});

describe('opening a store', () => {
  it('is refused without a seal where rows are sealed', async () => {
    const shard = await openShard({ seal: rowSeal() });
    shard.line('set a 1');
    await shard.machine.close();
    const again = KvStateMachine.open({ ...shard.options, seal: 'cleartext' });
    await expect(again).rejects.toThrow(code('SEAL_REQUIRED'));
  });

  it('is refused with the seal of another cluster', async () => {
    const shard = await openShard({ seal: rowSeal(1) });
    shard.line('set a 1');
    await shard.machine.close();
    const again = KvStateMachine.open({ ...shard.options, seal: rowSeal(2) });
    await expect(again).rejects.toThrow(code('ROW_CORRUPT'));
  });

  it.each(['cleartext', rowSeal()] as const)('is refused for another shard (%#)', async (seal) => {
    const shard = await openShard({ seal });
    shard.line('set a 1');
    await shard.machine.close();
    const again = KvStateMachine.open({ ...shard.options, shardId: 9 });
    const error: unknown = await again.catch((thrown: unknown) => thrown);
    // The seal binds the shard, so a sealed meta row of another one does not even open.
    expect(codeOf(error)).toBe(
      seal === 'cleartext' ? 'RAFTSEAL_KV_STORE_MISMATCH' : 'RAFTSEAL_KV_ROW_CORRUPT',
    );
  });

  it.each([-(2 ** 31), 0, 1.5, Number.NaN, 2 ** 60, 2 ** 20 + 1])(
    'is refused with a map size of %d, which LMDB would crash on',
    async (mapBytes) => {
      await expect(openShard({ mapBytes })).rejects.toThrow(RangeError);
    },
  );
});
