import { constants } from 'node:os';
import { codeOf } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { type LogFiles, nodeLogFiles, openEmbeddedLog } from '../src/index.ts';
import { temporaryDirectory } from './directory.ts';
import { type DiskOperation, MemoryDisk, systemError } from './memory-disk.ts';
import { appendMany, openOn, payloadOf, readAll } from './samples.ts';

/** Fails the `nth` operation of a kind, once; says whether that happened. */
function failNth(disk: MemoryDisk, kind: DiskOperation, nth: number, code: string) {
  const state = { seen: 0, failed: false };
  disk.onOperation = (operation, name) => {
    if (operation !== kind) return;
    state.seen += 1;
    if (state.seen !== nth) return;
    state.failed = true;
    throw systemError(code, name);
  };
  return state;
}

/** Appends until it fails or 250 entries are there; the highest acknowledged index, and the error. */
async function workload(disk: MemoryDisk): Promise<{ acknowledged: bigint; error: unknown }> {
  let acknowledged = 0n;
  try {
    const log = await openOn(disk);
    try {
      const engine = log.engine(0);
      const { term } = await engine.elect();
      for (let index = 1n; index <= 250n; index++) {
        await engine.append({ term, index, payload: payloadOf(0, index, 200) });
        acknowledged = index;
        if (index % 50n === 0n) await engine.truncate(index - 10n);
      }
    } finally {
      await log.close();
    }
  } catch (error) {
    return { acknowledged, error };
  }
  return { acknowledged, error: undefined };
}

describe('a failed disk operation', () => {
  const kinds: DiskOperation[] = ['writeFlushed', 'write', 'flush', 'rename', 'flushDirectory'];
  for (const kind of kinds) {
    for (const code of ['EIO', 'ENOSPC']) {
      it(`${code} at any ${kind}: nothing acknowledged is lost, and nothing is after it`, async () => {
        let failures = 0;
        for (let nth = 1; ; nth += nth < 12 ? 1 : 23) {
          const disk = new MemoryDisk();
          const fault = failNth(disk, kind, nth, code);
          const { acknowledged, error } = await workload(disk);
          if (!fault.failed) break;
          failures += 1;
          if (error !== undefined) expect(codeOf(error)).toBe('RAFTSEAL_ENGINE_FLUSH_FAILED');
          else expect(acknowledged).toBe(250n);
          disk.onOperation = () => {};
          let coin = nth;
          const cut = disk.afterPowerCut(() => (coin++ * 7) % 3 === 0);
          for (const image of [disk, cut]) {
            const log = await openOn(image);
            const { headIndex } = await log.engine(0).bounds();
            expect(headIndex).toBeGreaterThanOrEqual(acknowledged);
            for (const { index, payload } of await readAll(log.engine(0))) {
              expect(payloadOf(0, index, 200).equals(payload)).toBe(true);
            }
            await log.close();
          }
        }
        expect(failures).toBeGreaterThan(0);
      });
    }
  }

  it('stops every shard for good: appends, elections, reigns and waiting reads', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk);
    const [zero, one] = [log.engine(0), log.engine(1)];
    const reigns = [await zero.elect(), await one.elect()] as const;
    await appendMany(zero, 0, reigns[0], 3);
    const waiting = one.read({ from: 1n, follow: true })[Symbol.asyncIterator]().next();
    const expectWaiting = expect(waiting).rejects.toMatchObject({
      code: 'RAFTSEAL_ENGINE_FLUSH_FAILED',
    });
    const fault = failNth(disk, 'writeFlushed', 1, 'EIO');
    const failure = { code: 'RAFTSEAL_ENGINE_FLUSH_FAILED' };
    const request = { term: reigns[0].term, index: 4n, payload: payloadOf(0, 4n) };
    const appends = [
      zero.append(request),
      zero.append({ ...request, index: 5n }),
      one.append({ ...request, index: 1n, term: reigns[1].term }),
    ];
    for (const append of appends) await expect(append).rejects.toMatchObject(failure);
    expect(fault.failed).toBe(true);
    for (const { signal } of reigns) expect(signal.aborted).toBe(true);
    expect(log.failed.aborted).toBe(true);
    await expectWaiting;
    const writes = disk.counts.get('writeFlushed');
    await expect(zero.append(request)).rejects.toMatchObject(failure);
    await expect(one.elect()).rejects.toMatchObject(failure);
    await expect(zero.truncate(1n)).rejects.toMatchObject(failure);
    expect(await readAll(zero)).toHaveLength(3);
    expect((await zero.bounds()).headIndex).toBe(3n);
    await log.close();
    expect(disk.counts.get('writeFlushed')).toBe(writes);
  });

  it('writes an unconfirmed last group again, since the cache may hold what the disk lacks', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk);
    const { term } = await log.engine(0).elect();
    failNth(disk, 'writeFlushed', 1, 'EIO');
    const append = log.engine(0).append({ term, index: 1n, payload: payloadOf(0, 1n) });
    await expect(append).rejects.toMatchObject({ code: 'RAFTSEAL_ENGINE_FLUSH_FAILED' });
    await log.close();
    disk.onOperation = () => {};
    const again = await openOn(disk);
    expect((await again.engine(0).bounds()).headIndex).toBe(1n);
    const cut = disk.afterPowerCut(() => false);
    const after = await openOn(cut);
    expect(await readAll(after.engine(0))).toHaveLength(1);
    await Promise.all([again.close(), after.close()]);
  });
});

describe('a short write', () => {
  it('is continued until every byte is there', async () => {
    for (const writeBytesMax of [1, 7, 100, 4096]) {
      const disk = new MemoryDisk();
      disk.writeBytesMax = writeBytesMax;
      const byteLength = writeBytesMax === 1 ? 60 : 3000;
      const options = { segmentBytes: 16 * 1024 };
      const log = await openOn(disk, options);
      await appendMany(log.engine(0), 0, await log.engine(0).elect(), 5, byteLength);
      await log.close();
      const again = await openOn(disk, options);
      const entries = await readAll(again.engine(0));
      expect(entries).toHaveLength(5);
      for (const { index, payload } of entries) {
        expect(payloadOf(0, index, byteLength).equals(payload)).toBe(true);
      }
      await again.close();
    }
  });

  it('of no byte at all is a failed write, not an endless loop', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk);
    const { term } = await log.engine(0).elect();
    disk.writeBytesMax = 0;
    const append = log.engine(0).append({ term, index: 1n, payload: payloadOf(0, 1n) });
    await expect(append).rejects.toMatchObject({ code: 'RAFTSEAL_ENGINE_FLUSH_FAILED' });
    await log.close();
  });
});

describe('a quota that is used up', () => {
  it('refuses a spare segment in the background, and fails nothing that does not need it', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk);
    const engine = log.engine(0);
    const reign = await engine.elect();
    let refused = 0;
    disk.onOperation = (operation, name) => {
      if (operation !== 'open' || !name.endsWith('.new') || refused > 0) return;
      refused += 1;
      // As Node reports EDQUOT, which libuv has no name for.
      const code = `Unknown system error -${constants.errno.EDQUOT}`;
      throw Object.assign(systemError(code, name), { errno: -constants.errno.EDQUOT });
    };
    await appendMany(engine, 0, reign, 120, 400);
    expect(refused).toBe(1);
    expect(log.failed.aborted).toBe(false);
    expect(log.size().segments).toBeGreaterThan(2);
    await log.close();
  });
});

describe('an error from closing a file', () => {
  it('has a code, and leaves no lock behind', async () => {
    const { directory, remove } = await temporaryDirectory();
    const files: LogFiles = {
      ...nodeLogFiles,
      async open(path, access) {
        const file = await nodeLogFiles.open(path, access);
        if (access !== 'durable') return file;
        const close = async (): Promise<void> => {
          await file.close();
          throw systemError('EIO', path);
        };
        return { ...file, close };
      },
    };
    const options = { directory, nodeId: 'a', shardIds: [0], segmentBytes: 16 * 1024 };
    const log = await openEmbeddedLog({ ...options, files });
    await appendMany(log.engine(0), 0, await log.engine(0).elect(), 3);
    await expect(log.close()).rejects.toMatchObject({ code: 'RAFTSEAL_ENGINE_FLUSH_FAILED' });
    const again = await openEmbeddedLog(options);
    expect(await readAll(again.engine(0))).toHaveLength(3);
    await again.close();
    await remove();
  });
});
