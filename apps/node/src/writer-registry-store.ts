/**
 * The writer registry of a node: an LMDB environment of its own, so that a sidecar restored from an
 * older copy is noticed (it knows a lower epoch than the registry does).
 *
 * Key: dekId u32 | writerId u16. Value: firstEpoch u16 | lastEpoch u16 | CRC-32 of key and value.
 * All rows are held in memory: there is one per key and node.
 */
import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { fatalError, type WriterRegistry, type WriterRow } from '@raftseal/interface';
import { open, type RootDatabase, type RootDatabaseOptionsWithPath } from 'lmdb';

const KEY_BYTES = 6;
const VALUE_BYTES = 8;
const CRC_OFFSET = 4;

/** An option that lmdb-js takes and does not declare. */
interface UndeclaredOptions {
  readonly permissionsMode: number;
}

export interface WriterRegistryStore extends WriterRegistry {
  close(): Promise<void>;
}

/** @throws RAFTSEAL_NODE_REGISTRY_CORRUPT (fatal) for a row that is damaged */
export function openWriterRegistry(directory: string): WriterRegistryStore {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const options: RootDatabaseOptionsWithPath & UndeclaredOptions = {
    path: directory,
    keyEncoding: 'binary',
    encoding: 'binary',
    overlappingSync: false,
    mapSize: 16 * 1024 * 1024,
    permissionsMode: 0o600,
  };
  const database = open<Buffer, Buffer>(options);
  // LMDB flushes the content of its files, not their names.
  for (const named of [directory, dirname(directory)]) flushDirectory(named);
  const rows = readRows(database);
  return {
    rows: () => [...rows.values()],
    row: (dekId, writerId) => rows.get(rowName({ dekId, writerId })),
    put: async (added) => {
      await database.batch(() => {
        for (const row of added) {
          const { key, value } = encodeRow(row);
          void database.put(key, value);
        }
      });
      for (const row of added) rows.set(rowName(row), row);
    },
    forget: async (dekIds) => {
      const forgotten = [...rows.values()].filter(({ dekId }) => dekIds.includes(dekId));
      await database.batch(() => {
        for (const row of forgotten) void database.remove(encodeRow(row).key);
      });
      for (const row of forgotten) rows.delete(rowName(row));
    },
    close: () => database.close(),
  };
}

/**
 * The rows of a registry that no process has open; nothing is changed.
 * @throws RAFTSEAL_NODE_REGISTRY_CORRUPT (fatal) for a row that is damaged
 */
export async function readWriterRows(directory: string): Promise<readonly WriterRow[]> {
  const database = open<Buffer, Buffer>({
    path: directory,
    keyEncoding: 'binary',
    encoding: 'binary',
    overlappingSync: false,
    readOnly: true,
  });
  const rows = readRows(database);
  await database.close();
  return [...rows.values()];
}

function flushDirectory(path: string): void {
  // Windows has no such operation.
  if (process.platform === 'win32') return;
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function readRows(database: RootDatabase<Buffer, Buffer>): Map<string, WriterRow> {
  const rows = new Map<string, WriterRow>();
  try {
    for (const { key, value } of database.getRange()) {
      const row = decodeRow(key, value);
      rows.set(rowName(row), row);
    }
  } catch (error) {
    void database.close();
    throw error;
  }
  return rows;
}

function rowName({ dekId, writerId }: Pick<WriterRow, 'dekId' | 'writerId'>): string {
  return `${dekId} ${writerId}`;
}

function encodeRow(row: WriterRow): { readonly key: Buffer; readonly value: Buffer } {
  const key = Buffer.alloc(KEY_BYTES);
  key.writeUInt32BE(row.dekId);
  key.writeUInt16BE(row.writerId, 4);
  const value = Buffer.alloc(VALUE_BYTES);
  value.writeUInt16BE(row.firstEpoch);
  value.writeUInt16BE(row.lastEpoch, 2);
  value.writeUInt32BE(checksum(key, value), CRC_OFFSET);
  return { key, value };
}

function decodeRow(key: Buffer, value: Buffer): WriterRow {
  const whole = key.length === KEY_BYTES && value.length === VALUE_BYTES;
  if (!whole || value.readUInt32BE(CRC_OFFSET) !== checksum(key, value)) {
    throw fatalError(
      'RAFTSEAL_NODE_REGISTRY_CORRUPT',
      'a row of the writer registry (keys/writers in the data directory) is damaged: without it ' +
        'a nonce might be used twice; restore this node from a backup or let it join anew',
    );
  }
  return {
    dekId: key.readUInt32BE(),
    writerId: key.readUInt16BE(4),
    firstEpoch: value.readUInt16BE(),
    lastEpoch: value.readUInt16BE(2),
  };
}

function checksum(key: Buffer, value: Buffer): number {
  return crc32(value.subarray(0, CRC_OFFSET), crc32(key));
}
