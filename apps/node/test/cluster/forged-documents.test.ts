/**
 * What nodes tell each other through etcd, changed by hand: who leads, who is a member, what the
 * cluster is. None of it decides what is in a log or what is served; at worst, somebody waits.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startNode } from '../../src/node.ts';
import {
  expectSameState,
  keyIn,
  keysIn,
  leadAll,
  startLogged,
  TIME_LIMIT_MS,
} from './cluster-steps.ts';
import { EtcdByHand } from './etcd-by-hand.ts';
import {
  clusterClient,
  configOf,
  directClient,
  etcdOfFile,
  ledBy,
  member,
  newPlace,
  SHARD_COUNT,
  until,
} from './running-cluster.ts';
import { SpawnedMember } from './spawned-member.ts';
import { flipLast, TamperedLog } from './tampered-log.ts';

const etcd = etcdOfFile();

const IDLE = '{"redis":null,"peer":null,"stands":false,"appliedIndexes":[],"durableIndexes":[]}';

describe('a document that was changed by hand', { timeout: TIME_LIMIT_MS }, () => {
  it('makes nobody a leader, and no leader serve or append what it may not', async () => {
    const place = newPlace(etcd());
    // A leader key that was put by hand has no lease: it must not outlive its leader's session.
    const leaseTtlMs = 60_000;
    const first = await member(configOf(place, 'a', { leaseTtlMs }));
    await leadAll(first);
    const second = await member(configOf(place, 'b', { leaseTtlMs }));
    const other = second.admin.status().nodeId;
    const [atFirst, atSecond] = [directClient(first), directClient(second)];
    const hand = new EtcdByHand(place);

    // The name of another node in the key of a leader: the term is what counts.
    await hand.put('leaders/1', other);
    await until(
      () => second.admin.status().cluster?.members.some(({ leads }) => leads.includes(1)) === true,
    );
    await expect(atSecond.set(keyIn(1), 'x')).rejects.toThrow(/^CLUSTERDOWN /);
    expect(await atFirst.set(keyIn(1), 'x')).toBe('OK');
    await hand.put('leaders/1', first.admin.status().nodeId);

    // A wish for a voter that is none makes the others wait for a moment, in which a key is put that
    // no node has made: the term of the leader is over, and nobody has the new one.
    await hand.put('members/nobody', '{"role":"voter"}');
    await hand.put('nodes/nobody', IDLE);
    await hand.put('preferred/2', 'nobody');
    await until(
      () =>
        first.admin.status().cluster?.members.some(({ nodeId }) => nodeId === 'nobody') === true,
    );
    await hand.replace('leaders/2', 'nobody');
    const head = await hand.entries(2);
    await until(() => !ledBy(first).includes(2));
    await expect(atFirst.set(keyIn(2), 'x')).rejects.toThrow(/^CLUSTERDOWN /);
    expect(await hand.entries(2)).toEqual(head);
    expect(await atFirst.set(keyIn(3), 'x')).toBe('OK');
    await hand.remove('leaders/2');
    await until(() => [first, second].some((node) => ledBy(node).includes(2)));

    // A wish and a report that are none.
    await hand.put('preferred/3', 'x');
    await hand.put(`nodes/${other}`, '{');
    const client = clusterClient([first]);
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
      for (const key of keysIn(shardId, 5)) expect(await client.set(key, 'later')).toBe('OK');
    }
    await until(() => first.admin.healthy && second.admin.healthy);
    await expectSameState([first.admin, second.admin]);
  });

  it('leaves members at work, and is no way into the cluster', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a'));
    await leadAll(first);
    const config = configOf(place, 'b');
    const second = await member(config);
    const { nodeId } = second.admin.status();
    const hand = new EtcdByHand(place);
    const client = clusterClient([first]);
    for (const role of ['{"role":"learner"}', '{"role":"king"}', 'x', undefined]) {
      if (role === undefined) await hand.remove(`members/${nodeId}`);
      else await hand.put(`members/${nodeId}`, role);
      for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
        expect(await client.set(keyIn(shardId), `${role}`)).toBe('OK');
      }
      await expectSameState([first.admin, second.admin]);
    }
    await hand.put(`members/${nodeId}`, '{"role":"voter"}');
    // Who is written down as a member and has another KEK can open nothing, and leads nothing.
    const stranger = { ...configOf(place, 'c'), kekUris: [newPlace(etcd()).kekUri] };
    await expect(startNode(stranger)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_MEMBER_INCAPABLE',
    });
    const identity = JSON.parse(await readFile(join(stranger.dataPath, 'raftseal.json'), 'utf8'));
    await hand.put(`members/${identity.nodeId}`, '{"role":"voter"}');
    const spawned = new SpawnedMember(stranger);
    // From the log, or from a snapshot where the log is truncated: it opens neither.
    const { code } = await spawned.said(
      ({ msg }) =>
        msg.startsWith('shard 0 halted after entry ') || msg === 'no snapshot from a node',
    );
    expect(['RAFTSEAL_APPLIER_LOAD_FAILED', 'RAFTSEAL_KEK_MISMATCH']).toContain(code);
    expect(spawned.log.some(({ msg }) => msg.startsWith('elected'))).toBe(false);
    // What it has read and cannot apply keeps it no longer than it is wanted.
    spawned.terminate();
    await spawned.ended();
    expect(await client.set(keyIn(0), 'last')).toBe('OK');
    await expectSameState([first.admin, second.admin]);
  });

  it('ends a node that is removed while it starts, and says why', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a'));
    const config = configOf(place, 'b', { role: 'learner' });
    const second = await member(config);
    const { nodeId } = second.admin.status();
    await second.stop();
    await first.stop();
    // Nobody leads: it listens, and then waits to be registered as a writer.
    const spawned = new SpawnedMember(config);
    const hand = new EtcdByHand(place);
    await until(async () => {
      const report = await hand.get(`nodes/${nodeId}`);
      return report !== undefined && JSON.parse(report.toString()).redis !== null;
    });
    await hand.put(`removed/${nodeId}`, '');
    await hand.remove(`members/${nodeId}`);
    const { code } = await spawned.said(({ level }) => level === 60);
    expect(code).toBe('RAFTSEAL_NODE_REMOVED');
    expect(await spawned.ended()).toBe(1);
    expect(spawned.errors).toEqual([expect.stringMatching(/^raftseal: RAFTSEAL_NODE_REMOVED: /)]);
  });

  const records: readonly [what: string, change: (record: object) => string, code: string][] = [
    ['nothing that is known', () => 'x', 'RAFTSEAL_NODE_CLUSTER_FORMAT'],
    [
      'another format',
      (record) => JSON.stringify({ ...record, formatVersion: 99 }),
      'RAFTSEAL_NODE_CLUSTER_FORMAT',
    ],
    [
      'another name',
      (record) => JSON.stringify({ ...record, name: '0'.repeat(32) }),
      'RAFTSEAL_NODE_FOREIGN_CLUSTER',
    ],
    [
      'another number of shards',
      (record) => JSON.stringify({ ...record, shardCount: 5 }),
      'RAFTSEAL_NODE_SHARD_COUNT',
    ],
  ];

  it('keeps nodes from starting where it is the record of the cluster, and stops none', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a'));
    const config = configOf(place, 'b');
    await (await member(config)).stop();
    const hand = new EtcdByHand(place);
    const record = await hand.get('cluster');
    if (!record) throw new Error('a cluster has a record');
    const client = clusterClient([first]);
    for (const [what, change, code] of records) {
      await hand.put('cluster', change(JSON.parse(record.toString())));
      await expect(startNode(config), what).rejects.toMatchObject({ code });
      expect(await client.set(keyIn(0), what)).toBe('OK');
    }
    await hand.remove('cluster');
    await expect(startNode(config)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_FOREIGN_CLUSTER',
    });
    // A new node does not take the members that are there for its own.
    await expect(startNode(configOf(place, 'new'))).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_CLUSTER_FORMAT',
    });
    await hand.put('cluster', record);
    await expectSameState([first.admin, (await member(config)).admin]);
  });
});

describe('the control shard, changed by hand', { timeout: TIME_LIMIT_MS }, () => {
  it('halts where it is read; the node does not seal, and the others go on', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a'));
    await leadAll(first);
    const config = configOf(place, 'b');
    await (await member(config)).stop();
    const client = clusterClient([first]);
    const hand = new EtcdByHand(place);
    const { index } = await hand.head(0);
    for (let n = 0; n < 3; n++) await client.set(keyIn(0), `${n}`);
    await new TamperedLog(hand, 0).edit(index + 2n, flipLast);
    const { log, stop } = startLogged(config);
    await until(() =>
      log.some(({ msg }) => msg.startsWith(`shard 0 halted after entry ${index + 1n}: `)),
    );
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
      expect(await client.set(keyIn(shardId), 'later')).toBe('OK');
    }
    await stop();
    expect(log.at(-1)?.msg).toBe('stopped');
  });
});
