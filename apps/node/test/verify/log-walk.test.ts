import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Keyring, NonceSequence, RaftSeal } from '@raftseal/envelope';
import type { RaftEngine } from '@raftseal/interface';
import { type EmbeddedLog, openEmbeddedLog } from '@raftseal/raft-engine-embedded';
import { KIND_DATA, KIND_KEY_LIFECYCLE, TAG_CLEARTEXT, TAG_SEALED } from '@raftseal/shard-group';
import { describe, expect, it } from 'vitest';
import { walkEmbeddedLog } from '../../src/node-logs.ts';
import { type LogWalk, summarizeLog } from '../../src/verify/log-walk.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

const DEK_ID = 4_000_000_000;
const NEXT_DEK_ID = 17;
const FOREIGN_DEK_ID = 99;
const SECRET = 'launch code 0000';

const keyring = new Keyring();
for (const dekId of [DEK_ID, NEXT_DEK_ID])
  keyring.add(dekId, 'raft', Buffer.alloc(32, dekId % 251));
const clusterId = Buffer.alloc(16, 0xc1);
const raftSeal = new RaftSeal({ clusterId, keyring });
let epoch = 0;

interface Place {
  readonly shardId: number;
  readonly index: bigint;
}

/** An entry of commands; the walk looks at nothing behind the kind. */
const data = Buffer.from(`${String.fromCharCode(KIND_DATA)}${SECRET}`, 'latin1');
const keyLifecycle = Buffer.from([KIND_KEY_LIFECYCLE, 1, 2, 3]);

function inTheClear(body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([TAG_CLEARTEXT]), body]);
}

function sealedAt(place: Place, dekId = DEK_ID, seal = raftSeal): Buffer {
  epoch++;
  const nonces = new NonceSequence({ writerId: 1, nonceEpoch: epoch });
  const payload = Buffer.from(seal.seal({ dekId, ...place, nonces }, data, 1));
  payload[0] = TAG_SEALED;
  return payload;
}

/** A log with the given payloads, from index 1 on, in each shard. */
async function logWith(shards: readonly (readonly Buffer[])[]): Promise<string> {
  const directory = join(temporaryDirectory(), 'log');
  const log = await openLog(directory, shards.length);
  for (const [shardId, payloads] of shards.entries()) await append(log.engine(shardId), payloads);
  await log.close();
  return directory;
}

function openLog(directory: string, shardCount: number): Promise<EmbeddedLog> {
  const shardIds = Array.from({ length: shardCount }, (_, shardId) => shardId);
  return openEmbeddedLog({ directory, nodeId: 'a', shardIds, segmentBytes: 64 * 1024 });
}

async function append(engine: RaftEngine, payloads: readonly Buffer[]): Promise<void> {
  const { term, headIndex } = await engine.elect();
  let index = headIndex;
  for (const payload of payloads) {
    index++;
    expect(await engine.append({ term, index, payload })).toEqual({ outcome: 'done' });
  }
}

/** Walks a log of as many shards as there are cutovers. */
function walk(directory: string, cutovers: readonly (bigint | undefined)[]): Promise<LogWalk> {
  return walkEmbeddedLog(directory, {
    shardIds: cutovers.map((_, shardId) => shardId),
    cutoverIndexOf: (shardId) => cutovers[shardId],
    open: (place, envelope) => raftSeal.open(place, envelope),
  });
}

/** Marker at index 2, then sealed entries. */
function cutOver(shardId: number, count = 3): Buffer[] {
  const above = Array.from({ length: count }, (_, at) =>
    sealedAt({ shardId, index: BigInt(at + 3) }),
  );
  return [inTheClear(data), inTheClear(keyLifecycle), ...above];
}

describe('a walk over a log', () => {
  it('counts what is in the clear by kind, and what is sealed by key', async () => {
    const rotated = [...cutOver(0, 3), sealedAt({ shardId: 0, index: 6n }, NEXT_DEK_ID)];
    const directory = await logWith([rotated, [inTheClear(data), inTheClear(data)], []]);
    const { logs, problems } = await walk(directory, [2n, undefined, undefined]);
    expect(problems).toEqual([]);
    expect(logs).toEqual([
      {
        shardId: 0,
        cutoverIndex: '2',
        firstIndex: '1',
        lastIndex: '6',
        cleartextData: 1,
        cleartextKeyLifecycle: 1,
        sealed: { [DEK_ID]: 3, [NEXT_DEK_ID]: 1 },
      },
      {
        shardId: 1,
        cutoverIndex: null,
        firstIndex: '1',
        lastIndex: '2',
        cleartextData: 2,
        cleartextKeyLifecycle: 0,
        sealed: {},
      },
      {
        shardId: 2,
        cutoverIndex: null,
        firstIndex: null,
        lastIndex: null,
        cleartextData: 0,
        cleartextKeyLifecycle: 0,
        sealed: {},
      },
    ]);
  });

  it('counts entries that were truncated and are on disk still', async () => {
    const directory = await logWith([cutOver(0)]);
    const log = await openLog(directory, 1);
    await log.engine(0).truncate(4n);
    expect(await log.engine(0).bounds()).toMatchObject({ firstIndex: 5n });
    await log.close();
    const { logs } = await walk(directory, [2n]);
    expect(logs[0]).toMatchObject({ firstIndex: '1', lastIndex: '5', cleartextData: 1 });
  });

  it('reads a log that is open, and every segment of it', async () => {
    const directory = join(temporaryDirectory(), 'log');
    const log = await openLog(directory, 1);
    const padded = Array.from({ length: 40 }, () =>
      inTheClear(Buffer.concat([data, Buffer.alloc(4096)])),
    );
    await append(log.engine(0), padded);
    expect(
      (await readdir(directory)).filter((name) => name.endsWith('.seg')).length,
    ).toBeGreaterThan(1);
    const { logs, problems } = await walk(directory, [undefined]);
    expect(problems).toEqual([]);
    expect(logs[0]).toMatchObject({ lastIndex: '40', cleartextData: 40 });
    await log.close();
  });

  it('changes nothing', async () => {
    const directory = await logWith([cutOver(0)]);
    const contents = async (): Promise<Buffer[]> =>
      Promise.all((await readdir(directory)).map((name) => readFile(join(directory, name))));
    const before = await contents();
    await walk(directory, [2n]);
    expect(await contents()).toEqual(before);
  });

  it('holds nothing of what it read', async () => {
    const directory = await logWith([[...cutOver(0), inTheClear(data)]]);
    expect(JSON.stringify(await walk(directory, [2n]))).not.toContain(SECRET);
  });
});

describe('a walk over a log names', () => {
  /** The problems of a log of two shards, cut over at 2, with an entry planted as number 6. */
  async function problemsWith(planted: Buffer, shardId = 0): Promise<readonly string[]> {
    const shards = [cutOver(0), cutOver(1)];
    shards[shardId]?.push(planted);
    const { problems } = await walk(await logWith(shards), [2n, 2n]);
    return problems;
  }

  const PLACE = String.raw`\(0000000000000001\.seg at \d+\)`;

  it('nothing where the planted entry is as it must be', async () => {
    expect(await problemsWith(sealedAt({ shardId: 0, index: 6n }))).toEqual([]);
  });

  it('invariant 1: an entry in the clear above the cutover', async () => {
    for (const body of [data, keyLifecycle, Buffer.alloc(0)]) {
      expect(await problemsWith(inTheClear(body))).toEqual([
        expect.stringMatching(`^entry 6 of shard 0 ${PLACE}: in the clear above the cutover$`),
      ]);
    }
  });

  it('invariant 6: an entry in the clear at or below the cutover of a sealed-only cluster', async () => {
    const directory = await logWith([cutOver(0)]);
    const { problems, logs } = await walkEmbeddedLog(directory, {
      shardIds: [0],
      cutoverIndexOf: () => 2n,
      sealedOnly: true,
      open: (place, envelope) => raftSeal.open(place, envelope),
    });
    expect(problems).toEqual(
      [1, 2].map((index) =>
        expect.stringMatching(
          `^entry ${index} of shard 0 ${PLACE}: in the clear, in a cluster that`,
        ),
      ),
    );
    expect(logs[0]).toMatchObject({ cleartextData: 1, cleartextKeyLifecycle: 1 });
  });

  it('invariant 1: a sealed entry at or below the cutover, or without one', async () => {
    const payloads = [sealedAt({ shardId: 0, index: 1n }), sealedAt({ shardId: 0, index: 2n })];
    for (const cutoverIndex of [2n, undefined]) {
      const { problems } = await walk(await logWith([payloads]), [cutoverIndex]);
      expect(problems).toEqual([
        expect.stringMatching(`^entry 1 of shard 0 ${PLACE}: sealed, not above a cutover$`),
        expect.stringMatching(`^entry 2 of shard 0 ${PLACE}: sealed, not above a cutover$`),
      ]);
    }
  });

  it('invariant 7: an entry of which a byte was changed, wherever it is', async () => {
    const whole = sealedAt({ shardId: 0, index: 6n });
    const reasons = new Set<string>();
    for (let at = 1; at < whole.length; at += 3) {
      const flipped = Buffer.from(whole);
      flipped[at] = (flipped[at] ?? 0) ^ 0x40;
      const [problem = '', ...more] = await problemsWith(flipped);
      expect(more).toEqual([]);
      expect(problem).toMatch(`entry 6 of shard 0`);
      reasons.add(/does not open \((\w+)\)$/.exec(problem)?.[1] ?? problem);
    }
    expect(reasons).toContain('RAFTSEAL_ENVELOPE_INTEGRITY');
    expect(reasons).toContain('RAFTSEAL_ENVELOPE_UNKNOWN_DEK');
  });

  const INTEGRITY = String.raw`does not open \(RAFTSEAL_ENVELOPE_INTEGRITY\)$`;

  it('invariant 7: an entry that was moved to another shard', async () => {
    expect(await problemsWith(sealedAt({ shardId: 0, index: 6n }), 1)).toEqual([
      expect.stringMatching(`^entry 6 of shard 1 ${PLACE}: ${INTEGRITY}`),
    ]);
  });

  it('invariant 7: an entry that was replayed, or comes from another cluster', async () => {
    const elsewhere = new RaftSeal({ clusterId: Buffer.alloc(16, 1), keyring });
    for (const planted of [
      sealedAt({ shardId: 0, index: 5n }),
      sealedAt({ shardId: 0, index: 6n }, DEK_ID, elsewhere),
    ]) {
      expect(await problemsWith(planted)).toEqual([
        expect.stringMatching(`^entry 6 of shard 0 ${PLACE}: ${INTEGRITY}`),
      ]);
    }
  });

  it('an entry under a key that the node does not have', async () => {
    const others = new Keyring();
    others.add(FOREIGN_DEK_ID, 'raft', Buffer.alloc(32, 9));
    const seal = new RaftSeal({ clusterId, keyring: others });
    const planted = sealedAt({ shardId: 0, index: 6n }, FOREIGN_DEK_ID, seal);
    expect(await problemsWith(planted)).toEqual([
      expect.stringMatching(/does not open \(RAFTSEAL_ENVELOPE_UNKNOWN_DEK\)$/),
    ]);
  });

  it('an entry whose tag is unknown, or that is too short for what its tag says', async () => {
    for (const planted of [Buffer.from([0x54, 1]), Buffer.alloc(0), Buffer.from([TAG_SEALED, 2])]) {
      expect(await problemsWith(planted)).toEqual([
        expect.stringMatching(`^entry 6 of shard 0 ${PLACE}: unknown payload tag$`),
      ]);
    }
  });

  it('an entry of a shard that the node does not have', async () => {
    const directory = await logWith([cutOver(0), cutOver(1)]);
    const { logs, problems } = await walk(directory, [2n]);
    expect(logs.map(({ shardId }) => shardId)).toEqual([0]);
    expect(problems).toHaveLength(5);
    expect(problems[0]).toMatch(/^entry 1 of shard 1 .*: the node has no such shard$/);
  });

  it('invariant 6: bytes that were changed on the disk', async () => {
    const directory = await logWith([cutOver(0, 6)]);
    const [name = ''] = (await readdir(directory)).toSorted((a, b) => a.localeCompare(b));
    const file = await open(join(directory, name), 'r+');
    const content = await file.readFile();
    const at = content.indexOf(Buffer.from([TAG_SEALED, 2, 0])) + 25;
    await file.write(Buffer.from([(content[at] ?? 0) ^ 1]), 0, 1, at);
    await file.close();
    const { problems } = await walk(directory, [2n]);
    expect(problems).toEqual([
      expect.stringMatching(/^0000000000000001\.seg at \d+: group \d+ is not intact$/),
    ]);
  });
});

describe('a summary of a log', () => {
  async function summarized(
    payloads: readonly Buffer[],
    request: { readonly from: bigint | undefined; readonly limit: number },
  ): ReturnType<typeof summarizeLog> {
    const log = await openLog(join(temporaryDirectory(), 'log'), 1);
    try {
      await append(log.engine(0), payloads);
      if (payloads.length > 3) await log.engine(0).truncate(1n);
      return await summarizeLog(log.engine(0), request);
    } finally {
      await log.close();
    }
  }

  it('says what each entry is, and nothing of what is in it', async () => {
    const payloads = [
      inTheClear(data),
      inTheClear(keyLifecycle),
      sealedAt({ shardId: 0, index: 3n }),
    ];
    const summary = await summarized(payloads, { from: 1n, limit: 10 });
    expect(summary).toEqual([
      { index: '1', term: '1', payload: 'cleartext', dekId: null, kind: 'data', bytes: 18 },
      { index: '2', term: '1', payload: 'cleartext', dekId: null, kind: 'key lifecycle', bytes: 5 },
      { index: '3', term: '1', payload: 'sealed', dekId: DEK_ID, kind: null, bytes: 52 },
    ]);
    expect(JSON.stringify(summary)).not.toContain(SECRET);
  });

  it('begins at the first entry that is there, where no other is asked for', async () => {
    const indexes = (await summarized(cutOver(0), { from: undefined, limit: 2 })).map(
      ({ index }) => index,
    );
    expect(indexes).toEqual(['2', '3']);
  });

  it('begins and ends where it is asked to', async () => {
    const indexes = (await summarized(cutOver(0), { from: 3n, limit: 2 })).map(
      ({ index }) => index,
    );
    expect(indexes).toEqual(['3', '4']);
    expect(await summarized(cutOver(0), { from: 6n, limit: 2 })).toEqual([]);
    expect(await summarized(cutOver(0), { from: 2n ** 63n, limit: 2 })).toEqual([]);
    await expect(summarized(cutOver(0), { from: 1n, limit: 2 })).rejects.toMatchObject({
      code: 'RAFTSEAL_ENGINE_TRUNCATED',
    });
  });
});
