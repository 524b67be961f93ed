import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { WriterRow } from '@raftseal/interface';
import { open, type RootDatabase } from 'lmdb';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openWriterRegistry, type WriterRegistryStore } from '../src/writer-registry-store.ts';
import { childProgram } from './child-program.ts';
import { octal, temporaryDirectory } from './temporary-directory.ts';

const program = childProgram('writer-registry-child');

const row: WriterRow = { dekId: 0xfedcba98, writerId: 0xffee, firstEpoch: 3, lastEpoch: 0xffff };
const other: WriterRow = { dekId: 1, writerId: 1, firstEpoch: 1, lastEpoch: 1 };

const CORRUPT = { code: 'RAFTSEAL_NODE_REGISTRY_CORRUPT', fatal: true };

function newDirectory(): string {
  return join(temporaryDirectory(), 'writers');
}

function opened(directory: string): WriterRegistryStore {
  const registry = openWriterRegistry(directory);
  onTestFinished(() => registry.close());
  return registry;
}

/** The registry's rows as they are in its file, for tests that plant others. */
function rawRows(directory: string): RootDatabase<Buffer, Buffer> {
  const options = { path: directory, keyEncoding: 'binary', encoding: 'binary' } as const;
  return open<Buffer, Buffer>(options);
}

describe('the writer registry', () => {
  it('is refused with a code, and does not end the process, where its files cannot be made', async () => {
    const directory = newDirectory();
    await mkdir(join(directory, 'lock.mdb'), { recursive: true });
    const refused = expect.objectContaining({ code: 'RAFTSEAL_KV_OPEN_FAILED' });
    expect(() => openWriterRegistry(directory)).toThrow(refused);
  });

  it('is empty when it is new, and for its owner alone', async () => {
    const directory = newDirectory();
    const registry = opened(directory);
    expect(registry.rows()).toEqual([]);
    expect(registry.row(1, 1)).toBe(undefined);
    await registry.put([other]);
    expect(octal((await stat(directory)).mode)).toBe('700');
    const modes = (await readdir(directory)).map((name) => stat(join(directory, name)));
    for (const { mode } of await Promise.all(modes)) expect(octal(mode)).toBe('600');
  });

  it('has every row again when it is opened again, the highest numbers included', async () => {
    const directory = newDirectory();
    const first = openWriterRegistry(directory);
    await first.put([row, other]);
    expect(first.row(row.dekId, row.writerId)).toEqual(row);
    await first.close();
    const again = opened(directory);
    expect(again.rows()).toHaveLength(2);
    expect(again.row(row.dekId, row.writerId)).toEqual(row);
    expect(again.row(other.dekId, other.writerId)).toEqual(other);
    expect(again.row(row.dekId, other.writerId)).toBe(undefined);
  });

  it('replaces the row of one key and writer, and no other', async () => {
    const directory = newDirectory();
    const first = openWriterRegistry(directory);
    const advanced = { ...other, lastEpoch: 2 };
    await first.put([row, other]);
    await first.put([advanced]);
    const expected = [row, advanced];
    expect(first.rows()).toEqual(expect.arrayContaining(expected));
    await first.close();
    const again = opened(directory);
    expect(again.rows()).toHaveLength(2);
    expect(again.rows()).toEqual(expect.arrayContaining(expected));
  });

  it('HAZARD WR-10: keeps keys apart whatever bytes they are made of', async () => {
    const directory = newDirectory();
    const first = openWriterRegistry(directory);
    const rows = [0x7c7c7c7c, 0x00000100, 0x01000000, 0x80000000].flatMap((dekId) =>
      [0x7c, 0x100, 0x7c7c].map((writerId) => ({ dekId, writerId, firstEpoch: 1, lastEpoch: 1 })),
    );
    await first.put(rows);
    await first.close();
    const again = opened(directory);
    expect(again.rows()).toHaveLength(rows.length);
    for (const { dekId, writerId } of rows) {
      expect(again.row(dekId, writerId)).toMatchObject({ dekId, writerId });
    }
  });

  it('shows a row only once it is durable', async () => {
    const registry = opened(newDirectory());
    const stored = registry.put([row]);
    expect(registry.rows()).toEqual([]);
    await stored;
    expect(registry.rows()).toEqual([row]);
  });

  it('takes no rows for what they are', async () => {
    const registry = opened(newDirectory());
    await registry.put([]);
    expect(registry.rows()).toEqual([]);
  });
});

describe('the counts of seals', () => {
  const counts = new Map([
    [other.dekId, 2n ** 64n - 1n],
    [row.dekId, 7n],
  ]);

  it('are there again when the registry is opened again, beside the rows', async () => {
    const directory = newDirectory();
    const first = openWriterRegistry(directory);
    expect(first.sealCounts).toEqual(new Map());
    await first.put([row, other]);
    await first.putSealCounts(new Map(counts).set(row.dekId, 1n));
    first.putSealCountsNow(new Map([[row.dekId, 7n]]));
    await first.close();
    const again = opened(directory);
    expect(again.sealCounts).toEqual(counts);
    expect(again.rows()).toHaveLength(2);
  });

  it('go with the rows of a key that is forgotten', async () => {
    const directory = newDirectory();
    const first = openWriterRegistry(directory);
    await first.put([row, other]);
    await first.putSealCounts(counts);
    await first.forget([row.dekId]);
    await first.close();
    const again = opened(directory);
    expect(again.sealCounts).toEqual(new Map([[other.dekId, 2n ** 64n - 1n]]));
    expect(again.rows()).toEqual([other]);
  });

  it.each([0, 7, 8, 11])('invariant 7: are refused with byte %i flipped', async (at) => {
    const directory = newDirectory();
    const first = openWriterRegistry(directory);
    await first.putSealCounts(counts);
    await first.close();
    const raw = rawRows(directory);
    const [planted] = [...raw.getRange()];
    if (!planted) throw new Error('there is a count');
    const value = Buffer.from(planted.value);
    value[at] = (value[at] ?? 0) ^ 1;
    await raw.put(Buffer.from(planted.key), value);
    await raw.close();
    expect(() => openWriterRegistry(directory)).toThrow(expect.objectContaining(CORRUPT));
  });
});

describe('a process that is killed', () => {
  it('invariant 3: leaves every row whose put had resolved', async () => {
    for (const count of [1, 7]) {
      const directory = newDirectory();
      const child = program.start([directory, `${count}`]);
      expect(await child.ended).toBe(null);
      const registry = opened(directory);
      expect(registry.rows()).toHaveLength(count);
      const last = { dekId: 9, writerId: count, firstEpoch: 1, lastEpoch: count };
      expect(registry.row(9, count)).toEqual(last);
    }
  });

  it('leaves what it acknowledged wherever it is killed', async () => {
    const directory = newDirectory();
    const child = program.start([directory, '100000']);
    let acknowledged = 0;
    while (acknowledged < 25) acknowledged = Number(await child.line());
    child.kill();
    for (let line = await child.line(); line !== undefined; line = await child.line()) {
      acknowledged = Number(line);
    }
    const registry = opened(directory);
    expect(registry.rows().length).toBeGreaterThanOrEqual(acknowledged);
    for (let number = 1; number <= acknowledged; number++) {
      expect(registry.row(9, number)).toMatchObject({ lastEpoch: number });
    }
  });
});

describe('a damaged row', () => {
  /** Puts `damage` in the place of one of two good rows, and opens the registry. */
  async function openDamaged(
    damage: (key: Buffer, value: Buffer) => { readonly key: Buffer; readonly value: Buffer },
  ): Promise<void> {
    const directory = newDirectory();
    const registry = openWriterRegistry(directory);
    await registry.put([row, other]);
    await registry.close();
    const raw = rawRows(directory);
    const [good] = [...raw.getRange()].filter(({ key }) => key.readUInt32BE() === row.dekId);
    if (!good) throw new Error('the row is there');
    const { key, value } = damage(Buffer.from(good.key), Buffer.from(good.value));
    await raw.remove(good.key);
    await raw.put(key, value);
    await raw.close();
    const reopened = openWriterRegistry(directory);
    await reopened.close();
  }

  function flipped(bytes: Buffer, at: number): Buffer {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ (1 << (at % 8));
    return copy;
  }

  it('is what these tests plant: an undamaged one opens', async () => {
    await openDamaged((key, value) => ({ key, value }));
  });

  it.each([0, 1, 2, 3, 4, 5])(
    'invariant 7: is refused with byte %i of its key flipped',
    async (at) => {
      const opening = openDamaged((key, value) => ({ key: flipped(key, at), value }));
      await expect(opening).rejects.toMatchObject(CORRUPT);
    },
  );

  it.each([0, 1, 2, 3, 4, 5, 6, 7])(
    'invariant 7: is refused with byte %i of its value flipped',
    async (at) => {
      const opening = openDamaged((key, value) => ({ key, value: flipped(value, at) }));
      await expect(opening).rejects.toMatchObject(CORRUPT);
    },
  );

  it.each([0, 7, 9])('is refused where its value has %i bytes', async (byteLength) => {
    const opening = openDamaged((key, value) => ({
      key,
      value: Buffer.concat([value, value]).subarray(0, byteLength),
    }));
    await expect(opening).rejects.toMatchObject(CORRUPT);
  });

  it('is refused where its key has another length', async () => {
    for (const byteLength of [5, 7]) {
      const opening = openDamaged((key, value) => ({
        key: Buffer.concat([key, key]).subarray(0, byteLength),
        value,
      }));
      await expect(opening).rejects.toMatchObject(CORRUPT);
    }
  });

  it('is refused in the place of another', async () => {
    const opening = openDamaged((key, value) => {
      key.writeUInt16BE(0xffef, 4);
      return { key, value };
    });
    await expect(opening).rejects.toMatchObject(CORRUPT);
  });
});
