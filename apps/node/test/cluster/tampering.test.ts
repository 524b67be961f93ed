/**
 * Logs that somebody has changed by hand, who can write to etcd and has no key. Above a cutover
 * whatever was changed is refused where it is read; below it, in the clear, only accidents are.
 */
import { encodeEntry } from '@raftseal/applier';
import { KIND_DATA, KIND_KEY_LIFECYCLE, TAG_CLEARTEXT, TAG_SEALED } from '@raftseal/shard-group';
import { describe, expect, it } from 'vitest';
import { type LogLine, leadAll, loggedMember, TIME_LIMIT_MS } from './cluster-steps.ts';
import { EtcdByHand } from './etcd-by-hand.ts';
import { clusterClient, configOf, etcdOfFile, member, newPlace, until } from './running-cluster.ts';
import { flipLast, haltCodes, TamperedLog, writeSlowly } from './tampered-log.ts';

const etcd = etcdOfFile();

/** What is done to the log of one shard, and what a node says that reads it afterwards. */
interface Tamper {
  readonly what: string;
  readonly act: (log: TamperedLog) => Promise<void>;
  /** Null: the shard goes on. */
  readonly code: string | null;
  /** The entry that is named. */
  readonly at?: bigint;
}

const CORRUPT = 'RAFTSEAL_ENGINE_CORRUPT';
const OPEN_FAILED = 'RAFTSEAL_SHARD_GROUP_OPEN_FAILED';
const MALFORMED = 'RAFTSEAL_SHARD_GROUP_MALFORMED_ENTRY';

async function swapped(log: TamperedLog): Promise<void> {
  const [one, other] = [await log.entry(3n), await log.entry(4n)];
  await log.put(3n, other);
  await log.put(4n, one);
}

/** Entry 1 of each shard is its marker. */
const sealedTampers: readonly Tamper[] = [
  {
    what: 'a byte edited',
    act: async (log) => {
      const bytes = await log.bytes(3n);
      flipLast(bytes);
      await log.putBytes(3n, bytes);
    },
    code: CORRUPT,
    at: 3n,
  },
  {
    what: 'a byte edited, and the checksum with it',
    act: (log) => log.edit(3n, flipLast),
    code: OPEN_FAILED,
    at: 3n,
  },
  {
    what: 'two entries swapped',
    act: async (log) => {
      const [one, other] = [await log.bytes(3n), await log.bytes(4n)];
      await log.putBytes(3n, other);
      await log.putBytes(4n, one);
    },
    code: CORRUPT,
    at: 3n,
  },
  { what: 'two entries swapped, and their checksums', act: swapped, code: OPEN_FAILED, at: 3n },
  {
    what: 'an earlier entry replayed in place of a later one',
    act: async (log) => log.put(5n, await log.entry(2n)),
    code: OPEN_FAILED,
    at: 5n,
  },
  {
    what: 'an entry moved in from another shard, at the same index',
    act: async (log) => log.put(6n, await log.hand.entry(1, 6n)),
    code: OPEN_FAILED,
    at: 6n,
  },
  {
    what: 'an entry deleted in the middle',
    act: (log) => log.remove(4n),
    code: CORRUPT,
    at: 4n,
  },
  {
    what: 'an entry in the clear in place of a sealed one',
    act: (log) => log.edit(3n, (payload) => payload.writeUInt8(TAG_CLEARTEXT)),
    code: 'RAFTSEAL_SHARD_GROUP_CLEARTEXT_ABOVE_CUTOVER',
    at: 3n,
  },
  {
    what: 'a sealed entry in place of the marker',
    act: async (log) => log.put(1n, await log.entry(2n)),
    code: 'RAFTSEAL_SHARD_GROUP_SEALED_BELOW_CUTOVER',
    at: 1n,
  },
  {
    what: 'an unknown payload tag',
    act: (log) => log.edit(3n, (payload) => payload.writeUInt8(0x58)),
    code: MALFORMED,
    at: 3n,
  },
  {
    what: 'an envelope cut off',
    act: async (log) => {
      const { term, payload } = await log.entry(3n);
      await log.put(3n, { term, payload: payload.subarray(0, 20) });
    },
    code: OPEN_FAILED,
    at: 3n,
  },
  {
    what: 'a value that is no entry',
    act: (log) => log.putBytes(3n, Buffer.from('x')),
    code: CORRUPT,
    at: 3n,
  },
  {
    what: 'a name that is no index',
    act: (log) => log.hand.put(`logs/${log.shardId}/zzz`, 'x'),
    code: CORRUPT,
  },
  {
    // Terms are not sealed: they decide who may append, and nothing of what an entry means.
    what: 'another term, with its checksum',
    act: async (log) => log.put(3n, { ...(await log.entry(3n)), term: 1n }),
    code: null,
  },
  {
    what: 'entries deleted at the front, and the floor moved over them',
    act: async (log) => {
      for (const index of [1n, 2n]) await log.remove(index);
      await log.hand.put(`floors/${log.shardId}`, '2');
    },
    // As after a truncation: what is missing comes from another node.
    code: null,
  },
];

/** Of what is in the clear, whatever has the form that it should have is taken for what it says. */
const clearTampers: readonly Tamper[] = [
  {
    what: 'a byte edited',
    act: async (log) => {
      const bytes = await log.bytes(3n);
      flipLast(bytes);
      await log.putBytes(3n, bytes);
    },
    code: CORRUPT,
    at: 3n,
  },
  {
    what: 'a byte of a value edited, and the checksum with it',
    act: (log) => log.edit(3n, flipLast),
    code: null,
  },
  { what: 'two entries swapped, and their checksums', act: swapped, code: null },
  {
    what: 'an entry deleted in the middle',
    act: (log) => log.remove(4n),
    code: CORRUPT,
    at: 4n,
  },
  {
    what: 'a sealed entry',
    act: (log) => log.edit(3n, (payload) => payload.writeUInt8(TAG_SEALED)),
    code: 'RAFTSEAL_SHARD_GROUP_SEALED_BELOW_CUTOVER',
    at: 3n,
  },
  {
    what: 'a body cut off',
    act: async (log) => {
      const { term, payload } = await log.entry(3n);
      await log.put(3n, { term, payload: payload.subarray(0, -1) });
    },
    code: MALFORMED,
    at: 3n,
  },
  {
    what: 'a body that holds no command',
    act: async (log) => {
      const payload = Buffer.alloc(21);
      payload.writeUInt8(TAG_CLEARTEXT);
      payload.writeUInt8(KIND_DATA, 1);
      payload.writeUInt32BE(1, 10);
      payload.writeUInt32BE(3, 14);
      await log.put(3n, { ...(await log.entry(3n)), payload });
    },
    code: 'RAFTSEAL_KV_COMMAND_MALFORMED',
    at: 3n,
  },
  {
    what: 'a key-lifecycle entry that is none',
    act: async (log) => {
      const payload = Buffer.from([TAG_CLEARTEXT, KIND_KEY_LIFECYCLE, 0x93, 0x01, 0x02]);
      await log.put(3n, { ...(await log.entry(3n)), payload });
    },
    code: 'RAFTSEAL_APPLIER_ENTRY_MALFORMED',
    at: 3n,
  },
  {
    what: 'a key-lifecycle entry of the control shard',
    act: async (log) => {
      const body = encodeEntry({ kind: 'enable-storage', dekId: 7 });
      const payload = Buffer.concat([Buffer.from([TAG_CLEARTEXT, KIND_KEY_LIFECYCLE]), body]);
      await log.put(3n, { ...(await log.entry(3n)), payload });
    },
    code: 'RAFTSEAL_APPLIER_WRONG_SHARD',
    at: 3n,
  },
];

/** The log of a node names each shard and entry, and no shard that was left alone. */
function expectHalts(tampers: readonly Tamper[], log: readonly LogLine[]): void {
  for (const [place, { what, code, at = 1n }] of tampers.entries()) {
    const shardId = place + 1;
    const halts = log.filter((line) => line.msg.startsWith(`shard ${shardId} halted `));
    const begin = `shard ${shardId} halted after entry ${at - 1n}: `;
    const wanted = {
      code,
      shardId,
      msg: expect.stringMatching(new RegExp(`^${begin}.*; the others go on$`)),
    };
    expect(halts, what).toEqual(code === null ? [] : [expect.objectContaining(wanted)]);
  }
}

describe('a sealed log that was changed by hand', { timeout: TIME_LIMIT_MS }, () => {
  it('invariant 7: halts its shard where it is read, and no other', async () => {
    const place = newPlace(etcd());
    const shardCount = sealedTampers.length + 1;
    const first = await member(configOf(place, 'a', { shardCount }));
    await leadAll(first);
    // A member that is gone holds the log.
    await (await member(configOf(place, 'b', { shardCount }))).stop();
    const client = clusterClient([first]);
    await writeSlowly(client, { shardCount, count: 6 });
    const hand = new EtcdByHand(place);
    for (const [at, { act }] of sealedTampers.entries()) await act(new TamperedLog(hand, at + 1));
    const { node, log } = await loggedMember(configOf(place, 'c', { shardCount, role: 'learner' }));
    expect(haltCodes(node)).toEqual([null, ...sealedTampers.map(({ code }) => code)]);
    expectHalts(sealedTampers, log);
    expect(node.admin.healthy).toBe(false);
    // Who had applied it before goes on, and so does what was left alone.
    await writeSlowly(client, { shardCount, count: 2 });
    expect(haltCodes(first).every((code) => code === null)).toBe(true);
    await until(
      () =>
        node.admin.status().shards[0]?.appliedIndex ===
        first.admin.status().shards[0]?.appliedIndex,
    );
    const [theirs, own] = [await first.admin.digest(), await node.admin.digest()];
    for (const [at, { what, code }] of sealedTampers.entries()) {
      if (code === null) expect(own[at + 1]?.digest, what).toBe(theirs[at + 1]?.digest);
    }
  });
});

describe('a log in the clear that was changed by hand', { timeout: TIME_LIMIT_MS }, () => {
  it('halts its shard where it has not the form of a log, and the others can be sealed', async () => {
    const place = newPlace(etcd());
    const shardCount = clearTampers.length + 1;
    const config = { shardCount, encryption: 'off' } as const;
    const first = await member(configOf(place, 'a', config));
    await leadAll(first);
    await (await member(configOf(place, 'b', config))).stop();
    const client = clusterClient([first]);
    await writeSlowly(client, { shardCount, count: 6 });
    const hand = new EtcdByHand(place);
    for (const [at, { act }] of clearTampers.entries()) await act(new TamperedLog(hand, at + 1));
    const codes = [null, ...clearTampers.map(({ code }) => code)];
    const { node, log } = await loggedMember(configOf(place, 'b', config));
    expect(haltCodes(node)).toEqual(codes);
    expectHalts(clearTampers, log);
    await first.admin.enableEncryption();
    await until(() => first.admin.status().encryption === 'sealed');
    await writeSlowly(client, { shardCount, count: 2 });
    const goOn = node.admin.status().shards.filter(({ shardId }) => codes[shardId] === null);
    await until(() =>
      goOn.every(({ shardId }) => node.admin.status().shards[shardId]?.log === 'sealed'),
    );
    expect(haltCodes(node)).toEqual(codes);
    expect(haltCodes(first).every((code) => code === null)).toBe(true);
  });
});
