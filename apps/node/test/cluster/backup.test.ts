/** Backups of a cluster: taken by any member, whoever leads, and restored as another cluster. */
import { codeOf } from '@raftseal/interface';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { RestorePlace } from '../../src/backup/restore-place.ts';
import { PeerService } from '../../src/cluster/peer-service.ts';
import { startNode } from '../../src/node.ts';
import { contentOf, newPath, refusal, restore, verify } from '../backup/backup-steps.ts';
import { keyIn, startLogged, TIME_LIMIT_MS } from './cluster-steps.ts';
import {
  clusterClient,
  configOf,
  etcdOfFile,
  ledBy,
  member,
  newPlace,
  SHARD_COUNT,
  until,
} from './running-cluster.ts';
import { SpawnedMember } from './spawned-member.ts';

const KEYS = 300;

const etcd = etcdOfFile();

describe('a backup of a cluster', { timeout: TIME_LIMIT_MS }, () => {
  it('is taken by a follower while the leaders are killed, and restored under another prefix', async () => {
    const place = newPlace(etcd());
    const config = configOf(place, 'a');
    const node = await member(config);
    const leader = await SpawnedMember.start(configOf(place, 'b'));
    const other = await member(configOf(place, 'c'));
    const { nodeId } = await leader.status();
    const { members } = node.admin.status().cluster ?? { members: [] };
    expect(members.map((each) => each.nodeId)).toContain(nodeId);
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
      await node.admin.preferLeader(shardId, nodeId);
    }
    await until(() => ledBy(node).length === 0 && ledBy(other).length === 0);
    const client = clusterClient([node, other]);
    for (let n = 0; n < KEYS; n++) await client.set(`key:${n}`, `value:${n}`);
    const path = newPath();
    const creating = node.admin.createBackup(path);
    await leader.kill();
    const { rows, backupId } = await creating;
    expect(rows).toBe(KEYS);
    expect(await verify(path, config)).toMatchObject({ restorable: true, rows });
    await until(() => other.admin.backups().some((each) => each.backupId === backupId));

    const target = newPlace(etcd());
    const to = configOf(target, 'd', { shardCount: 3 });
    const taken = configOf(place, 'd');
    expect(await refusal(restore(path, { from: config, to: taken }))).toBe(
      'RAFTSEAL_BACKUP_RESTORE_TARGET',
    );
    expect(await restore(path, { from: config, to })).toMatchObject({ rows });
    const twin = await member(to);
    const second = await member(configOf(target, 'e', { shardCount: undefined }));
    expect(twin.admin.status().clusterId).not.toBe(node.admin.status().clusterId);
    expect(await clusterClient([twin, second]).get('key:7')).toBe('value:7');
    expect(await contentOf(twin)).toBe(await contentOf(node));
    expect(twin.shards).toHaveLength(3);
  });

  it('is taken by a learner, and begun again under the same prefix where its restore was ended', async () => {
    const place = newPlace(etcd());
    const config = configOf(place, 'a', { shardCount: 2 });
    const node = await member(config);
    const learner = await member(configOf(place, 'l', { shardCount: 2, role: 'learner' }));
    await clusterClient([node]).set(keyIn(0, 2), 'v');
    const path = newPath();
    await learner.admin.createBackup(path);
    const target = newPlace(etcd());
    const to = configOf(target, 'b', { shardCount: 2 });
    const ended = await RestorePlace.open(to.dataPath);
    const { kekUris } = to;
    await ended.begin({ backupId: 'any', etcdPrefix: target.prefix, kekUris, shardCount: 2 });
    const half = await startNode({ ...to, dataPath: ended.newPath }, { isRestoring: true });
    // Would lead and serve what is there of it, if it were admitted.
    const joins = vi.spyOn(PeerService.prototype, 'join');
    onTestFinished(() => joins.mockRestore());
    const early = startLogged(configOf(target, 'c', { shardCount: 2 }));
    await until(() => joins.mock.results.length > 0);
    const refused = { type: 'throw', value: { code: 'RAFTSEAL_NODE_NOT_READY' } };
    expect(joins.mock.results).toMatchObject(joins.mock.results.map(() => refused));
    await half.stop();
    await early.stop();
    const served = await startNode({ ...to, dataPath: ended.newPath }).then(
      () => 'it served',
      codeOf,
    );
    expect(served).toBe('RAFTSEAL_BACKUP_RESTORE_UNFINISHED');
    await ended.close();
    expect(await restore(path, { from: config, to })).toMatchObject({ rows: 1 });
    const twin = await member(to);
    expect(await contentOf(twin)).toBe(await contentOf(node));
  });
});
