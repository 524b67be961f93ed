/**
 * Backups that this node takes, and those that the cluster knows of.
 *
 * Order of one: its keys are registered in the control log, so that none of them is retired from
 * then on; then a view of every store is opened, each at or above the head that its log had when
 * the backup was asked for; then the files of the shards are written; then the key state, once the
 * registration names every key in it; last the manifest. A crash leaves a registration that nobody
 * needs, and at most files without a manifest.
 *
 * A key is in the key state before anything is sealed under it. So each key that a file needs is in
 * the one that is taken after the files, or was retired since the backup began; that ends it.
 */
import { openReplicatedKeyState, type ReplicatedKeyState } from '@raftseal/applier';
import { assert, type KeyState, RaftsealError } from '@raftseal/interface';
import type { KvSnapshot } from '@raftseal/kv';
import type { BackupStatus, BackupSummary } from '../admin/operations.ts';
import type { NodeFoundations } from '../foundations.ts';
import type { KekSet } from '../kek-set.ts';
import type { NodeShard } from '../node-shard.ts';
import { version } from '../version.ts';
import { BackupDirectory, once } from './backup-directory.ts';
import { type BackupRegistrations, KeyRegistration } from './key-registration.ts';
import {
  type BackupManifest,
  deriveManifestMacKey,
  encodeManifest,
  KEY_STATE_NAME,
  MANIFEST_BYTES_MAX,
  type ShardFile,
  shardFileName,
} from './manifest.ts';
import { neededKeys } from './needed-keys.ts';
import { registeredBackups } from './registered-backups.ts';

export interface BackupsParts {
  readonly foundations: NodeFoundations;
  readonly registrations: BackupRegistrations;
}

/** A key that is made while a backup is taken is met by a new registration, so many times. */
const ATTEMPTS_MAX = 3;
const CATCH_UP_MS = 60_000;
const CATCH_UP_POLL_MS = 10;

export class Backups {
  readonly #parts: BackupsParts;
  #underWay = false;

  constructor(parts: BackupsParts) {
    this.#parts = parts;
  }

  /** As this node has applied the control log; in the order of their time. */
  list(): readonly BackupStatus[] {
    return registeredBackups(this.#state).toSorted(
      (a, b) => Date.parse(a.createdAt) - Date.parse(b.createdAt),
    );
  }

  /**
   * Takes a backup of every shard. Whatever was acknowledged before the call is in it; what is
   * written meanwhile may be, a shard at a time.
   * @param path of a new or empty directory, on the disk of this node
   * @throws RAFTSEAL_BACKUP_*, RAFTSEAL_NODE_SHARD_HALTED; nothing is left at `path` then
   */
  async create(path: string): Promise<BackupSummary> {
    if (this.#underWay) throw underWay();
    this.#underWay = true;
    try {
      return await this.#create(path);
    } finally {
      this.#underWay = false;
    }
  }

  async #create(path: string): Promise<BackupSummary> {
    const { foundations, registrations } = this.#parts;
    const { directory: data, keys, log, shards } = foundations;
    if (this.#state.storageIndex === undefined) {
      throw notSealed('values are stored in the clear: run `raftseal encryption enable` first');
    }
    const heads = await Promise.all(shards.map((shard) => this.#headOf(shard)));
    const directory = await BackupDirectory.make(path, data.path);
    try {
      const { retired } = this.#state;
      const registration = await KeyRegistration.make(registrations, log);
      try {
        const shardFiles = await this.#writeShards(directory, heads);
        const { exported, keyState } = await this.#keyState(registration, retired);
        const keyStateFile = await directory.write(KEY_STATE_NAME, once(exported));
        const manifest = {
          backupId: registration.backupId,
          clusterId: Buffer.from(keyState.clusterId).toString('hex'),
          createdAt: new Date().toISOString(),
          nodeId: keys.nodeId,
          release: version,
          keys: neededKeys(keyState),
          keyState: keyStateFile,
          shards: shardFiles,
        };
        await directory.finish(await signed(manifest, keyState, keys.keks));
        return summaryOf(manifest, directory.path);
      } catch (error) {
        await registration.end();
        throw error;
      }
    } catch (error) {
      await directory.abandon();
      throw error;
    }
  }

  async #writeShards(
    directory: BackupDirectory,
    heads: readonly bigint[],
  ): Promise<readonly ShardFile[]> {
    const snapshots = await this.#views(heads);
    try {
      const storedBytes = snapshots.reduce((sum, snapshot) => sum + snapshot.storedBytes, 0);
      await directory.checkRoom(storedBytes + MANIFEST_BYTES_MAX);
      const files: ShardFile[] = [];
      for (const [shardId, snapshot] of snapshots.entries()) {
        const { index, timestampMs, rowCount: rows } = snapshot;
        const file = await directory.write(shardFileName(shardId), snapshot.chunks());
        files.push({ ...file, shardId, index, timestampMs, rows });
      }
      return files;
    } finally {
      release(snapshots);
    }
  }

  /** A key state all of whose keys are registered; opened once, as whoever restores it will. */
  async #keyState(
    registration: KeyRegistration,
    retiredBefore: KeyState['retired'],
  ): Promise<{ readonly exported: Buffer; readonly keyState: ReplicatedKeyState }> {
    const { lifecycle, keks } = this.#parts.foundations.keys;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const exported = await lifecycle.exportKeyState();
      assert(exported !== undefined, 'who seals values has keys');
      const keyState = await openReplicatedKeyState(exported, keks.unwrap);
      if ([...keyState.retired.keys()].some((dekId) => !retiredBefore.has(dekId))) break;
      if (registration.names(keyState)) return { exported, keyState };
      await registration.renew();
    }
    throw new RaftsealError(
      'RAFTSEAL_BACKUP_OVERTAKEN',
      'keys were rotated again and again, or retired, while a backup was taken: ask again',
    );
  }

  async #views(heads: readonly bigint[]): Promise<readonly KvSnapshot[]> {
    const snapshots: KvSnapshot[] = [];
    try {
      for (const [at, shard] of this.#parts.foundations.shards.entries()) {
        const headIndex = heads[at];
        assert(headIndex !== undefined, 'every shard has a head');
        await reached(shard, headIndex);
        await shard.kv.flush();
        const snapshot = await shard.kv.snapshot();
        snapshots.push(snapshot);
        assert(snapshot.index >= headIndex, 'what is durable holds what was agreed before');
        if (!snapshot.isSealed) throw rowsInTheClear(shard.shardId);
      }
      return snapshots;
    } catch (error) {
      release(snapshots);
      throw error;
    }
  }

  async #headOf({ shardId }: NodeShard): Promise<bigint> {
    return (await this.#parts.foundations.logs.engine(shardId).bounds()).headIndex;
  }

  get #state(): KeyState {
    return this.#parts.foundations.keys.state;
  }
}

function summaryOf(manifest: BackupManifest, path: string): BackupSummary {
  const { backupId, keyState, keys, shards } = manifest;
  const bytes = shards.reduce((sum, file) => sum + file.bytes, keyState.bytes);
  const rows = shards.reduce((sum, file) => sum + file.rows, 0);
  return { backupId, path, bytes, rows, dekIds: keys.map(({ dekId }) => dekId) };
}

/** Bytes of the manifest under the index DEK of the key state. */
async function signed(
  manifest: BackupManifest,
  { clusterId, activeDekId, keys }: ReplicatedKeyState,
  keks: KekSet,
): Promise<Buffer> {
  const dekId = activeDekId.index;
  const key = keys.get(dekId);
  assert(key !== undefined, 'a key state has its active keys');
  const dek = await keks.unwrap(key, { clusterId, dekId, purpose: 'index' });
  const macKey = deriveManifestMacKey(dek);
  dek.fill(0);
  try {
    return encodeManifest(manifest, macKey);
  } finally {
    macKey.fill(0);
  }
}

/** Waits until a shard has applied so much. */
async function reached({ shardId, group }: NodeShard, index: bigint): Promise<void> {
  const untilMs = performance.now() + CATCH_UP_MS;
  while (group.appliedIndex < index || group.state === 'restoring') {
    if (group.state === 'halted' || group.state === 'stopped') throw halted(shardId);
    if (performance.now() >= untilMs) throw behind(shardId, index, group.appliedIndex);
    await new Promise((resolve) => setTimeout(resolve, CATCH_UP_POLL_MS));
  }
  if (group.state === 'halted') throw halted(shardId);
}

function release(snapshots: readonly KvSnapshot[]): void {
  for (const snapshot of snapshots) snapshot.release();
}

function underWay(): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_BACKUP_UNDER_WAY',
    'this node is taking a backup: wait until it is finished, or ask another member',
  );
}

function notSealed(found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_BACKUP_NOT_SEALED',
    `a backup was expected to hold sealed values only; ${found}`,
  );
}

function rowsInTheClear(shardId: number): RaftsealError {
  return notSealed(
    `shard ${shardId} still has some in the clear, which are being sealed: ask again when ` +
      '`raftseal status` shows none',
  );
}

function halted(shardId: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_SHARD_HALTED',
    `shard ${shardId} of this node has halted: ask another member for the backup`,
  );
}

function behind(shardId: number, index: bigint, appliedIndex: bigint): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_BACKUP_BEHIND',
    `shard ${shardId} was expected to apply entry ${index}, the last one when the backup was asked ` +
      `for, within ${CATCH_UP_MS / 1000} s, and has applied ${appliedIndex}: ask another member`,
  );
}
