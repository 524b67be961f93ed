/**
 * Restores a backup as a new cluster: new identity, new keys, nonce epochs from 1. A node of its own
 * process leads all shards and takes every row as a write (row-import.ts); nothing of the backup's
 * keys or envelopes goes into it.
 *
 * The backup is verified as a whole before anything is made, and what was imported is compared with
 * it as a whole before it takes the place of anything (restore-place.ts).
 */
import { dirname } from 'node:path';
import { RaftsealError } from '@raftseal/interface';
import { ContentDigest } from '@raftseal/kv';
import {
  clearEtcdPrefix,
  type EtcdAccess,
  isEtcdPrefixEmpty,
  readEtcdDocuments,
} from '@raftseal/raft-engine-etcd';
import type { Logger } from 'pino';
import { MEMBERS } from '../cluster/cluster-record.ts';
import { readEtcdAccess } from '../cluster/etcd-access.ts';
import { CACHE_BYTES_DEFAULT, type ClusterConfig, type NodeConfig } from '../config.ts';
import { readIdentity } from '../data-directory.ts';
import { KekSet } from '../kek-set.ts';
import { type Node, startNode } from '../node.ts';
import { checkRoom } from './backup-directory.ts';
import { backupInvalid } from './manifest.ts';
import { OpenedBackup } from './opened-backup.ts';
import { isSameMark, type RestoreMark, RestorePlace } from './restore-place.ts';
import { RowImport } from './row-import.ts';
import { type BackupVerification, verifyBackup } from './verification.ts';

export interface RestoreRequest {
  readonly backupPath: string;
  readonly dataPath: string;
  /** Of the new cluster. */
  readonly kekUris: readonly string[];
  /** What the keys of the backup are wrapped under. */
  readonly backupKekUris: readonly string[];
  /** Undefined: as many as the backup is of. */
  readonly shardCount: number | undefined;
  /** Whether a data directory that is there is renamed aside. */
  readonly replace: boolean;
  /** Undefined: the logs are on this machine's disk. */
  readonly cluster: ClusterConfig | undefined;
}

export interface RestoreSummary {
  readonly backupId: string;
  /** Rows that were taken; those that had expired were left out. */
  readonly rows: number;
  readonly expired: number;
  readonly importMs: number;
  /** Where the data directory is that was there before. */
  readonly keptPath: string | undefined;
}

const LEADING_MS = 60_000;
const LEADING_POLL_MS = 20;

/**
 * Idempotent: what an earlier call was ended in is gone on with, or begun again.
 * @throws RAFTSEAL_BACKUP_*, RAFTSEAL_NODE_DATA_DIR_LOCKED, RAFTSEAL_KEK_*, and what keeps a node
 *   from starting; the data directory is as it was then
 */
export async function restoreBackup(request: RestoreRequest, log: Logger): Promise<RestoreSummary> {
  const keks = await KekSet.open(request.backupKekUris);
  try {
    const backup = await OpenedBackup.open(request.backupPath, keks);
    const place = await RestorePlace.open(request.dataPath);
    try {
      return await restore({ request, backup, keks, place, log });
    } finally {
      await place.close();
    }
  } finally {
    await keks.close();
  }
}

interface Restore {
  readonly request: RestoreRequest;
  readonly backup: OpenedBackup;
  readonly keks: KekSet;
  readonly place: RestorePlace;
  readonly log: Logger;
}

type Imported = Pick<RestoreSummary, 'rows' | 'expired' | 'importMs'>;

async function restore(parts: Restore): Promise<RestoreSummary> {
  const { request, backup, place } = parts;
  const { backupId } = backup.manifest;
  const mark = {
    backupId,
    etcdPrefix: request.cluster?.etcd.prefix ?? null,
    kekUris: request.kekUris,
    shardCount: request.shardCount ?? backup.manifest.shards.length,
  };
  const isComplete = isSameMark(await place.completed(), mark);
  const hasTakenPlace = isComplete && (await place.hasTakenPlace());
  if (!hasTakenPlace) await place.checkTarget(request.replace);
  let imported: Imported = { rows: backup.rowCount, expired: 0, importMs: 0 };
  if (!isComplete) {
    imported = await importAll(parts, mark);
    await place.complete(mark);
  }
  let keptPath: string | undefined;
  if (!hasTakenPlace) {
    keptPath = await place.setAside();
    await place.takePlace();
  }
  await place.clear();
  return { backupId, ...imported, keptPath };
}

async function importAll(parts: Restore, mark: RestoreMark): Promise<Imported> {
  const { request, backup, keks, place, log } = parts;
  const verification = await verifyBackup(backup.path, keks);
  const [problem] = verification.problems;
  if (problem !== undefined)
    throw backupInvalid(`it has ${verification.problems.length} problems, the first: ${problem}`);
  await checkRoom(dirname(place.dataPath), backup.bytes);
  if (request.cluster) await freePrefix(request.cluster, place);
  await place.begin(mark);
  const node = await startNode(nodeConfig(request, mark, place), { log, isRestoring: true });
  try {
    await leading(node);
    checkEmpty(node);
    const imported = await importRows(node, backup);
    await checkSame(node, backup, verification);
    return imported;
  } finally {
    await node.stop();
  }
}

/** Never served: neither to clients nor to admin calls. */
function nodeConfig(
  { cluster }: RestoreRequest,
  { kekUris, shardCount }: RestoreMark,
  { newPath }: RestorePlace,
): NodeConfig {
  const nowhere = { host: '127.0.0.1', port: 0 };
  return {
    dataPath: newPath,
    shardCount,
    encryption: 'on',
    kekUris,
    redis: { ...nowhere, password: undefined },
    admin: { ...nowhere, tokenPath: undefined },
    cacheBytesMax: CACHE_BYTES_DEFAULT,
    ...(cluster && { cluster: { ...cluster, role: 'voter' } }),
  };
}

/**
 * A restore goes under a prefix that nothing stands under. What an earlier attempt has left there
 * is removed, as long as no other node has become a member of it.
 */
async function freePrefix({ etcd }: ClusterConfig, place: RestorePlace): Promise<void> {
  const access = await readEtcdAccess(etcd);
  if (await isEtcdPrefixEmpty(access, etcd.prefix)) return;
  const begun = await place.begun();
  const isOwn =
    begun?.etcdPrefix === etcd.prefix && (await hasNoOtherMember(access, etcd.prefix, place));
  if (!isOwn) {
    throw new RaftsealError(
      'RAFTSEAL_BACKUP_RESTORE_TARGET',
      `expected nothing under ${etcd.prefix} in etcd, and found something: give a new --etcd-prefix, ` +
        'or remove what stands there if nobody needs it; nothing was changed',
    );
  }
  await clearEtcdPrefix(access, etcd.prefix);
}

async function hasNoOtherMember(
  access: EtcdAccess,
  prefix: string,
  { newPath }: RestorePlace,
): Promise<boolean> {
  const own = (await readIdentity(newPath))?.nodeId;
  const members = await readEtcdDocuments(access, prefix, MEMBERS);
  return members.every(({ name }) => name === `${MEMBERS}${own}`);
}

async function leading({ shards }: Node): Promise<void> {
  const untilMs = performance.now() + LEADING_MS;
  while (!shards.every(({ isServing }) => isServing)) {
    if (performance.now() >= untilMs || shards.some(({ isHalted }) => isHalted)) {
      throw new RaftsealError(
        'RAFTSEAL_NODE_NOT_READY',
        `the node that restores was expected to lead every shard within ${LEADING_MS / 1000} s, and ` +
          'does not: look at its log, then restore again',
      );
    }
    await new Promise((resolve) => setTimeout(resolve, LEADING_POLL_MS));
  }
}

/** Whatever was looked at before: rows go into nothing but a new and empty cluster. */
function checkEmpty({ shards, admin }: Node): void {
  const members = admin.status().cluster?.members.length ?? 1;
  const keys = shards.reduce((sum, shard) => sum + shard.size(), 0);
  if (members === 1 && keys === 0) return;
  throw new RaftsealError(
    'RAFTSEAL_BACKUP_RESTORE_TARGET',
    `expected a new cluster of this node alone, and found ${members} members and ${keys} keys: ` +
      'give another --etcd-prefix, and start other nodes once the restore has ended',
  );
}

async function importRows({ shards }: Node, backup: OpenedBackup): Promise<Imported> {
  const startedMs = performance.now();
  const rowImport = new RowImport(shards);
  let [taken, expired] = [0, 0];
  for (const shard of backup.manifest.shards) {
    for await (const rows of backup.rows(shard)) {
      for (const { record } of rows) {
        if (record.expireAtMs !== 0 && record.expireAtMs <= Date.now()) {
          expired++;
          continue;
        }
        await rowImport.add(record);
        taken++;
      }
    }
  }
  await rowImport.finish();
  return { rows: taken, expired, importMs: performance.now() - startedMs };
}

/** What is there after now has to be the same here and there. */
async function checkSame(
  { shards }: Node,
  backup: OpenedBackup,
  { firstExpiryMs, contentDigest }: BackupVerification,
): Promise<void> {
  await Promise.all(shards.map(({ kv }) => kv.flush()));
  const nowMs = Math.max(Date.now(), ...shards.map(({ kv }) => kv.durableTimestampMs));
  const found = new ContentDigest(nowMs);
  for (const { kv } of shards) found.merge(await kv.contentDigest(nowMs));
  const isUnchanged = firstExpiryMs === null || firstExpiryMs > nowMs;
  const expected = isUnchanged ? contentDigest : (await backup.contentDigest(nowMs)).result();
  if (found.result() === expected) return;
  throw new RaftsealError(
    'RAFTSEAL_BACKUP_RESTORE_DIFFERS',
    `what was restored was expected to be what backup ${backup.manifest.backupId} holds, and is ` +
      'not: restore again, and keep the log of this run; nothing has taken the place of the data ' +
      'directory',
  );
}
