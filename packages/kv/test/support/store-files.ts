/** The files of a shard that is closed, seen from outside. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';

export type TableName = 'meta' | 'clear' | 'clear-expiry' | 'sealed' | 'sealed-expiry';

export interface RawRow {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** Whether the bytes are in any file of the directory. */
export function filesHold(directory: string, bytes: Buffer): boolean {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .some((entry) => readFileSync(join(entry.parentPath, entry.name)).includes(bytes));
}

/** Opens a table of a closed shard as a plain LMDB database. */
export async function withTable<Result>(
  directory: string,
  name: TableName,
  body: (table: {
    rows: () => RawRow[];
    put: (key: Buffer, value: Buffer) => void;
    remove: (key: Buffer) => void;
  }) => Result,
): Promise<Result> {
  const options = { keyEncoding: 'binary', encoding: 'binary' } as const;
  const root = open<Buffer, Buffer>({
    path: directory,
    overlappingSync: false,
    maxDbs: 8,
    mapSize: 2 ** 30,
    ...options,
  });
  const table = root.openDB<Buffer, Buffer>({ name, ...options });
  try {
    return body({
      rows: () => [...table.getRange({})].map(({ key, value }) => ({ key, value })),
      put: (key, value) => table.putSync(key, value),
      remove: (key) => {
        table.removeSync(key);
      },
    });
  } finally {
    await root.close();
  }
}

/** Replaces the rows of a table one by one; an undefined row is removed. */
export async function editRows(
  directory: string,
  name: TableName,
  edit: (row: RawRow, all: readonly RawRow[]) => Buffer | undefined,
): Promise<void> {
  await withTable(directory, name, ({ rows, put, remove }) => {
    const all = rows();
    for (const row of all) {
      const value = edit(row, all);
      if (value === undefined) remove(row.key);
      else put(row.key, value);
    }
  });
}

export function flipBit(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}
