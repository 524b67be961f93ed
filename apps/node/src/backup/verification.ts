/**
 * Reads a backup from its first byte to its last and says whether it can be restored: the
 * rehearsal, offline. Every row is opened and decoded, as a restore does it.
 */
import { readdir } from 'node:fs/promises';
import { codeOf } from '@raftseal/interface';
import { ContentDigest } from '@raftseal/kv';
import type { KekSet } from '../kek-set.ts';
import { DEK_ID_OFFSET } from '../verify/log-walk.ts';
import { type BackupKey, MANIFEST_NAME, type ShardFile } from './manifest.ts';
import { OpenedBackup } from './opened-backup.ts';

export interface ShardVerification {
  readonly shardId: number;
  readonly index: string;
  readonly bytes: number;
  /** Rows by the DEK that sealed them; every one of them opened. */
  readonly sealed: Readonly<Record<number, number>>;
}

export interface BackupVerification {
  readonly backupId: string;
  readonly clusterId: string;
  readonly createdAt: string;
  readonly release: string;
  readonly keys: readonly BackupKey[];
  /** Any one of them is needed. */
  readonly kekUris: readonly string[];
  readonly shards: readonly ShardVerification[];
  readonly rows: number;
  /** When the first row expires, in ms since the Unix epoch; null where none does. */
  readonly firstExpiryMs: number | null;
  /** Of everything that is stored; 64 hex digits. */
  readonly contentDigest: string;
  /** What is wrong, one line each. */
  readonly problems: readonly string[];
  /** Nothing is. */
  readonly restorable: boolean;
}

/**
 * @throws RAFTSEAL_BACKUP_INVALID, RAFTSEAL_BACKUP_DIRECTORY, RAFTSEAL_KEK_* where manifest or keys
 *   are not right, and nothing more can be said
 */
export async function verifyBackup(path: string, keks: KekSet): Promise<BackupVerification> {
  const backup = await OpenedBackup.open(path, keks);
  const { manifest, kekUris } = backup;
  const problems = [...(await strangers(backup))];
  const walk = new BackupWalk(backup);
  for (const shard of manifest.shards) {
    await walk.shard(shard).catch((error: unknown) => {
      const code = codeOf(error);
      if (code === undefined || !(error instanceof Error)) throw error;
      problems.push(`${error.message} (${code})`);
    });
  }
  const { backupId, clusterId, createdAt, release, keys } = manifest;
  const found = { backupId, clusterId, createdAt, release, keys, kekUris, ...walk.result() };
  return { ...found, problems, restorable: problems.length === 0 };
}

class BackupWalk {
  readonly #backup: OpenedBackup;
  readonly #digest = new ContentDigest(0);
  readonly #shards: ShardVerification[] = [];
  #rows = 0;
  #firstExpiryMs: number | null = null;

  constructor(backup: OpenedBackup) {
    this.#backup = backup;
  }

  async shard(file: ShardFile): Promise<void> {
    const { shardId, index, bytes } = file;
    const sealed: Record<number, number> = {};
    for await (const rows of this.#backup.rows(file)) {
      for (const { record, row, envelope } of rows) {
        const dekId = envelope.readUInt32BE(DEK_ID_OFFSET);
        sealed[dekId] = (sealed[dekId] ?? 0) + 1;
        this.#digest.add(row);
        this.#rows++;
        const { expireAtMs } = record;
        if (expireAtMs !== 0 && expireAtMs < (this.#firstExpiryMs ?? Number.POSITIVE_INFINITY)) {
          this.#firstExpiryMs = expireAtMs;
        }
      }
    }
    this.#shards.push({ shardId, index: index.toString(), bytes, sealed });
  }

  result(): Pick<BackupVerification, 'shards' | 'rows' | 'firstExpiryMs' | 'contentDigest'> {
    return {
      shards: this.#shards,
      rows: this.#rows,
      firstExpiryMs: this.#firstExpiryMs,
      contentDigest: this.#digest.result(),
    };
  }
}

/** What lies in the directory and is not of the backup. */
async function strangers({ path, manifest }: OpenedBackup): Promise<readonly string[]> {
  const own = [manifest.keyState, ...manifest.shards].map(({ name }) => name);
  const known = new Set([MANIFEST_NAME, ...own]);
  const entries = await readdir(path, { withFileTypes: true });
  return entries
    .filter((entry) => !entry.isFile() || !known.has(entry.name))
    .map(({ name }) => `${name}: not a file of this backup`);
}
