import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import {
  CHUNK_BYTES,
  type Chunk,
  operationsOf,
  type StoreOperation,
  WriteBatch,
} from '../src/index.ts';
import { LmdbEnvironment } from '../src/lmdb-environment.ts';
import { tables } from '../src/tables.ts';
import { TestShard } from './support/shard.ts';

it('a state machine keeps its state in the environment that it is given', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'raftseal-kv-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const [given, path] = [join(directory, 'given'), join(directory, 'directory')];
  const shard = await TestShard.open({
    directory: path,
    openEnvironment: () => LmdbEnvironment.open({ path: given, tables, mapBytes: 1 << 24 }),
  });
  shard.line('SET city Asunción');
  await shard.machine.close();
  expect(existsSync(path)).toBe(false);
  const again = await TestShard.open({ directory: given });
  onTestFinished(() => again.machine.close());
  expect(again.query('GET', 'city')).toBe('Asunción');
});

it('the operations of a batch are read from its chunks as they were batched', () => {
  const chunks: Chunk[] = [];
  const batch = new WriteBatch({
    allocate: () => new ArrayBuffer(CHUNK_BYTES),
    filled: (chunk) => chunks.push(chunk),
  });
  const [key, other] = [Buffer.from('key'), Buffer.from('other')];
  const long = Buffer.alloc(CHUNK_BYTES, 7);
  batch.clear(3);
  batch.put(1, key, Buffer.from('first '), Buffer.from('second'));
  batch.delete(2, other);
  batch.put(4, other, long, Buffer.alloc(0));
  batch.finish();
  expect(chunks).toHaveLength(2);
  expect(chunks.flatMap((chunk) => [...operationsOf(chunk)].map(described))).toEqual([
    'clear 3',
    'put 1 key first second',
    'delete 2 other',
    `put 4 other ${long.toString('latin1')}`,
  ]);
});

function described(operation: StoreOperation): string {
  const { kind, table } = operation;
  if (kind === 'clear') return `${kind} ${table}`;
  const value = kind === 'put' ? ` ${operation.value.toString('latin1')}` : '';
  return `${kind} ${table} ${operation.key.toString('latin1')}${value}`;
}
