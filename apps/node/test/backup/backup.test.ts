/** Backups of a node that is alone: taken, kept count of, verified, restored. */
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { BackupSummary } from '../../src/admin/operations.ts';
import { BackupDirectory } from '../../src/backup/backup-directory.ts';
import { KEY_STATE_NAME, MANIFEST_NAME, shardFileName } from '../../src/backup/manifest.ts';
import { restoringPath } from '../../src/data-directory.ts';
import { KeyOperations } from '../../src/key-operations.ts';
import { adminCall, clientOf, newConfig, running } from '../running-node.ts';
import { fillDisk, smallDisk } from '../small-disk.ts';
import { octal } from '../temporary-directory.ts';
import { contentOf, newPath, refusal, restore, verify } from './backup-steps.ts';

const KEYS = 400;
const LARGE_BYTES = 700_000;
const HOUR_MS = 3_600_000;
const SHORT_MS = 300;
const DISK_BYTES = 16 * 1024 * 1024;
const MANIFEST_ASIDE = `${MANIFEST_NAME}.tmp`;

async function fill(client: Redis, value: string): Promise<void> {
  const pipeline = client.pipeline();
  for (let n = 0; n < KEYS; n++) pipeline.set(`key:${n}`, `${value}:${n}`);
  await pipeline.exec();
}

/** Of each kind, and at the edges of what a row can be. */
async function fillKinds(client: Redis, nowMs: number): Promise<void> {
  await client.set('large', 'x'.repeat(LARGE_BYTES));
  await client.set('large-expiring', 'y'.repeat(LARGE_BYTES), 'PXAT', nowMs + HOUR_MS);
  await client.set('', 'an empty key', 'PXAT', nowMs + HOUR_MS);
  await client.set(Buffer.from([0, 255, 10, 13]), Buffer.from([255, 0, 1]));
  await client.set('empty', '');
  await client.hset('hash', 'z', '1', 'a', '2', '', '3');
  await client.hset('expiring-hash', 'f', 'v');
  await client.pexpireat('expiring-hash', nowMs + HOUR_MS);
  const fields = Array.from({ length: 400 }, (_, n) => [`f${n}`, 'v'.repeat(1_000)]);
  await client.hset('large-hash', ...fields.flat());
}

describe('a backup of a node that is alone', () => {
  it('invariant 3, HAZARD: is restored with nothing but its KEK, under new keys, with all that was acknowledged before it', async () => {
    const config = newConfig();
    const node = await running(config);
    const client = clientOf(node);
    await fill(client, 'before');
    const nowMs = Date.now();
    await fillKinds(client, nowMs);
    await node.admin.rotate('storage');
    await node.admin.rotate('index');
    await client.set('short', 'gone before it is restored', 'PX', SHORT_MS);
    let isWriting = true;
    let written = 0;
    const load = (async () => {
      for (; isWriting; written++) await client.set(`during:${written}`, 'x'.repeat(100));
    })();
    const path = newPath();
    const { backupId, rows, dekIds } = await node.admin.createBackup(path);
    isWriting = false;
    await load;
    expect(written).toBeGreaterThan(0);
    const names = [KEY_STATE_NAME, MANIFEST_NAME, ...[0, 1, 2].map(shardFileName)];
    expect((await readdir(path)).toSorted()).toEqual(names);
    expect(octal((await stat(path)).mode)).toBe('700');
    for (const name of names) expect(octal((await stat(join(path, name))).mode)).toBe('600');

    const found = await verify(path, config);
    expect(found).toMatchObject({ backupId, restorable: true, problems: [], rows });
    expect(found.kekUris).toEqual(config.kekUris);
    expect(found.keys.map(({ dekId }) => dekId)).toEqual(dekIds);
    expect(found.shards.map(({ shardId }) => shardId)).toEqual([0, 1, 2]);
    expect(await refusal(verify(path, newConfig()))).toBe('RAFTSEAL_KEK_MISMATCH');

    while (Date.now() <= nowMs + 2 * SHORT_MS) await new Promise((go) => setTimeout(go, 20));
    const other = newConfig({ shardCount: 2 });
    const restored = await restore(path, { from: config, to: other });
    expect(restored).toMatchObject({ rows: rows - 1, expired: 1, keptPath: undefined });
    const twin = await running(other);
    const reader = clientOf(twin);
    const keys = Array.from({ length: KEYS }, (_, n) => `key:${n}`);
    const values = await Promise.all(keys.map((key) => reader.get(key)));
    expect(values).toEqual(keys.map((_, n) => `before:${n}`));
    expect(await reader.get('large')).toBe('x'.repeat(LARGE_BYTES));
    expect(await reader.getBuffer(Buffer.from([0, 255, 10, 13]))).toEqual(Buffer.from([255, 0, 1]));
    expect(await reader.hkeys('hash')).toEqual(['z', 'a', '']);
    expect(await reader.hlen('large-hash')).toBe(400);
    for (const key of ['large-expiring', '', 'expiring-hash']) {
      expect(await reader.pexpiretime(key)).toBe(nowMs + HOUR_MS);
    }
    expect(await reader.exists('short')).toBe(0);
    const before = node.admin.status();
    const after = twin.admin.status();
    expect(after.nodeId).not.toBe(before.nodeId);
    expect(after.clusterId).not.toBe(before.clusterId);
    const known = new Set(before.keys.map(({ dekId }) => dekId));
    expect(after.keys.filter(({ dekId }) => known.has(dekId))).toEqual([]);
    const during = Array.from({ length: written }, (_, n) => `during:${n}`);
    for (const each of [client, reader]) for (const key of during) await each.del(key);
    expect(await contentOf(twin)).toBe(await contentOf(node));
  });

  it('is refused while values are in the clear', async () => {
    const clear = await running(newConfig({ encryption: 'off', kekUris: [] }));
    const path = newPath();
    expect(await refusal(clear.admin.createBackup(path))).toBe('RAFTSEAL_BACKUP_NOT_SEALED');
    expect(await readdir(join(path, '..'))).toEqual([]);
  });

  it('is refused where its place is taken, and while another is taken', async () => {
    const config = newConfig();
    const node = await running(config);
    const path = newPath();
    await mkdir(path);
    await writeFile(join(path, 'something'), '');
    const refusals = [path, join(config.dataPath, 'backup'), join(path, 'something', 'below')];
    for (const each of refusals) {
      expect(await refusal(node.admin.createBackup(each))).toBe('RAFTSEAL_BACKUP_DIRECTORY');
    }
    expect(await readdir(path)).toEqual(['something']);
    expect(node.admin.backups()).toEqual([]);
    const attempts = [newPath(), newPath()].map((each) => refusal(node.admin.createBackup(each)));
    expect(await Promise.all(attempts)).toEqual(['done', 'RAFTSEAL_BACKUP_UNDER_WAY']);
  });

  it('leaves nothing on a disk that is full, whenever that is, and the node goes on', async () => {
    const config = newConfig();
    const node = await running(config);
    const client = clientOf(node);
    await fill(client, 'x'.repeat(1_000));
    const tooSmall = smallDisk(64 * 1024);
    expect(await refusal(node.admin.createBackup(join(tooSmall, 'backup')))).toBe(
      'RAFTSEAL_BACKUP_NO_SPACE',
    );
    expect(await readdir(tooSmall)).toEqual([]);

    const disk = smallDisk(DISK_BYTES);
    const path = join(disk, 'backup');
    const write: BackupDirectory['write'] = Reflect.get(BackupDirectory.prototype, 'write');
    const writes = vi.spyOn(BackupDirectory.prototype, 'write');
    onTestFinished(() => writes.mockRestore());
    for (const full of [shardFileName(0), shardFileName(2), KEY_STATE_NAME, MANIFEST_ASIDE]) {
      let filler: string | undefined;
      writes.mockImplementation(function (this: BackupDirectory, name, chunks) {
        if (name === full) filler = fillDisk(disk);
        return write.call(this, name, chunks);
      });
      expect(await refusal(node.admin.createBackup(path)), full).toBe('RAFTSEAL_BACKUP_NO_SPACE');
      expect(await readdir(disk)).toEqual(['filler']);
      expect(node.admin.backups()).toEqual([]);
      expect(await client.set('key:0', full)).toBe('OK');
      await rm(filler ?? '');
    }
    writes.mockRestore();
    expect(node.admin.healthy).toBe(true);
    await node.admin.createBackup(path);
    expect(await verify(path, config)).toMatchObject({ restorable: true, rows: KEYS });
  });

  it('HAZARD: has every key that is made while it is taken', async () => {
    const config = newConfig({ shardCount: 1 });
    const node = await running(config);
    const client = clientOf(node);
    await client.set('a', '1');
    const registerBackup: KeyOperations['registerBackup'] = Reflect.get(
      KeyOperations.prototype,
      'registerBackup',
    );
    const rotations = vi.spyOn(KeyOperations.prototype, 'registerBackup');
    onTestFinished(() => rotations.mockRestore());
    const overtaken = async function (this: KeyOperations, id: string): Promise<readonly number[]> {
      const dekIds = await registerBackup.call(this, id);
      await this.rotate('storage');
      await client.set('b', '2');
      return dekIds;
    };
    rotations.mockImplementationOnce(overtaken);
    const path = newPath();
    const { backupId, dekIds } = await node.admin.createBackup(path);
    expect(dekIds).toHaveLength(3);
    expect(node.admin.backups()).toMatchObject([{ backupId, dekIds }]);
    expect(await verify(path, config)).toMatchObject({ restorable: true, rows: 2 });
    const write: BackupDirectory['write'] = Reflect.get(BackupDirectory.prototype, 'write');
    const writes = vi.spyOn(BackupDirectory.prototype, 'write');
    onTestFinished(() => writes.mockRestore());
    writes.mockImplementationOnce(async function (this: BackupDirectory, name, chunks) {
      await node.admin.rotate('storage');
      return write.call(this, name, chunks);
    });
    const other = newPath();
    const later = await node.admin.createBackup(other);
    // The snapshot was sealed as a whole under a key that is younger than its rows.
    expect(later.dekIds).toHaveLength(4);
    expect(node.admin.backups()).toMatchObject([{ backupId }, { backupId: later.backupId }]);
    expect(await verify(other, config)).toMatchObject({ restorable: true, rows: 2 });
    rotations.mockImplementation(overtaken);
    const never = newPath();
    expect(await refusal(node.admin.createBackup(never))).toBe('RAFTSEAL_BACKUP_OVERTAKEN');
    expect(await readdir(join(never, '..'))).toEqual([]);
    expect(node.admin.backups()).toHaveLength(2);
  });

  it('is kept count of until it is forgotten', async () => {
    const config = newConfig();
    const node = await running(config);
    const body = { path: newPath() };
    const created = await adminCall(node, config, ['POST', '/v1/backups/create', body]);
    const { backupId, dekIds } = JSON.parse(created.text) as BackupSummary;
    const list = async (): Promise<unknown> =>
      JSON.parse((await adminCall(node, config, ['GET', '/v1/backups'])).text);
    expect(await list()).toMatchObject({ backups: [{ backupId, dekIds }] });
    const needed = node.admin.status().keys.filter(({ purpose }) => purpose !== 'raft');
    expect(new Set(dekIds)).toEqual(new Set(needed.map(({ dekId }) => dekId)));
    await node.admin.rotate('storage');
    const dekId = needed.find(({ purpose }) => purpose === 'storage')?.dekId ?? 0;
    const blocker = { kind: 'backup', backupId };
    expect(await node.admin.retirementBlockers(dekId)).toContainEqual(blocker);
    await adminCall(node, config, ['POST', '/v1/backups/forget', { backupId }]);
    expect(await node.admin.retirementBlockers(dekId)).not.toContainEqual(blocker);
    expect(await list()).toEqual({ backups: [] });
    const again = await adminCall(node, config, ['POST', '/v1/backups/forget', { backupId }]);
    expect(JSON.parse(again.text)).toMatchObject({ code: 'RAFTSEAL_BACKUP_UNKNOWN' });
    const nowhere = await adminCall(node, config, ['POST', '/v1/backups/create', { path: 'a/b' }]);
    expect(nowhere.status).toBe(400);
  });
});

describe('a restore', () => {
  it('keeps a data directory that is there, and only where it is told to', async () => {
    const config = newConfig();
    const node = await running(config);
    await clientOf(node).set('which', 'the backup');
    const path = newPath();
    await node.admin.createBackup(path);
    const other = newConfig();
    const older = await running(other);
    await clientOf(older).set('which', 'what was there');
    const parts = { from: config, to: other };
    expect(await refusal(restore(path, parts, { replace: true }))).toBe(
      'RAFTSEAL_NODE_DATA_DIR_LOCKED',
    );
    await older.stop();
    expect(await refusal(restore(path, parts))).toBe('RAFTSEAL_BACKUP_RESTORE_TARGET');
    expect(await readdir(join(other.dataPath, '..'))).not.toContain(restoringPath('data'));
    const { keptPath = '' } = await restore(path, parts, { replace: true });
    expect(await readdir(join(other.dataPath, '..'))).not.toContain(restoringPath('data'));
    const twin = await running(other);
    expect(await clientOf(twin).get('which')).toBe('the backup');
    const kept = await running({ ...other, dataPath: keptPath });
    expect(await clientOf(kept).get('which')).toBe('what was there');
    const foreign = newConfig();
    await mkdir(foreign.dataPath);
    await writeFile(join(foreign.dataPath, 'letters'), 'dear ...');
    const attempt = restore(path, { from: config, to: foreign }, { replace: true });
    expect(await refusal(attempt)).toBe('RAFTSEAL_BACKUP_RESTORE_TARGET');
    expect(await readdir(foreign.dataPath)).toEqual(['letters']);
  });
});
