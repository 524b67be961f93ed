import { codeOf } from '@raftseal/interface';
import { beforeAll, describe, expect, it } from 'vitest';
import { inspectEmbeddedLog, type LogFinding } from '../src/index.ts';
import { MemoryDisk } from './memory-disk.ts';
import { appendMany, directory, openOn, payloadOf, readAll } from './samples.ts';

/** Length of the log in the first segment, found by the test itself: its last byte but zeros. */
const endOf = (bytes: Buffer): number => bytes.findLastIndex((byte) => byte !== 0) + 1;

/** A log of two shards: 6 entries of shard 0, 3 of shard 1, each in a group of its own. */
let sound: ReadonlyMap<string, Buffer>;
const path = `${directory}/0000000000000001.seg`;
const heads = [6n, 3n];

beforeAll(async () => {
  const disk = new MemoryDisk();
  const log = await openOn(disk);
  const leaderships = [await log.engine(0).elect(), await log.engine(1).elect()] as const;
  for (let round = 0; round < 3; round++) {
    await appendMany(log.engine(0), 0, leaderships[0], 2);
    await appendMany(log.engine(1), 1, leaderships[1], 1);
  }
  await log.close();
  sound = disk.contents();
});

/** The sound log with some bytes of its first segment changed. */
function changed(change: (bytes: Buffer) => Uint8Array | undefined): MemoryDisk {
  const contents = new Map([...sound].map(([name, bytes]) => [name, Buffer.from(bytes)]));
  const bytes = contents.get(path) ?? Buffer.alloc(0);
  contents.set(path, Buffer.from(change(bytes) ?? bytes));
  return new MemoryDisk(contents);
}

/** Opens a log; insists that what it serves is what was appended, from the first entry on. */
async function judge(
  disk: MemoryDisk,
): Promise<{ heads: bigint[] } | { code: string | undefined }> {
  const opened = await openOn(disk).catch((error: unknown) => ({ code: codeOf(error) }));
  if ('code' in opened) return opened;
  const served: bigint[] = [];
  for (const shardId of [0, 1]) {
    const entries = await readAll(opened.engine(shardId), 1n);
    for (const [place, { index, payload }] of entries.entries()) {
      expect(index).toBe(BigInt(place + 1));
      expect(payloadOf(shardId, index).equals(payload)).toBe(true);
    }
    served.push(BigInt(entries.length));
  }
  await opened.close();
  return { heads: served };
}

async function findings(disk: MemoryDisk): Promise<LogFinding[]> {
  const all: LogFinding[] = [];
  for await (const finding of inspectEmbeddedLog(directory, disk)) all.push(finding);
  return all;
}

describe('a flipped bit', () => {
  it('invariant 7: is refused wherever it is in a confirmed log', async () => {
    const end = endOf(sound.get(path) ?? Buffer.alloc(0));
    const confirmation = end - 24;
    let refused = 0;
    for (let offset = 0; offset < end; offset += offset === 44 ? 4096 - 44 : 1) {
      for (let bit = 0; bit < 8; bit++) {
        const disk = changed((bytes) => {
          bytes[offset] = (bytes[offset] ?? 0) ^ (1 << bit);
          return undefined;
        });
        const verdict = await judge(disk);
        // The confirmation carries nothing: without it the log is whole, but unconfirmed.
        if (offset >= confirmation) expect(verdict).toEqual({ heads });
        else expect(verdict).toEqual({ code: 'RAFTSEAL_ENGINE_CORRUPT' });
        if ('code' in verdict) refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(4000);
  });

  it('in the zeros after the tail changes nothing and is overwritten', async () => {
    for (const offset of [9000, 12_345, 16_383]) {
      const disk = changed((bytes) => {
        bytes[offset] = 0x10;
        return undefined;
      });
      const log = await openOn(disk);
      expect(log.tornBytes).toBeGreaterThan(0);
      await log.close();
      expect(disk.contents().get(path)?.[offset]).toBe(0);
      expect(await judge(disk)).toEqual({ heads });
    }
  });

  it('in the last group of an unconfirmed log is a torn tail: that group goes', async () => {
    const end = endOf(sound.get(path) ?? Buffer.alloc(0)) - 24;
    const start = end - (24 + 32 + 40);
    for (let offset = start; offset < end; offset++) {
      const disk = changed((bytes) => {
        bytes.fill(0, end);
        bytes[offset] = (bytes[offset] ?? 0) ^ 0x20;
        return undefined;
      });
      expect(await judge(disk)).toEqual({ heads: [6n, 2n] });
    }
  });

  it('names the segment, the offset and the entries that later records show to be missing', async () => {
    const group = 24 + 32 + 40;
    const end = endOf(sound.get(path) ?? Buffer.alloc(0)) - 24;
    const offset = end - 5 * group;
    const disk = changed((bytes) => {
      bytes[offset + 60] = (bytes[offset + 60] ?? 0) ^ 1;
      return undefined;
    });
    await expect(openOn(disk)).rejects.toMatchObject({
      code: 'RAFTSEAL_ENGINE_CORRUPT',
      fatal: true,
      message: expect.stringMatching(
        new RegExp(
          `segment 0000000000000001.seg is damaged at offset ${offset}: .*shard 0 lacks entries 4..4`,
        ),
      ),
    });
  });

  it('is found by the read of an entry, too, and stops only its shard', async () => {
    const disk = new MemoryDisk(sound);
    const log = await openOn(disk);
    const entry = (await findings(disk)).find(
      (finding) => finding.kind === 'entry' && finding.shardId === 0 && finding.index === 4n,
    );
    const file = await disk.open(path, 'durable');
    await file.writeFlushed([Buffer.from([0xff])], (entry?.offset ?? 0) + 50);
    await expect(readAll(log.engine(0), 1n)).rejects.toMatchObject({
      code: 'RAFTSEAL_ENGINE_CORRUPT',
      message: expect.stringContaining('shard 0: entry 4 is not intact'),
    });
    expect(await readAll(log.engine(0), 5n)).toHaveLength(2);
    expect(await readAll(log.engine(1), 1n)).toHaveLength(3);
    await log.close();
  });
});

describe('a file that was cut or mixed up', () => {
  it('invariant 7: is refused at every length below the one it was made with', async () => {
    const length = sound.get(path)?.length ?? 0;
    for (let cut = 0; cut < length; cut += cut < 4096 || cut > 6000 ? 97 : 1) {
      const disk = changed((bytes) => bytes.subarray(0, cut));
      expect(await judge(disk)).toEqual({ code: 'RAFTSEAL_ENGINE_CORRUPT' });
    }
  });

  it('serves a prefix of whole groups where zeros replace its end, at every byte', async () => {
    const end = endOf(sound.get(path) ?? Buffer.alloc(0));
    for (let cut = 4096; cut < end; cut++) {
      const disk = changed((bytes) => bytes.fill(0, cut));
      const verdict = await judge(disk);
      expect(verdict).toHaveProperty('heads');
    }
  });

  it('is refused where two records of a shard changed places', async () => {
    const group = 24 + 32 + 40;
    const end = endOf(sound.get(path) ?? Buffer.alloc(0)) - 24;
    const [one, two] = [end - 6 * group + 24, end - 5 * group + 24];
    for (const [a, b] of [
      [one, two],
      [one - 24, two - 24],
    ] as const) {
      const size = a === one ? 72 : 96;
      const disk = changed((bytes) => {
        const first = Buffer.from(bytes.subarray(a, a + size));
        bytes.copy(bytes, a, b, b + size);
        first.copy(bytes, b);
        return undefined;
      });
      expect(await judge(disk)).toEqual({ code: 'RAFTSEAL_ENGINE_CORRUPT' });
    }
  });

  it('is refused where it comes from another log', async () => {
    const other = new MemoryDisk();
    const log = await openOn(other);
    await appendMany(log.engine(0), 0, await log.engine(0).elect(), 300);
    await log.close();
    const contents = new Map(other.contents());
    contents.set(path, Buffer.from(sound.get(path) ?? []));
    expect(await judge(new MemoryDisk(contents))).toEqual({ code: 'RAFTSEAL_ENGINE_CORRUPT' });
  });

  it('is refused where a segment in the middle is missing, or its name is another’s', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk);
    await appendMany(log.engine(0), 0, await log.engine(0).elect(), 700);
    await log.close();
    const names = [...disk.contents().keys()].sort();
    expect(names.length).toBeGreaterThan(4);
    const second = names[1] ?? '';
    const without = disk.contents();
    without.delete(second);
    await expect(openOn(new MemoryDisk(without))).rejects.toMatchObject({
      code: 'RAFTSEAL_ENGINE_CORRUPT',
      message: expect.stringContaining('0000000000000002.seg'),
    });
    const withoutFirst = disk.contents();
    withoutFirst.delete(names[0] ?? '');
    await expect(openOn(new MemoryDisk(withoutFirst))).rejects.toMatchObject({
      code: 'RAFTSEAL_ENGINE_CORRUPT',
      message: expect.stringContaining('shard 0 lacks entry 1'),
    });
    const renamed = disk.contents();
    renamed.set(second, Buffer.from(renamed.get(names[2] ?? '') ?? []));
    await expect(openOn(new MemoryDisk(renamed))).rejects.toMatchObject({
      code: 'RAFTSEAL_ENGINE_CORRUPT',
    });
  });

  it('is refused where its format version is not known', async () => {
    const { crc32 } = await import('node:zlib');
    const disk = changed((bytes) => {
      bytes.writeUInt32BE(2, 8);
      bytes.writeUInt32BE(crc32(bytes.subarray(0, 4092)), 4092);
      return undefined;
    });
    expect(await judge(disk)).toEqual({ code: 'RAFTSEAL_ENGINE_FORMAT' });
  });
});

describe('the inspection', () => {
  it('yields every entry with its place, and no damage, of a sound log', async () => {
    const all = await findings(new MemoryDisk(sound));
    const entries = all.filter((finding) => finding.kind === 'entry');
    expect(entries).toHaveLength(9);
    for (const { shardId, index, payload, segment, offset } of entries) {
      expect(payloadOf(shardId, index).equals(payload)).toBe(true);
      const bytes = sound.get(`${directory}/${segment}`);
      expect(bytes?.subarray(offset + 32, offset + 72).equals(payload)).toBe(true);
    }
    const kinds = new Set(all.map((finding) => finding.kind));
    expect(kinds).toEqual(new Set(['segment', 'checkpoint', 'term', 'entry']));
  });

  it('goes on behind damage, and tells a torn tail from it', async () => {
    const group = 24 + 32 + 40;
    const end = endOf(sound.get(path) ?? Buffer.alloc(0)) - 24;
    const damaged = end - 5 * group;
    const disk = changed((bytes) => {
      bytes[damaged + 30] = 0xee;
      bytes.fill(0, end);
      bytes[end - 1] = 0xee;
      return undefined;
    });
    const before = disk.contents();
    const all = await findings(disk);
    expect(all.filter(({ kind }) => kind === 'entry')).toHaveLength(7);
    expect(all.find(({ kind }) => kind === 'damage')).toMatchObject({
      offset: damaged,
      byteLength: group,
    });
    expect(all.find(({ kind }) => kind === 'tornTail')).toMatchObject({
      offset: end - group,
      byteLength: group,
    });
    expect(disk.contents()).toEqual(before);
  });

  it('reports bytes after the tail of an older segment, and damage at the end of one', async () => {
    const disk = new MemoryDisk();
    const log = await openOn(disk);
    await appendMany(log.engine(0), 0, await log.engine(0).elect(), 300);
    await log.close();
    const residue = disk.contents();
    residue.get(path)?.writeUInt8(1, 16_383);
    const found = await findings(new MemoryDisk(residue));
    expect(found.filter(({ kind }) => kind === 'residue')).toHaveLength(1);
    expect(await readAllOn(new MemoryDisk(residue))).toBe(300);
    const damage = disk.contents();
    const bytes = damage.get(path) ?? Buffer.alloc(0);
    bytes.fill(0, endOf(bytes) - 30);
    const cut = await findings(new MemoryDisk(damage));
    expect(cut.filter(({ kind }) => kind === 'damage')).toHaveLength(1);
    await expect(openOn(new MemoryDisk(damage))).rejects.toMatchObject({
      code: 'RAFTSEAL_ENGINE_CORRUPT',
      message: expect.stringMatching(/0000000000000001.seg is damaged.*shard 0 lacks entries/),
    });
  });
});

async function readAllOn(disk: MemoryDisk): Promise<number> {
  const log = await openOn(disk);
  const { length } = await readAll(log.engine(0));
  await log.close();
  return length;
}
