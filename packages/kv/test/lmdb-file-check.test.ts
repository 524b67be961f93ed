/** Files of LMDB that would end the process which opens them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'lmdb';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { KvStateMachine, lmdbFileProblem, stoppedStoreEnvelopes } from '../src/index.ts';

const PAGE_BYTES = 4096;

let file: Buffer;

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'raftseal-lmdb-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** What is found in a directory that has this as its file. */
function problemIn(bytes: Buffer): string | undefined {
  const directory = newDirectory();
  writeFileSync(join(directory, 'data.mdb'), bytes);
  return lmdbFileProblem(directory);
}

function withPage(page: number, fill: number): Buffer {
  const bytes = Buffer.from(file);
  bytes.fill(fill, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
  return bytes;
}

beforeAll(async () => {
  const path = mkdtempSync(join(tmpdir(), 'raftseal-lmdb-'));
  const database = open<Buffer, Buffer>({ path, keyEncoding: 'binary', encoding: 'binary' });
  for (let n = 0; n < 2_000; n++) void database.put(Buffer.from(`${n}`), Buffer.alloc(300));
  for (let n = 0; n < 1_900; n++) void database.remove(Buffer.from(`${n}`));
  await database.put(Buffer.from('last'), Buffer.alloc(300));
  await database.close();
  file = readFileSync(join(path, 'data.mdb'));
  rmSync(path, { recursive: true });
});

describe('the file of an LMDB environment', () => {
  it('is right as LMDB has written it, and where there is none yet', () => {
    expect(problemIn(file)).toBe(undefined);
    expect(problemIn(Buffer.alloc(0))).toBe(undefined);
    expect(lmdbFileProblem(newDirectory())).toBe(undefined);
  });

  it.each([0, 1])('is refused with page %i wiped or of something else', (page) => {
    for (const fill of [0, 0x5a, 0xff]) expect(problemIn(withPage(page, fill))).toMatch(/page/);
  });

  it('is refused where it was cut', () => {
    for (const end of [1, 100, PAGE_BYTES, 2 * PAGE_BYTES]) {
      expect(problemIn(file.subarray(0, end)), `${end} bytes`).toMatch(/page/);
    }
  });

  it('is refused with a root that is not the page that it was', () => {
    const [free, main] = [88, 136].map((at) => {
      const isSecondLater = file.readBigUInt64LE(PAGE_BYTES + 152) > file.readBigUInt64LE(152);
      return Number(file.readBigUInt64LE((isSecondLater ? PAGE_BYTES : 0) + at));
    });
    for (const root of [free ?? 0, main ?? 0]) {
      expect(root).toBeGreaterThan(1);
      expect(problemIn(withPage(root, 0x5a))).toBe(`page ${root} is not what it was`);
    }
  });

  it('is refused by whoever opens a store', async () => {
    const directory = newDirectory();
    writeFileSync(join(directory, 'data.mdb'), file.subarray(0, 3 * PAGE_BYTES));
    const refusal = { code: 'RAFTSEAL_KV_STORE_CORRUPT', fatal: true };
    const opening = KvStateMachine.open({ directory, shardId: 0, seal: 'cleartext' });
    await expect(opening).rejects.toMatchObject(refusal);
    await expect(stoppedStoreEnvelopes(directory).next()).rejects.toMatchObject(refusal);
  });
});
