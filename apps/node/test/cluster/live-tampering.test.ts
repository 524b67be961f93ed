/**
 * Logs that somebody changes by hand, without a key, while nodes lead and follow them. What a node
 * has applied it keeps; what it reads next is either right or halts the shard.
 */
import { TAG_CLEARTEXT } from '@raftseal/shard-group';
import { describe, expect, it } from 'vitest';
import { type Node, startNode } from '../../src/node.ts';
import { keyIn, leadAll, TIME_LIMIT_MS } from './cluster-steps.ts';
import { EtcdByHand } from './etcd-by-hand.ts';
import {
  clusterClient,
  configOf,
  directClient,
  etcdOfFile,
  ledBy,
  member,
  newPlace,
  until,
} from './running-cluster.ts';
import { haltCodes, TamperedLog, writeSlowly } from './tampered-log.ts';

const etcd = etcdOfFile();

/** What is done to the log of one shard, and what nodes say; null where the shard goes on. */
interface Tamper {
  readonly what: string;
  /** Of the last entry that is there. */
  readonly act: (log: TamperedLog, head: bigint) => Promise<void>;
  /** Another node is to lead the shard afterwards. */
  readonly isMoved?: boolean;
  readonly leader: string | null;
  readonly follower: string | null;
  /** A node that is new, and reads the log from its beginning. */
  readonly reader: string | null;
}

const CORRUPT = 'RAFTSEAL_ENGINE_CORRUPT';
const OPEN_FAILED = 'RAFTSEAL_SHARD_GROUP_OPEN_FAILED';
const CLEARTEXT = 'RAFTSEAL_SHARD_GROUP_CLEARTEXT_ABOVE_CUTOVER';
const DIVERGED = 'RAFTSEAL_SHARD_GROUP_LOG_DIVERGED';

const tampers: readonly Tamper[] = [
  {
    what: 'an entry replayed at a new index',
    act: async (log, head) => log.put(head + 1n, await log.entry(head)),
    leader: OPEN_FAILED,
    follower: OPEN_FAILED,
    reader: OPEN_FAILED,
  },
  {
    what: 'an entry in the clear above the head',
    act: async (log, head) => {
      const payload = Buffer.from([TAG_CLEARTEXT, 0x44]);
      await log.put(head + 1n, { ...(await log.entry(head)), payload });
    },
    leader: CLEARTEXT,
    follower: CLEARTEXT,
    reader: CLEARTEXT,
  },
  {
    // The leader meets it when it comes to that index.
    what: 'an entry far above the head',
    act: async (log, head) => log.put(head + 100n, await log.entry(head)),
    leader: null,
    follower: CORRUPT,
    reader: CORRUPT,
  },
  {
    what: 'an entry replaced that was applied',
    act: async (log, head) => log.put(head - 1n, await log.entry(head)),
    leader: null,
    follower: null,
    reader: OPEN_FAILED,
  },
  {
    what: 'the last entry deleted',
    act: (log, head) => log.remove(head),
    leader: null,
    follower: null,
    reader: CORRUPT,
  },
  {
    what: 'the last entry deleted, and another leader',
    act: (log, head) => log.remove(head),
    isMoved: true,
    leader: DIVERGED,
    follower: 'RAFTSEAL_SHARD_GROUP_LOG_BEHIND',
    // It cannot know that there was more.
    reader: null,
  },
  {
    what: 'the last entry replaced, and another leader',
    act: async (log, head) => log.put(head, await log.entry(head - 1n)),
    isMoved: true,
    leader: DIVERGED,
    follower: null,
    reader: OPEN_FAILED,
  },
  {
    what: 'a floor that is no number, and another leader',
    act: (log) => log.hand.put(`floors/${log.shardId}`, 'x'),
    isMoved: true,
    leader: CORRUPT,
    follower: CORRUPT,
    reader: CORRUPT,
  },
  {
    what: 'the leader key deleted',
    act: (log) => log.hand.remove(`leaders/${log.shardId}`),
    leader: null,
    follower: null,
    reader: null,
  },
  {
    what: 'nothing',
    act: () => Promise.resolve(),
    leader: null,
    follower: null,
    reader: null,
  },
];

const shardCount = tampers.length + 1;
const NO_LEADER =
  'CLUSTERDOWN RAFTSEAL_SHARD_GROUP_NOT_LEADER: no node is known to lead the shard now: try again';

const keys = tampers.map((_, at) => keyIn(at + 1, shardCount));

function expectCodes(node: Node, role: 'leader' | 'follower' | 'reader'): Promise<void> {
  const wanted = [null, ...tampers.map((tamper) => tamper[role])];
  const found = (): string => JSON.stringify(haltCodes(node));
  return expect.poll(found, { timeout: 30_000 }).toBe(JSON.stringify(wanted));
}

describe('a sealed log that is changed by hand', { timeout: TIME_LIMIT_MS }, () => {
  it('invariant 7: halts its shard where what follows is not right, and no other', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a', { shardCount }));
    await leadAll(first);
    // A member that is gone holds the log.
    await (await member(configOf(place, 'gone', { shardCount }))).stop();
    const second = await member(configOf(place, 'b', { shardCount }));
    const client = clusterClient([first, second]);
    await writeSlowly(client, { shardCount, count: 4 });
    const appliedBy = (node: Node, shardId: number) =>
      node.admin.status().shards[shardId]?.appliedIndex;
    const hand = new EtcdByHand(place);
    for (const [at, { act, isMoved }] of tampers.entries()) {
      const shardId = at + 1;
      await until(() => appliedBy(second, shardId) === appliedBy(first, shardId));
      await act(new TamperedLog(hand, shardId), (await hand.head(shardId)).index);
      if (isMoved) await first.admin.preferLeader(shardId, second.admin.status().nodeId);
    }
    const moved = tampers.flatMap(({ isMoved }, at) => (isMoved ? [at + 1] : []));
    await until(() => moved.every((shardId) => !ledBy(first).includes(shardId)));
    // What becomes of a write to a shard that halts at it is of no interest.
    await Promise.allSettled(keys.map((key) => client.set(key, 'after')));
    await expectCodes(first, 'leader');
    await expectCodes(second, 'follower');
    const reader = await member(configOf(place, 'c', { shardCount, role: 'learner' }));
    await expectCodes(reader, 'reader');

    expect(first.admin.healthy).toBe(false);
    // A client that comes now finds the shards that are well.
    const late = clusterClient([first]);
    for (const [at, { what, isMoved, leader, follower }] of tampers.entries()) {
      const key = keys[at] ?? '';
      const halted = isMoved ? follower : leader;
      if (halted === null) expect(await late.set(key, 'later'), what).toBe('OK');
      else await expect(directClient(first).get(key), what).rejects.toThrow(NO_LEADER);
    }
    // Whoever starts again finds less in the log than it has, and changes nothing.
    await second.stop();
    const message = expect.stringMatching(/^the log of shard 6 ends at \d+ /);
    await expect(startNode(configOf(place, 'b', { shardCount }))).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_LOG_BEHIND_STORE',
      message,
    });
  });
});
