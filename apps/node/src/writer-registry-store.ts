/**
 * The writer registry of a node: an LMDB environment of its own, so that a sidecar restored from an
 * older copy is noticed (it knows a lower epoch than the registry does).
 *
 * | row | key | value |
 * | --- | --- | --- |
 * | writer | dekId u32, writerId u16 | firstEpoch u16, lastEpoch u16, CRC-32 |
 * | count of this node's seals | dekId u32 | seals u64, CRC-32 |
 *
 * The CRC-32 is of the key and of what precedes it in the value. All rows are held in memory: there
 * is one per key and node.
 */
import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { fatalError, type WriterRegistry, type WriterRow } from '@raftseal/interface';
import { lmdbFileProblem, openedIn, prepareLockFile } from '@raftseal/kv';
import { open, type RootDatabase, type RootDatabaseOptionsWithPath } from 'lmdb';
import type { SealCountStore } from './seal-ledger.ts';

const KEY_BYTES = 6;
const VALUE_BYTES = 8;
const COUNT_KEY_BYTES = 4;
const COUNT_VALUE_BYTES = 12;
const CRC_BYTES = 4;

/** An option that lmdb-js takes and does not declare. */
interface UndeclaredOptions {
  readonly permissionsMode: number;
}

export interface WriterRegistryStore extends WriterRegistry, SealCountStore {
  close(): Promise<void>;
}

/**
 * @throws RAFTSEAL_NODE_REGISTRY_CORRUPT (fatal) for a file or a row that is damaged;
 *   RAFTSEAL_KV_OPEN_FAILED
 */
export function openWriterRegistry(directory: string): WriterRegistryStore {
  openedIn(directory, () => {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    prepareLockFile(directory);
  });
  const options: RootDatabaseOptionsWithPath & UndeclaredOptions = {
    path: directory,
    keyEncoding: 'binary',
    encoding: 'binary',
    overlappingSync: false,
    mapSize: 16 * 1024 * 1024,
    permissionsMode: 0o600,
  };
  checkFile(directory);
  const database = openedIn(directory, () => open<Buffer, Buffer>(options));
  // LMDB flushes the content of its files, not their names.
  for (const named of [directory, dirname(directory)]) flushDirectory(named);
  const { rows, sealCounts } = readAll(database);
  const putCounts = (counts: ReadonlyMap<number, bigint>): void => {
    for (const [dekId, seals] of counts) {
      const { key, value } = encodeCount(dekId, seals);
      void database.put(key, value);
    }
  };
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
        for (const dekId of dekIds) void database.remove(countKey(dekId));
      });
      for (const row of forgotten) rows.delete(rowName(row));
    },
    sealCounts,
    putSealCounts: async (counts) => {
      await database.batch(() => putCounts(counts));
    },
    putSealCountsNow: (counts) => {
      database.transactionSync(() => putCounts(counts));
    },
    close: () => database.close(),
  };
}

/**
 * The rows of a registry that no process has open; nothing is changed.
 * @throws RAFTSEAL_NODE_REGISTRY_CORRUPT (fatal) for a file or a row that is damaged
 */
export async function readWriterRows(directory: string): Promise<readonly WriterRow[]> {
  checkFile(directory);
  const database = open<Buffer, Buffer>({
    path: directory,
    keyEncoding: 'binary',
    encoding: 'binary',
    overlappingSync: false,
    readOnly: true,
  });
  const { rows } = readAll(database);
  await database.close();
  return [...rows.values()];
}

function checkFile(directory: string): void {
  const problem = lmdbFileProblem(directory);
  if (problem !== undefined) throw corrupt(`the file (${problem})`);
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

function readAll(database: RootDatabase<Buffer, Buffer>): {
  readonly rows: Map<string, WriterRow>;
  readonly sealCounts: ReadonlyMap<number, bigint>;
} {
  const rows = new Map<string, WriterRow>();
  const sealCounts = new Map<number, bigint>();
  try {
    for (const { key, value } of database.getRange()) {
      if (key.length === COUNT_KEY_BYTES) {
        sealCounts.set(key.readUInt32BE(), decodeCount(key, value));
      } else {
        const row = decodeRow(key, value);
        rows.set(rowName(row), row);
      }
    }
  } catch (error) {
    void database.close();
    throw error;
  }
  return { rows, sealCounts };
}

function countKey(dekId: number): Buffer {
  const key = Buffer.alloc(COUNT_KEY_BYTES);
  key.writeUInt32BE(dekId);
  return key;
}

function encodeCount(
  dekId: number,
  seals: bigint,
): { readonly key: Buffer; readonly value: Buffer } {
  const key = countKey(dekId);
  const value = Buffer.alloc(COUNT_VALUE_BYTES);
  value.writeBigUInt64BE(seals);
  value.writeUInt32BE(checksum(key, value), COUNT_VALUE_BYTES - CRC_BYTES);
  return { key, value };
}

function decodeCount(key: Buffer, value: Buffer): bigint {
  if (value.length !== COUNT_VALUE_BYTES || !isWhole(key, value)) {
    throw corrupt('a count of seals');
  }
  return value.readBigUInt64BE();
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
  value.writeUInt32BE(checksum(key, value), VALUE_BYTES - CRC_BYTES);
  return { key, value };
}

function decodeRow(key: Buffer, value: Buffer): WriterRow {
  const hasLength = key.length === KEY_BYTES && value.length === VALUE_BYTES;
  if (!hasLength || !isWhole(key, value)) throw corrupt('a row');
  return {
    dekId: key.readUInt32BE(),
    writerId: key.readUInt16BE(4),
    firstEpoch: value.readUInt16BE(),
    lastEpoch: value.readUInt16BE(2),
  };
}

function isWhole(key: Buffer, value: Buffer): boolean {
  return value.readUInt32BE(value.length - CRC_BYTES) === checksum(key, value);
}

function checksum(key: Buffer, value: Buffer): number {
  return crc32(value.subarray(0, -CRC_BYTES), crc32(key));
}

function corrupt(what: string): Error {
  return fatalError(
    'RAFTSEAL_NODE_REGISTRY_CORRUPT',
    `${what} of the writer registry (keys/writers in the data directory) is damaged: without it a ` +
      'nonce might be used twice; restore this node from a backup or let it join anew',
  );
}
