/** What is done to a snapshot on its way, by accident or on purpose, and by whom. */
import { codeOf } from '@raftseal/interface';
import { afterEach, describe, expect, it } from 'vitest';
import type { SnapshotExpectation } from '../src/index.ts';
import { rowSeal } from './support/seal.ts';
import { START_MS, TestShard } from './support/shard.ts';
import {
  assemble,
  type Frame,
  framesOf,
  install,
  snapshotOf,
  type WholeSnapshot,
} from './support/snapshots.ts';
import { flipBit, withTable } from './support/store-files.ts';

const shards: TestShard[] = [];
async function openShard(...args: Parameters<typeof TestShard.open>): Promise<TestShard> {
  const shard = await TestShard.open(...args);
  shards.push(shard);
  return shard;
}
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

const seal = rowSeal(1, 9);
const code = (name: string) => expect.objectContaining({ code: `RAFTSEAL_KV_${name}` });

interface Case {
  readonly snapshot: WholeSnapshot;
  /** The shard that is to install it, with a state of its own. */
  readonly to: TestShard;
}

async function makeCase(sealed: boolean): Promise<Case> {
  const from = await openShard({ seal: sealed ? seal : 'cleartext' });
  from.line('set one first-value');
  from.line('set two other-value PX 5000');
  from.line('hset three f v');
  await from.machine.flush();
  const to = await openShard({ seal: sealed ? rowSeal(1, 1) : 'cleartext' });
  to.line('set old 1');
  return { snapshot: await snapshotOf(from.machine), to };
}

async function codeOfInstall(
  { to, snapshot }: Case,
  bytes: Buffer,
  expected: SnapshotExpectation = snapshot.expected,
): Promise<string | undefined> {
  return install(to.machine, { bytes, expected }, 1 << 20).then(
    () => 'installed',
    (error: unknown) => codeOf(error),
  );
}

/** The old state is there, and in use; and the snapshot as it was can be installed. */
async function expectUnharmed({ to, snapshot }: Case): Promise<void> {
  expect(to.query('mget', 'old', 'one')).toEqual(['1', null]);
  expect(to.machine.appliedIndex).toBe(1n);
  to.line('set old 2');
  expect(await to.machine.flush()).toBe(2n);
  await to.reopen();
  expect(to.query('mget', 'old', 'one')).toEqual(['2', null]);
  await install(to.machine, snapshot);
  expect(to.query('mget', 'old', 'one')).toEqual([null, 'first-value']);
}

const refused = 'RAFTSEAL_KV_SNAPSHOT_INVALID';

describe.each([true, false])('a snapshot (sealed: %s)', (sealed) => {
  it('invariant 7, SNAP-14: is refused wherever a bit is flipped in it, and nothing changes', async () => {
    const made = await makeCase(sealed);
    const { bytes } = made.snapshot;
    expect(bytes.length).toBeGreaterThan(200);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      expect(await codeOfInstall(made, flipBit(bytes, bit)), `bit ${bit}`).toBe(refused);
    }
    await expectUnharmed(made);
  }, 60_000);

  it('invariant 7, SNAP-11: is refused at every length but its own, and nothing changes', async () => {
    const made = await makeCase(sealed);
    const { bytes } = made.snapshot;
    for (let length = 0; length < bytes.length; length++) {
      const found = await codeOfInstall(made, bytes.subarray(0, length));
      expect(found, `length ${length}`).toBe(refused);
    }
    const longer = Buffer.concat([bytes, Buffer.alloc(1)]);
    expect(await codeOfInstall(made, longer)).toBe(refused);
    expect(await codeOfInstall(made, Buffer.concat([bytes, bytes]))).toBe(refused);
    await expectUnharmed(made);
  });

  it('is refused where it is not the one that was asked for', async () => {
    const made = await makeCase(sealed);
    const { bytes, expected } = made.snapshot;
    const others = [
      { ...expected, index: 4n },
      { ...expected, index: 2n },
      { ...expected, timestampMs: START_MS + 1 },
    ];
    for (const other of others) expect(await codeOfInstall(made, bytes, other)).toBe(refused);
    const elsewhere = await openShard({ seal: made.to.options.seal, shardId: 4 });
    await expect(install(elsewhere.machine, made.snapshot)).rejects.toThrow(
      code('SNAPSHOT_INVALID'),
    );
    await expectUnharmed(made);
  });

  it('is refused where its frames are no snapshot, though its digest is right', async () => {
    const made = await makeCase(sealed);
    const { header, frames } = framesOf(made.snapshot.bytes);
    const [meta, ...rest] = frames;
    const rows = rest.filter(({ kind }) => kind === 3 || kind === 4);
    const [first, second, third] = rows;
    if (meta === undefined || first === undefined || second === undefined || third === undefined) {
      throw new Error('frames are missing');
    }
    const withSeal = sealed ? seal : undefined;
    expect(await codeOfInstall(made, assemble(header, [meta, ...rows], withSeal))).toBe(
      'installed',
    );
    const other = await makeCase(sealed);
    const sealedBesideClear = sealed ? { kind: 1, body: meta.body } : meta;
    const flagged = Buffer.from(first.body);
    flagged[32] = 0x80;
    const wrong: Record<string, readonly Frame[]> = {
      'no meta row': rows,
      'the meta row twice': [meta, meta, ...rows],
      'the meta row behind a row': [first, meta, second, third],
      'the same row twice': [meta, first, first, second, third],
      'rows not in order': [meta, second, first, third],
      'a row of a kind that goes before': [meta, ...rows, { kind: 3, body: first.body }, first],
      'a kind that is not known': [meta, ...rows, { kind: 0, body: first.body }],
      'sealed rows under a meta row in the clear': [
        sealedBesideClear,
        { kind: 4, body: first.body },
      ],
      'a row without a header': [meta, { kind: first.kind, body: first.body.subarray(0, 40) }],
      'a row with the flags of a meta row': [meta, { kind: first.kind, body: flagged }],
      'a meta row that is too long': [{ kind: meta.kind, body: Buffer.alloc(2_000) }, ...rows],
      'an empty meta row': [{ kind: meta.kind, body: Buffer.alloc(0) }, ...rows],
    };
    for (const [what, list] of Object.entries(wrong)) {
      const bytes = assemble(header, list, withSeal);
      expect(await codeOfInstall(other, bytes), what).toBe(refused);
    }
    await expectUnharmed(other);
  });

  it('is refused for a length that nobody can have meant, before it is believed', async () => {
    const made = await makeCase(sealed);
    const { bytes } = made.snapshot;
    const before = process.memoryUsage().arrayBuffers;
    for (const length of [2 ** 32 - 1, 2 ** 31, 2 ** 31 - 1, 2 ** 20]) {
      for (let at = 30; at < bytes.length; at += 5 + bytes.readUInt32BE(at + 1)) {
        const longer = Buffer.from(bytes);
        longer.writeUInt32BE(length, at + 1);
        expect(await codeOfInstall(made, longer)).toBe(refused);
      }
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 28);
    await expectUnharmed(made);
  });
});

describe('a sealed snapshot, in the hands of somebody without keys', () => {
  /** What such a one can make of it, with counts and digest put right. */
  async function forged(edit: (frames: Frame[]) => readonly Frame[]): Promise<string | undefined> {
    const made = await makeCase(true);
    const { header, frames } = framesOf(made.snapshot.bytes);
    const found = await codeOfInstall(made, assemble(header, edit(frames)));
    await expectUnharmed(made);
    return found;
  }

  it('invariant 7: is refused without one of its rows, or with one of another time', async () => {
    expect(await forged((frames) => frames.filter((_, i) => i !== 2))).toBe(refused);
    const older = await openShard({ seal: rowSeal(1, 8) });
    older.line('set one an-older-value');
    await older.machine.flush();
    const { bytes } = await snapshotOf(older.machine);
    const row = framesOf(bytes).frames.find(({ kind }) => kind === 4);
    const swapped = await forged((frames) =>
      frames.map((frame) =>
        row?.body.subarray(0, 32).equals(frame.body.subarray(0, 32)) ? row : frame,
      ),
    );
    expect(swapped).toBe(refused);
  });

  it('HAZARD SENV-07: is refused with another expiry in the header of a row', async () => {
    const found = await forged((frames) =>
      frames.map(({ kind, body }) => {
        const copy = Buffer.from(body);
        if (kind === 4) copy.writeBigUInt64BE(1n, 33);
        return { kind, body: copy };
      }),
    );
    expect(found).toBe(refused);
  });

  it('invariant 7: is refused with rows in the clear added to it', async () => {
    const other = await openShard();
    other.line('set forged 1');
    await other.machine.flush();
    const clear = framesOf((await snapshotOf(other.machine)).bytes).frames.find(
      ({ kind }) => kind === 3,
    );
    if (clear === undefined) throw new Error('there is no row');
    const add = (frames: readonly Frame[]): Frame[] => frames.toSpliced(1, 0, clear);
    expect(await forged(add)).toBe(refused);
    // Not even where whoever seals was deceived: its meta row says that there are none.
    const made = await makeCase(true);
    const { header, frames } = framesOf(made.snapshot.bytes);
    const error: unknown = await install(made.to.machine, {
      bytes: assemble(header, add(frames), seal),
      expected: made.snapshot.expected,
    }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: refused, cause: { code: 'RAFTSEAL_KV_ROW_FORGED' } });
    await expectUnharmed(made);
  });

  it('invariant 7: is refused without its seal, or with that of another snapshot', async () => {
    expect(await forged((frames) => frames.filter(({ kind }) => kind !== 6))).toBe(refused);
    const other = await makeCase(true);
    const theirs = framesOf(other.snapshot.bytes).frames.filter(({ kind }) => kind === 6);
    const swapped = await forged((frames) => [
      ...frames.filter(({ kind }) => kind !== 6),
      ...theirs,
    ]);
    expect(swapped).toBe(refused);
  });

  it('invariant 7: is refused under the header of another index', async () => {
    const made = await makeCase(true);
    const { header, frames } = framesOf(made.snapshot.bytes);
    const later = Buffer.from(header);
    later.writeBigUInt64BE(900n, 14);
    const expected = { ...made.snapshot.expected, index: 900n };
    expect(await codeOfInstall(made, assemble(later, frames), expected)).toBe(refused);
    expect(await codeOfInstall(made, assemble(later, frames, seal), expected)).toBe(refused);
    await expectUnharmed(made);
  });

  it('invariant 7: is refused in another cluster and in another shard', async () => {
    const made = await makeCase(true);
    const elsewhere = await openShard({ seal: rowSeal(2, 1) });
    await expect(install(elsewhere.machine, made.snapshot)).rejects.toThrow(
      code('SNAPSHOT_INVALID'),
    );
    const { header, frames } = framesOf(made.snapshot.bytes);
    const moved = Buffer.from(header);
    moved.writeUInt32BE(4, 10);
    const other = await openShard({ seal: rowSeal(1, 1), shardId: 4 });
    const { expected } = made.snapshot;
    const bytes = assemble(moved, frames, seal);
    await expect(install(other.machine, { bytes, expected })).rejects.toThrow(
      code('SNAPSHOT_INVALID'),
    );
  });

  it('is not replaced by one in the clear, where a sealed one is asked for', async () => {
    const made = await makeCase(true);
    const from = await openShard();
    from.line('set forged 1');
    from.machine.skip(3n);
    await from.machine.flush();
    const { bytes, expected } = await snapshotOf(from.machine);
    const strict = { ...expected, mustBeSealed: true };
    expect(await codeOfInstall(made, bytes, strict)).toBe(refused);
    await expectUnharmed(made);
    const sealed = { ...made.snapshot.expected, mustBeSealed: true };
    const other = await openShard({ seal: rowSeal(1, 2) });
    await install(other.machine, { bytes: made.snapshot.bytes, expected: sealed });
    expect(other.query('get', 'one')).toBe('first-value');
  });
});

describe('a row that does not open where the snapshot is taken', () => {
  it('invariant 6: does not open where it is installed either, and hurts no other row', async () => {
    const made = await makeCase(true);
    const [from, to] = shards;
    if (from === undefined || to === undefined) throw new Error('shards are missing');
    await from.machine.close();
    const name = rowSeal().rowKey(3, Buffer.from('two'));
    await withTable(from.options.directory, 'sealed', ({ rows, put }) => {
      const row = rows().find(({ key }) => key.equals(name));
      put(name, flipBit(row?.value ?? Buffer.alloc(0), 200));
    });
    await from.reopen();
    await install(made.to.machine, await snapshotOf(from.machine));
    expect(to.query('get', 'one')).toBe('first-value');
    expect(JSON.stringify(to.query('get', 'two'))).toContain('RAFTSEAL_KV_ROW_CORRUPT');
  });
});
