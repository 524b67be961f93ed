/**
 * Whether the file of an LMDB environment can be opened. LMDB trusts its file: one whose head was
 * wiped, or that was cut, ends the whole process. What is looked at is what LMDB follows first:
 *
 * | page | content, little-endian as on every machine that the lmdb module runs on |
 * | --- | --- |
 * | 0 and 1 | number u64; at 24: magic u32, version u32; at 48: page size u32; at 88 and 136: the roots of free list and tables, u64, all ones for none; at 152: transaction u64 |
 * | a root | its own number u64 |
 *
 * It finds no damage further down: rows are authenticated where they are read.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf, fatalError } from '@raftseal/interface';

const DATA_FILE = 'data.mdb';
const HEAD_BYTES = 160;
const MAGIC = 0xbeefc0de;
const VERSION = 2;
const PAGE_BYTES = { min: 512, max: 65_536 };
const NO_ROOT = 2n ** 64n - 1n;

/**
 * Why the environment in a directory cannot be opened; undefined where it can be, or is new.
 * @throws what reading the file fails with
 */
export function lmdbFileProblem(directory: string): string | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(join(directory, DATA_FILE), 'r');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return problemOf(descriptor, fstatSync(descriptor).size);
  } finally {
    closeSync(descriptor);
  }
}

/** @throws RAFTSEAL_KV_STORE_CORRUPT (fatal) where the file of a store cannot be opened */
export function checkLmdbFile(directory: string): void {
  const problem = lmdbFileProblem(directory);
  if (problem === undefined) return;
  throw fatalError(
    'RAFTSEAL_KV_STORE_CORRUPT',
    `${join(directory, DATA_FILE)} was expected to be the file of a store, and is damaged: ` +
      `${problem}. Check the disk, then restore a backup or rebuild the node; nothing was changed`,
  );
}

function problemOf(descriptor: number, fileBytes: number): string | undefined {
  if (fileBytes === 0) return undefined;
  const first = head(descriptor, 0);
  const pageBytes = first.getUint32(48, true);
  if (!isHead(first, 0n)) return 'page 0 is not what LMDB begins with';
  if (pageBytes < PAGE_BYTES.min || pageBytes > PAGE_BYTES.max) {
    return `pages are said to have ${pageBytes} bytes`;
  }
  const second = head(descriptor, pageBytes);
  if (!isHead(second, 1n)) return 'page 1 is not what LMDB begins with';
  const isSecondLater = second.getBigUint64(152, true) > first.getBigUint64(152, true);
  const latest = isSecondLater ? second : first;
  for (const root of [latest.getBigUint64(88, true), latest.getBigUint64(136, true)]) {
    if (root === NO_ROOT) continue;
    const end = (root + 1n) * BigInt(pageBytes);
    if (end > BigInt(fileBytes))
      return `it has ${fileBytes} bytes, and page ${root} ends at ${end}`;
    const page = head(descriptor, Number(root) * pageBytes);
    if (page.getBigUint64(0, true) !== root) return `page ${root} is not what it was`;
  }
  return undefined;
}

/** What is beyond the end of the file reads as zeros. */
function head(descriptor: number, position: number): DataView {
  const bytes = new Uint8Array(HEAD_BYTES);
  readSync(descriptor, bytes, 0, HEAD_BYTES, position);
  return new DataView(bytes.buffer);
}

function isHead(page: DataView, pageNumber: bigint): boolean {
  return (
    page.getBigUint64(0, true) === pageNumber &&
    page.getUint32(24, true) === MAGIC &&
    page.getUint32(28, true) === VERSION
  );
}
