import { codeOf, type Reply } from '@raftseal/interface';
import { afterEach, describe, expect, it } from 'vitest';
import { KvStateMachine } from '../src/index.ts';
import { rowSeal } from './support/seal.ts';
import { START_MS, TestShard } from './support/shard.ts';
import { editRows, flipBit, type RawRow, withTable } from './support/store-files.ts';

const shards: TestShard[] = [];
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

const seal = rowSeal();

/** A shard whose keys are all on disk, sealed and closed. */
async function closedShard(): Promise<TestShard> {
  const shard = await TestShard.open({ seal });
  shards.push(shard);
  shard.line('set one first-value');
  shard.line('set two other-value PX 5000');
  shard.line('hset three f v');
  await shard.machine.close();
  return shard;
}

async function edited(
  edit: (row: RawRow, all: readonly RawRow[]) => Buffer | undefined,
): Promise<TestShard> {
  const shard = await closedShard();
  await editRows(shard.options.directory, 'sealed', edit);
  shard.machine = await KvStateMachine.open(shard.options);
  return shard;
}

const keys = ['one', 'two', 'three'];
const rowOf = (key: string): Buffer => seal.rowKey(3, Buffer.from(key));
const isCorrupt = (reply: Reply): boolean =>
  JSON.stringify(reply).includes('"error","text":"RAFTSEAL_KV_ROW_CORRUPT ');

describe('a store whose rows are all sealed', () => {
  it('invariant 7: is not opened with a row in the clear that somebody added', async () => {
    const other = await TestShard.open({ seal: 'cleartext' });
    shards.push(other);
    other.line('set one forged');
    await other.machine.close();
    const forged = await withTable(other.options.directory, 'clear', (table) => table.rows());
    const shard = await closedShard();
    await withTable(shard.options.directory, 'clear', (table) => {
      for (const { key, value } of forged) table.put(key, value);
    });
    expect(forged).toHaveLength(1);
    await expect(KvStateMachine.open(shard.options)).rejects.toMatchObject({
      code: 'RAFTSEAL_KV_ROW_FORGED',
    });
  });
});

describe('a sealed row that was tampered with', () => {
  it('invariant 6: opens to an error wherever a bit is flipped in it', async () => {
    const shard = await closedShard();
    const { directory } = shard.options;
    const rows = await withTable(directory, 'sealed', (table) => table.rows());
    const row = rows.find(({ key }) => key.equals(rowOf('two')));
    const whole = row?.value ?? Buffer.alloc(0);
    expect(whole.length).toBeGreaterThan(40);
    for (let bit = 0; bit < whole.length * 8; bit += 23) {
      await withTable(directory, 'sealed', (table) => {
        table.put(rowOf('two'), flipBit(whole, bit));
      });
      shard.machine = await KvStateMachine.open(shard.options);
      expect(isCorrupt(shard.query('get', 'two')), `bit ${bit}`).toBe(true);
      expect(shard.query('get', 'one')).toBe('first-value');
      await shard.machine.close();
    }
  });

  it('invariant 7: does not open under the name of another key', async () => {
    const shard = await edited((row, all) =>
      row.key.equals(rowOf('one'))
        ? all.find(({ key }) => key.equals(rowOf('two')))?.value
        : row.value,
    );
    expect(isCorrupt(shard.query('get', 'one'))).toBe(true);
    expect(shard.query('get', 'two')).toBe('other-value');
  });

  it.each([0, 1, 8, 9, 10, 42])('is refused when cut to %d bytes', async (length) => {
    const shard = await edited((row) => row.value.subarray(0, length));
    for (const key of keys) expect(isCorrupt(shard.query('type', key)), key).toBe(true);
  });

  it('HAZARD SENV-07: is not taken for expired by a header that says so', async () => {
    const shard = await edited((row) => {
      const value = Buffer.from(row.value);
      value.writeBigUInt64BE(1n, 1);
      return value;
    });
    for (const key of keys) {
      expect(isCorrupt(shard.query('exists', key)), key).toBe(true);
      expect(isCorrupt(shard.query('ttl', key)), key).toBe(true);
    }
    expect(shard.machine.expired(START_MS + 10_000, 100)).toBeUndefined();
  });

  it('SENV-05 and SENV-06: is an error for GET, EXISTS, STRLEN, MGET, SCAN and KEYS', async () => {
    const shard = await edited((row) => flipBit(row.value, row.value.length * 8 - 1));
    const commands = [
      ['get', 'one'],
      ['exists', 'one'],
      ['strlen', 'one'],
      ['mget', 'x', 'one'],
    ];
    for (const args of commands) expect(isCorrupt(shard.query(...args))).toBe(true);
    const code = expect.objectContaining({ code: 'RAFTSEAL_KV_ROW_CORRUPT' });
    expect(() => shard.scanAll()).toThrow(code);
    expect(() => shard.machine.keys('*', shard.nowMs)).toThrow(code);
    expect(() => shard.machine.versionOf('one', shard.nowMs)).toThrow(code);
  });

  it('invariant 6: ends the shard when an entry needs it, and the index does not advance', async () => {
    const shard = await edited((row) => flipBit(row.value, 200));
    const applied = shard.machine.appliedIndex;
    const fatal = expect.objectContaining({ code: 'RAFTSEAL_KV_ROW_CORRUPT', fatal: true });
    expect(() => shard.line('append one x')).toThrow(fatal);
    expect(() => shard.line('set unrelated x')).toThrow(fatal);
    expect(() => shard.query('get', 'unrelated')).toThrow(fatal);
    await expect(shard.machine.flush()).rejects.toThrow(fatal);
    expect(shard.machine.appliedIndex).toBe(applied);
    expect(shard.machine.durableIndex).toBe(applied);
  });

  it('is replaced by an entry that does not need it', async () => {
    const shard = await edited((row) => flipBit(row.value, 200));
    shard.line('set one healed');
    await shard.machine.flush();
    await shard.reopen();
    expect(shard.query('get', 'one')).toBe('healed');
    expect(isCorrupt(shard.query('get', 'two'))).toBe(true);
  });
});

describe('the meta row', () => {
  it('invariant 7: refuses to open the store wherever a bit is flipped in it', async () => {
    const shard = await closedShard();
    const { directory } = shard.options;
    const [row] = await withTable(directory, 'meta', (table) => table.rows());
    if (row === undefined) throw new Error('there is no meta row');
    for (let bit = 0; bit < row.value.length * 8; bit += 19) {
      await withTable(directory, 'meta', (table) => table.put(row.key, flipBit(row.value, bit)));
      const error: unknown = await KvStateMachine.open(shard.options).catch((e: unknown) => e);
      expect(codeOf(error), `bit ${bit}`).toBe('RAFTSEAL_KV_ROW_CORRUPT');
    }
  });

  it('invariant 7: is not accepted from the row of a key, nor the other way round', async () => {
    const shard = await TestShard.open({ seal });
    shards.push(shard);
    shard.run('set', 'raftseal meta row', 'x');
    await shard.machine.close();
    const { directory } = shard.options;
    const [meta] = await withTable(directory, 'meta', (table) => table.rows());
    const [row] = await withTable(directory, 'sealed', (table) => table.rows());
    if (meta === undefined || row === undefined) throw new Error('rows are missing');
    await withTable(directory, 'sealed', (table) => table.put(row.key, meta.value));
    shard.machine = await KvStateMachine.open(shard.options);
    expect(isCorrupt(shard.query('get', 'raftseal meta row'))).toBe(true);
    await shard.machine.close();
    await withTable(directory, 'meta', (table) => table.put(meta.key, row.value));
    const again = KvStateMachine.open(shard.options);
    await expect(again).rejects.toThrow(
      expect.objectContaining({ code: 'RAFTSEAL_KV_ROW_CORRUPT' }),
    );
  });
});

describe('a value in the clear', () => {
  it('HAZARD SENV-13: that looks like an envelope is returned as it is', async () => {
    const shard = await TestShard.open({ seal: 'cleartext' });
    shards.push(shard);
    const header = Buffer.alloc(9);
    const lookalikes = [
      seal.seal(3, rowOf('k0'), header, Buffer.from('hello')).toString('latin1'),
      '\x01\x00\x00\x00\x00\x0c'.padEnd(60, '\x00'),
      '\x02\x00\x00\x00\x00\x0c'.padEnd(60, 'z'),
    ];
    const names = lookalikes.map((_, i) => `k${i}`);
    for (const [i, name] of names.entries()) shard.run('set', name, lookalikes[i] ?? '');
    await shard.reopen();
    expect(shard.query('mget', ...names)).toEqual(lookalikes);
    shard.machine.sealRows(seal);
    expect(shard.query('mget', ...names)).toEqual(lookalikes);
    await shard.machine.flush();
    await shard.reopen({ seal });
    expect(shard.query('mget', ...names)).toEqual(lookalikes);
  });

  it('SENV-10: may be empty, and is there', async () => {
    const shard = await TestShard.open({ seal });
    shards.push(shard);
    shard.run('set', 'empty', '');
    shard.run('set', '', 'of the empty key');
    await shard.reopen();
    expect(shard.query('get', 'empty')).toBe('');
    expect(shard.query('exists', 'empty', '')).toBe(2);
    expect(shard.query('get', '')).toBe('of the empty key');
  });

  it('whose row is not well formed is an error, never another value', async () => {
    const shard = await TestShard.open({ seal: 'cleartext' });
    shards.push(shard);
    shard.line('set one first-value');
    shard.line('hset three f v');
    await shard.machine.close();
    await editRows(shard.options.directory, 'clear', (row, all) => {
      const other = all.find(({ key }) => !key.equals(row.key));
      return row.value[9] === 1 ? other?.value : row.value.subarray(0, row.value.length - 1);
    });
    shard.machine = await KvStateMachine.open(shard.options);
    expect(isCorrupt(shard.query('get', 'one'))).toBe(true);
    expect(isCorrupt(shard.query('hgetall', 'three'))).toBe(true);
  });
});
