/** A store of a cluster in which nothing in the clear is read any more. */
import { codeOf } from '@raftseal/interface';
import { afterEach, describe, expect, it } from 'vitest';
import { type KvOptions, KvStateMachine } from '../src/index.ts';
import { rowSeal } from './support/seal.ts';
import { TestShard } from './support/shard.ts';
import { assemble, framesOf, install, snapshotOf } from './support/snapshots.ts';
import { type TableName, withTable } from './support/store-files.ts';

const shards: TestShard[] = [];
async function openShard(...args: Parameters<typeof TestShard.open>): Promise<TestShard> {
  const shard = await TestShard.open(...args);
  shards.push(shard);
  return shard;
}
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

const seal = rowSeal();
const REFUSED = 'RAFTSEAL_KV_CLEARTEXT_REFUSED';
const code = (name: string) => expect.objectContaining({ code: name });

/** A sealed-only shard with two keys, whose store says so; its machine is closed. */
async function closedShard(): Promise<TestShard> {
  const shard = await openShard({ seal });
  shard.line('set one first-value');
  shard.line('set two other-value PX 5000');
  await shard.machine.flush();
  shard.machine.refuseCleartext();
  await shard.machine.close();
  return shard;
}

function reopened({ options }: TestShard, changes: Partial<KvOptions> = {}): Promise<string> {
  return KvStateMachine.open({ ...options, sealedOnly: true, ...changes }).then(
    async (machine) => {
      await machine.close();
      return 'opened';
    },
    (error: unknown) => codeOf(error) ?? String(error),
  );
}

/** The rows of a table of a store that was never sealed. */
async function rowsInTheClear(name: TableName): Promise<readonly { key: Buffer; value: Buffer }[]> {
  const shard = await openShard();
  shard.line('set one forged PX 5000');
  await shard.machine.close();
  const rows = await withTable(shard.options.directory, name, (table) => table.rows());
  expect(rows).toHaveLength(1);
  return rows;
}

describe('a store that is sealed-only', () => {
  it('goes on, and is opened as such', async () => {
    const shard = await closedShard();
    expect(await reopened(shard)).toBe('opened');
    shard.machine = await KvStateMachine.open({ ...shard.options, sealedOnly: true });
    expect(shard.query('get', 'one')).toBe('first-value');
    shard.line('set one again');
    await shard.machine.flush();
    shard.machine.refuseCleartext();
    expect(shard.query('get', 'one')).toBe('again');
  });

  it('says so without a further entry, and is not opened by who does not know', async () => {
    const shard = await closedShard();
    const opening = reopened(shard, { sealedOnly: false });
    expect(await opening).toBe('RAFTSEAL_KV_STORE_SEALED_ONLY');
  });

  it('invariant 6: cannot become so while a row, or its trace, is in the clear', async () => {
    const clear = await openShard();
    clear.line('set one first-value');
    await clear.machine.flush();
    clear.machine.sealRows(rowSeal(1, 2));
    expect(() => clear.machine.refuseCleartext()).toThrow(code(REFUSED));
    expect(() => clear.query('get', 'one')).toThrow(code(REFUSED));
    await clear.reopen({ seal: rowSeal(1, 3) });
    await clear.machine.flush();
    clear.machine.refuseCleartext();
    expect(clear.query('get', 'one')).toBe('first-value');
  });

  it.each(['clear', 'clear-expiry', 'meta'] as const)(
    'invariant 6: is not opened with a row in the clear in its table %s',
    async (name) => {
      const rows = await rowsInTheClear(name);
      const shard = await closedShard();
      await withTable(shard.options.directory, name, (table) => {
        for (const { key, value } of rows) table.put(key, value);
      });
      // Rows beside a sealed meta row are forged, whatever the mode.
      expect(await reopened(shard)).toBe(name === 'clear' ? 'RAFTSEAL_KV_ROW_FORGED' : REFUSED);
    },
  );

  it('invariant 6: is not opened in the place of a store from before', async () => {
    const shard = await openShard();
    shard.line('set one first-value');
    await shard.machine.close();
    expect(await reopened(shard, { seal: rowSeal(1, 2) })).toBe(REFUSED);
  });

  it('invariant 6: ends at its next checkpoint where somebody adds a row meanwhile', async () => {
    const rows = await rowsInTheClear('clear');
    const failures: unknown[] = [];
    const shard = await openShard({ seal, onFatal: (error) => failures.push(error) });
    shard.line('set one first-value');
    await shard.machine.flush();
    shard.machine.refuseCleartext();
    await withTable(shard.options.directory, 'clear', (table) => {
      for (const { key, value } of rows) table.put(key, value);
    });
    shard.line('set two other-value');
    await expect(shard.machine.flush()).rejects.toThrow(code(REFUSED));
    expect(failures).toEqual([code(REFUSED)]);
    expect(() => shard.query('get', 'one')).toThrow(code(REFUSED));
  });
});

describe('a snapshot for a store that is sealed-only', () => {
  const INVALID = 'RAFTSEAL_KV_SNAPSHOT_INVALID';

  async function receiver(): Promise<TestShard> {
    const shard = await openShard({ seal: rowSeal(1, 8) });
    shard.machine.refuseCleartext();
    return shard;
  }

  it('is installed where all of it is sealed, and the store says what it is', async () => {
    const from = await openShard({ seal });
    from.line('set one first-value');
    await from.machine.flush();
    const to = await receiver();
    await install(to.machine, await snapshotOf(from.machine));
    expect(to.query('get', 'one')).toBe('first-value');
    await to.machine.flush();
    await to.machine.close();
    expect(await reopened(to, { sealedOnly: false })).toBe('RAFTSEAL_KV_STORE_SEALED_ONLY');
  });

  it('invariant 6: is refused with rows in the clear, sealed or not as a whole', async () => {
    const from = await openShard();
    from.line('set one first-value');
    await from.machine.flush();
    const to = await receiver();
    const clear = await snapshotOf(from.machine);
    await expect(install(to.machine, clear)).rejects.toThrow(code(INVALID));
    const sealed = await closedShard();
    sealed.machine = await KvStateMachine.open({ ...sealed.options, sealedOnly: true });
    const whole = await snapshotOf(sealed.machine);
    const { header, frames } = framesOf(whole.bytes);
    const row = framesOf(clear.bytes).frames.find(({ kind }) => kind === 3);
    const mixed = [...frames.slice(0, 1), ...(row ? [row] : []), ...frames.slice(1)];
    const bytes = assemble(header, mixed, rowSeal(1, 9));
    await expect(install(to.machine, { ...whole, bytes })).rejects.toThrow(code(INVALID));
    expect(to.query('get', 'one')).toBe(null);
    await install(to.machine, whole);
    expect(to.query('get', 'one')).toBe('first-value');
  });

  it('is refused where it knows more than the receiver does', async () => {
    const from = await closedShard();
    from.machine = await KvStateMachine.open({ ...from.options, sealedOnly: true });
    const to = await openShard({ seal: rowSeal(1, 8) });
    const snapshot = await snapshotOf(from.machine);
    await expect(install(to.machine, snapshot)).rejects.toThrow(code(INVALID));
    to.machine.refuseCleartext();
    await install(to.machine, snapshot);
  });
});
