/**
 * A process ends between any two effects of any entry of a life. The next process reads the disk,
 * replays the log, and has to arrive where a process arrives that never ended.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkNonceEpochs, checkRegistry, type KeyLifecycleEntry } from '../src/index.ts';
import {
  backup,
  bootstrapEntry,
  type CrashPoint,
  crashPoints,
  cutoverRequest,
  Disk,
  describeRow,
  enableSealedOnly,
  enableStorage,
  FileDisk,
  forgetting,
  localState,
  marker,
  newKey,
  Process,
  registration,
  retirement,
  rewrap,
  rotation,
} from './world.ts';

type Placed = readonly [shardId: number, index: bigint, entry: KeyLifecycleEntry];

let life: readonly Placed[];

beforeAll(async () => {
  life = [
    [0, 1n, await bootstrapEntry()],
    [0, 4n, registration('c', 2, 1)],
    [0, 5n, registration('a', 1, 2)],
    [0, 6n, await rotation(4, 'storage')],
    [0, 7n, enableStorage(4)],
    [0, 8n, cutoverRequest(2, 7)],
    [7, 30n, marker(2, 8n)],
    [0, 9n, await rotation(5, 'raft')],
    [0, 11n, cutoverRequest(2, 7)],
    [0, 12n, await rewrap(await newKey(4, 'storage'), await newKey(5, 'raft'))],
    [0, 13n, retirement(1)],
    [0, 14n, retirement(2)],
    [0, 15n, backup('monday', 3, 4, 5)],
    [0, 16n, enableSealedOnly],
    [0, 17n, await rotation(9, 'index')],
    [0, 18n, await rotation(10, 'index')],
    [0, 19n, forgetting('monday')],
    [0, 20n, retirement(3)],
  ];
});

interface End {
  readonly state: unknown;
  readonly rows: readonly string[];
  readonly installed: unknown;
  readonly keys: readonly number[];
}

function endOf(process: Process): End {
  return {
    state: localState(process.state),
    rows: process.registry.rows().map(describeRow).sort(),
    installed: process.installed,
    keys: process.keyring.ids(),
  };
}

async function live(process: Process, entries: readonly Placed[]): Promise<void> {
  for (const [shardId, index, entry] of entries) await process.apply(shardId, index, entry);
}

/** The life with an end of the process at one point of one entry; undefined if it is not passed. */
async function interrupted(
  disk: Disk,
  { at, point, from }: { at: number; point: CrashPoint; from: number },
): Promise<Process | undefined> {
  const process = await Process.start(disk);
  await live(process, life.slice(0, at));
  process.crashAt = point;
  const [shardId, index, entry] = life[at] as Placed;
  const ended = await process.apply(shardId, index, entry).then(
    () => false,
    () => true,
  );
  if (!ended) return undefined;
  const next = await Process.start(disk);
  // As a start does: whatever the crash left, it is not taken for an old copy.
  checkRegistry(next.state, next.registry);
  checkNonceEpochs(next.state, next.registry);
  await live(next, life.slice(from));
  return next;
}

describe('a crash between any two effects, and a replay', () => {
  let expected: End;

  beforeAll(async () => {
    const process = await Process.start(new Disk());
    await live(process, life);
    expected = endOf(process);
  });

  it.each(crashPoints)('converges when it is %s', async (point) => {
    let passed = 0;
    for (let at = 0; at < life.length; at++) {
      for (const from of new Set([0, at])) {
        const next = await interrupted(new Disk(), { at, point, from });
        if (next === undefined) continue;
        passed += 1;
        expect(endOf(next), `entry ${at}, replayed from ${from}`).toEqual(expected);
      }
    }
    expect(passed).toBeGreaterThan(2);
  });

  it('ABOOT-14: inserts the rows that a crash before them left out', async () => {
    const disk = new Disk();
    const next = await interrupted(disk, { at: 0, point: 'before rows', from: 0 });
    expect(next && endOf(next).rows).toEqual(expected.rows);
  });

  it('AES-07: completes a registration whose sidecar was not written', async () => {
    const disk = new Disk();
    const next = await interrupted(disk, { at: 1, point: 'after rows', from: 1 });
    expect([...(next?.state.writers ?? [])]).toEqual([
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ]);
  });

  describe('with the real sidecar file', () => {
    const disks: FileDisk[] = [];
    const fileDisk = (): FileDisk => {
      const disk = new FileDisk();
      disks.push(disk);
      return disk;
    };

    afterAll(() => {
      for (const disk of disks) disk.remove();
    });

    it.each(crashPoints)('converges when it is %s', async (point) => {
      for (const at of [0, 6, 7, 14, 15, 17]) {
        const next = await interrupted(fileDisk(), { at, point, from: 0 });
        if (next !== undefined) expect(endOf(next), `entry ${at}`).toEqual(expected);
      }
    });

    it('refuses a sidecar in which one byte was changed', async () => {
      const { readFileSync, writeFileSync } = await import('node:fs');
      const disk = fileDisk();
      const process = await Process.start(disk);
      await live(process, life);
      const path = `${disk.directory}/keys.raftseal`;
      const bytes = readFileSync(path);
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
      writeFileSync(path, bytes);
      await expect(Process.start(disk)).rejects.toMatchObject({ code: 'RAFTSEAL_SIDECAR_MAC' });
    });
  });
});

describe('the crash test itself', () => {
  it('canary: sees a process that writes the sidecar before the rows', async () => {
    // The rows of a rotation are lost: the next process skips the entry as applied.
    const disk = new Disk();
    const process = await Process.start(disk);
    await live(process, life.slice(0, 3));
    const rows = disk.rows;
    await live(process, life.slice(3, 4));
    disk.rows = rows;
    const next = await Process.start(disk);
    await live(next, life);
    const whole = await Process.start(new Disk());
    await live(whole, life);
    expect(endOf(next)).not.toEqual(endOf(whole));
  });
});
