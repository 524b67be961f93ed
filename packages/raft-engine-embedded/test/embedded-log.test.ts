import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openEmbeddedLog } from '../src/index.ts';
import { temporaryDirectory } from './directory.ts';
import { MemoryDisk } from './memory-disk.ts';
import { appendMany, openOn, payloadOf, readAll } from './samples.ts';

const segmentFiles = (disk: MemoryDisk): string[] =>
  [...disk.contents().keys()].filter((path) => path.endsWith('.seg'));

/** Lets background work go on until a condition holds. */
async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited++) {
    if (waited > 2000) throw new Error('it did not come to pass');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

describe('group commit', () => {
  it('makes the appends of all shards durable with one flush', async () => {
    const disk = new MemoryDisk();
    const shardIds = Array.from({ length: 100 }, (_, shardId) => shardId);
    const log = await openOn(disk, { shardIds, segmentBytes: 1024 * 1024 });
    const engines = shardIds.map((shardId) => log.engine(shardId));
    const terms = await Promise.all(engines.map((engine) => engine.elect()));
    const before = disk.counts.get('writeFlushed') ?? 0;
    const payload = payloadOf(0, 1n);
    await Promise.all(
      engines.flatMap((engine, place) =>
        [1n, 2n, 3n].map((index) =>
          engine.append({ term: terms[place]?.term ?? 0n, index, payload }),
        ),
      ),
    );
    expect((disk.counts.get('writeFlushed') ?? 0) - before).toBe(1);
    await log.close();
  });

  it('acknowledges nothing before the flush has returned', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk);
    const { term } = await log.engine(0).elect();
    const order: string[] = [];
    disk.onOperation = (operation) => order.push(operation);
    const append = log.engine(0).append({ term, index: 1n, payload: payloadOf(0, 1n) });
    await append.then(() => order.push('done'));
    expect(order).toEqual(['writeFlushed', 'done']);
    await log.close();
  });

  it('confirms the last group once nothing follows it, and never twice', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk, { confirmAfterMs: 1 });
    await log.engine(0).elect();
    const before = disk.counts.get('writeFlushed') ?? 0;
    await until(() => disk.counts.get('writeFlushed') === before + 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(disk.counts.get('writeFlushed')).toBe(before + 1);
    await log.close();
    expect(disk.counts.get('writeFlushed')).toBe(before + 1);
  });

  it('takes more than its limit of appends in flight for a mistake of the caller', async () => {
    const log = await openOn(new MemoryDisk());
    const engine = log.engine(0);
    const { term } = await engine.elect();
    const append = (index: bigint) => engine.append({ term, index, payload: payloadOf(0, index) });
    const allowed = [append(1n), append(2n), append(3n)];
    await expect(append(4n)).rejects.toThrow(RangeError);
    for (const outcome of await Promise.all(allowed)) expect(outcome.outcome).toBe('done');
    await log.close();
  });
});

describe('segments', () => {
  it('keep an entry that is larger than a segment', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk);
    const leadership = await log.engine(0).elect();
    await appendMany(log.engine(0), 0, leadership, 1, 10);
    await appendMany(log.engine(0), 0, leadership, 2, 100_000);
    await appendMany(log.engine(0), 0, leadership, 1, 10);
    await log.close();
    const again = await openOn(disk);
    const entries = await readAll(again.engine(0));
    expect(entries.map(({ payload }) => payload.byteLength)).toEqual([10, 100_000, 100_000, 10]);
    for (const { index, payload } of entries) {
      expect(payloadOf(0, index, payload.byteLength).equals(payload)).toBe(true);
    }
    await again.close();
  });

  it('are made ahead of need and are whole before an entry stands in them', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk);
    const leadership = await log.engine(0).elect();
    expect(segmentFiles(disk)).toHaveLength(1);
    await appendMany(log.engine(0), 0, leadership, 6, 1000);
    await until(() => segmentFiles(disk).length === 2);
    expect(log.size()).toEqual({ segments: 1, byteLength: 16_384 });
    for (const [path, bytes] of disk.contents()) {
      expect(path).toMatch(/^\/log\/[0-9a-f]{16}\.seg$/);
      expect(bytes.length).toBe(16_384);
    }
    await log.close();
    const again = await openOn(disk);
    await appendMany(again.engine(0), 0, await again.engine(0).elect(), 20, 1000);
    expect(await readAll(again.engine(0))).toHaveLength(26);
    await again.close();
  });

  it('are deleted, oldest first, once every shard was truncated above them', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk);
    const [zero, one] = [log.engine(0), log.engine(1)];
    const terms = [await zero.elect(), await one.elect()] as const;
    for (let round = 0; round < 10; round++) {
      await appendMany(zero, 0, terms[0], 5, 1000);
      await appendMany(one, 1, terms[1], 5, 1000);
    }
    const all = log.size().segments;
    expect(all).toBeGreaterThan(5);
    await zero.truncate(50n);
    expect(log.size().segments).toBe(all);
    await one.truncate(25n);
    await until(() => log.size().segments < all - 2);
    await one.truncate(50n);
    await until(() => log.size().segments === 1);
    await log.close();
    const again = await openOn(disk);
    for (const engine of [again.engine(0), again.engine(1)]) {
      expect(await engine.bounds()).toEqual({ firstIndex: 51n, headIndex: 50n });
    }
    expect((await again.engine(0).elect()).term).toBe(2n);
    await again.close();
  });

  it('are not kept by a shard that is hardly ever written: its entries are carried', async () => {
    const disk = new MemoryDisk();
    let log = await openOn(disk);
    await appendMany(log.engine(1), 1, await log.engine(1).elect(), 4);
    const leadership = await log.engine(0).elect();
    for (let round = 0; round < 12; round++) {
      await appendMany(log.engine(0), 0, leadership, 14, 1000);
      await log.engine(0).truncate((await log.engine(0).bounds()).headIndex);
    }
    await until(() => log.size().segments <= 5);
    expect(segmentFiles(disk)).not.toContain('/log/0000000000000001.seg');
    for (let life = 0; life < 2; life++) {
      const entries = await readAll(log.engine(1), 1n);
      expect(entries.map(({ index, term }) => [index, term])).toEqual(
        [1n, 2n, 3n, 4n].map((index) => [index, 1n]),
      );
      for (const { index, payload } of entries) {
        expect(payloadOf(1, index).equals(payload)).toBe(true);
      }
      await log.close();
      log = await openOn(disk);
    }
    await appendMany(log.engine(1), 1, await log.engine(1).elect(), 1);
    expect(await readAll(log.engine(1), 1n)).toHaveLength(5);
    await log.close();
  });

  it('hold nothing that was truncated, once that is asked for', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk);
    for (const shardId of [0, 1]) {
      const leadership = await log.engine(shardId).elect();
      await appendMany(log.engine(shardId), shardId, leadership, 20, 900);
    }
    await log.engine(0).truncate(19n);
    const holds = (shardId: number, index: bigint): boolean =>
      [...disk.contents().values()].some((bytes) => bytes.includes(payloadOf(shardId, index)));
    expect(holds(0, 19n)).toBe(true);
    await log.dropTruncated();
    for (let index = 1n; index < 20n; index++) expect(holds(0, index)).toBe(false);
    for (const [shardId, firstIndex] of [
      [0, 20n],
      [1, 1n],
    ] as const) {
      expect((await readAll(log.engine(shardId))).map(({ index }) => index)[0]).toBe(firstIndex);
    }
    await log.close();
    const again = await openOn(disk);
    expect(await readAll(again.engine(0))).toHaveLength(1);
    expect(await readAll(again.engine(1))).toHaveLength(20);
    await again.close();
  });

  it('hold nothing of it where that is asked for while the last group is confirmed', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk);
    const engine = log.engine(0);
    const leadership = await engine.elect();
    await appendMany(engine, 0, leadership, 2, 1000);
    await engine.truncate(1n);
    const dropped = new Promise<void>((resolve, reject) => {
      disk.onOperation = (operation) => {
        if (operation !== 'writeFlushed') return;
        disk.onOperation = () => undefined;
        log.dropTruncated().then(resolve, reject);
      };
    });
    await dropped;
    const files = [...disk.contents().values()];
    expect(files.some((bytes) => bytes.includes(payloadOf(0, 1n)))).toBe(false);
    expect(await readAll(engine)).toHaveLength(1);
    await log.close();
  });

  it('can be read to their end while they are deleted', async () => {
    const log = await openOn(new MemoryDisk());
    const engine = log.engine(0);
    const leadership = await engine.elect();
    await appendMany(engine, 0, leadership, 60, 1000);
    const reading = engine.read({ from: 1n, follow: false })[Symbol.asyncIterator]();
    const first = reading.next();
    await engine.truncate(60n);
    expect((await first).done).toBe(false);
    await expect(reading.next()).rejects.toMatchObject({ code: 'RAFTSEAL_ENGINE_TRUNCATED' });
    await log.close();
  });
});

describe('following', () => {
  it('gives a reader at the tail its entries without reading the disk', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk);
    const engine = log.engine(0);
    const leadership = await engine.elect();
    const stop = new AbortController();
    let seen = 0n;
    const following = (async () => {
      for await (const entries of engine.read({ from: 1n, follow: true, signal: stop.signal })) {
        for (const { index, payload } of entries) {
          expect(payloadOf(0, index).equals(payload)).toBe(true);
          seen = index;
        }
      }
    })();
    const before = disk.counts.get('read');
    for (let round = 0; round < 300; round++) {
      await appendMany(engine, 0, leadership, 1);
      await Promise.resolve();
    }
    await until(() => seen === 300n);
    expect(disk.counts.get('read')).toBe(before);
    stop.abort();
    await following;
    await log.close();
  });
});

describe('opening', () => {
  it('makes a directory of mode 0700 with files of mode 0600', async () => {
    const { directory, remove } = await temporaryDirectory();
    const inner = join(directory, 'a', 'b');
    const log = await openEmbeddedLog({
      directory: inner,
      nodeId: 'a',
      shardIds: [0],
      segmentBytes: 16_384,
    });
    expect((await stat(inner)).mode & 0o777).toBe(0o700);
    expect((await stat(join(inner, '0000000000000001.seg'))).mode & 0o777).toBe(0o600);
    await log.close();
    await remove();
  });

  it('refuses a directory that is open already, and takes it after a close', async () => {
    const { directory, remove } = await temporaryDirectory();
    const options = { directory, nodeId: 'a', shardIds: [0], segmentBytes: 16_384 };
    const log = await openEmbeddedLog(options);
    await expect(openEmbeddedLog(options)).rejects.toMatchObject({
      code: 'RAFTSEAL_ENGINE_LOCKED',
    });
    await log.close();
    await (await openEmbeddedLog(options)).close();
    await remove();
  });

  it('refuses to leave out a shard that the log holds, and takes a further one', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk);
    await appendMany(log.engine(1), 1, await log.engine(1).elect(), 2);
    expect(() => log.engine(2)).toThrow(
      expect.objectContaining({ code: 'RAFTSEAL_ENGINE_SHARD_UNKNOWN' }),
    );
    await log.close();
    const before = disk.contents();
    await expect(openOn(disk, { shardIds: [0] })).rejects.toMatchObject({
      code: 'RAFTSEAL_ENGINE_SHARD_UNKNOWN',
    });
    expect(disk.contents()).toEqual(before);
    const wider = await openOn(disk, { shardIds: [2, 1, 0] });
    await appendMany(wider.engine(2), 2, await wider.engine(2).elect(), 40, 1000);
    await wider.close();
    const again = await openOn(disk, { shardIds: [0, 1, 2] });
    expect(await readAll(again.engine(2))).toHaveLength(40);
    expect(await readAll(again.engine(1))).toHaveLength(2);
    await again.close();
  });

  it('removes a segment file whose making was cut short', async () => {
    const disk = new MemoryDisk();
    await (await openOn(disk)).close();
    const contents = disk.contents();
    contents.set('/log/0000000000000002.seg.new', Buffer.alloc(5000, 1));
    const left = new MemoryDisk(contents);
    await (await openOn(left)).close();
    for (const [path, bytes] of left.contents()) {
      expect(path).toMatch(/\.seg$/);
      expect(bytes).toHaveLength(16_384);
    }
  });

  it('refuses options that no log can have', async () => {
    const disk = new MemoryDisk();
    await expect(openOn(disk, { segmentBytes: 1000 })).rejects.toThrow(RangeError);
    await expect(openOn(disk, { shardIds: [1, 1] })).rejects.toThrow(TypeError);
    await expect(openOn(disk, { shardIds: [-1] })).rejects.toThrow(RangeError);
    await expect(openOn(disk, { payloadBytesMax: 2 ** 31 })).rejects.toThrow(RangeError);
    await expect(openOn(disk, { directory: '' })).rejects.toThrow(TypeError);
  });

  it('closing one engine leaves the log and its other shards open', async () => {
    const log = await openOn(new MemoryDisk());
    await log.engine(0).close();
    await appendMany(log.engine(1), 1, await log.engine(1).elect(), 1);
    await log.close();
    await log.close();
    expect(() => log.engine(1)).toThrow(
      expect.objectContaining({ code: 'RAFTSEAL_ENGINE_CLOSED' }),
    );
  });
});
