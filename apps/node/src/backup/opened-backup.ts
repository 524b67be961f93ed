/**
 * A backup that is read: offline, with a KEK that opens its keys. Nothing is written anywhere, and
 * what is opened is in memory only as long as its caller keeps it.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { clusterKeysOf, openReplicatedKeyState, type ReplicatedKeyState } from '@raftseal/applier';
import { Keyring, StoreRowSeal } from '@raftseal/envelope';
import { assert, codeOf, RaftsealError, type RowSeal } from '@raftseal/interface';
import { ContentDigest, type OpenedSnapshotRow, openSnapshotRows } from '@raftseal/kv';
import type { KekSet } from '../kek-set.ts';
import {
  type BackupFile,
  type BackupManifest,
  backupInvalid,
  decodeManifest,
  deriveManifestMacKey,
  MANIFEST_BYTES_MAX,
  MANIFEST_NAME,
  type ShardFile,
} from './manifest.ts';

const KEY_STATE_BYTES_MAX = 16 * 1024 * 1024;

export class OpenedBackup {
  readonly path: string;
  readonly manifest: BackupManifest;
  /** Each of these KEKs opens every key that is needed. */
  readonly kekUris: readonly string[];
  readonly #seal: RowSeal;

  /**
   * Reads manifest and key state, and unwraps the keys.
   * @throws RAFTSEAL_BACKUP_INVALID, RAFTSEAL_BACKUP_DIRECTORY; RAFTSEAL_KEK_MISMATCH where it is
   *   another KEK's; RAFTSEAL_KEK_UNAVAILABLE
   */
  static async open(path: string, keks: KekSet): Promise<OpenedBackup> {
    const unverified = decodeManifest(await readWhole(path, MANIFEST_NAME, MANIFEST_BYTES_MAX));
    const { name, bytes, sha256 } = unverified.manifest.keyState;
    const keyStateBytes = await readWhole(path, name, KEY_STATE_BYTES_MAX);
    const found = createHash('sha256').update(keyStateBytes).digest('hex');
    checkFile({ name, bytes, sha256 }, { bytes: keyStateBytes.length, sha256: found });
    const keyState = await openReplicatedKeyState(keyStateBytes, keks.unwrap);
    const { clusterId } = keyState;
    const dekId = keyState.activeDekId.index;
    const indexDek = await unwrapped(keyState, dekId, keks);
    const macKey = deriveManifestMacKey(indexDek);
    const clusterKeys = clusterKeysOf(keyState, indexDek);
    indexDek.fill(0);
    const manifest = unverified.verify(macKey);
    macKey.fill(0);
    if (manifest.clusterId !== Buffer.from(clusterId).toString('hex')) {
      throw backupInvalid('its key state is of another cluster than its manifest');
    }
    const keyring = new Keyring();
    for (const key of manifest.keys) {
      if (keyState.keys.get(key.dekId)?.purpose !== key.purpose) {
        throw backupInvalid(`its key state has no ${key.purpose} DEK ${key.dekId}`);
      }
      const dek = await unwrapped(keyState, key.dekId, keks);
      keyring.add(key.dekId, key.purpose, dek);
      dek.fill(0);
    }
    const seal = new StoreRowSeal({ clusterId, keyring, clusterKeys });
    clusterKeys.wipe();
    return new OpenedBackup({ path, manifest, kekUris: commonKeks(keyState, manifest), seal });
  }

  private constructor(own: {
    readonly path: string;
    readonly manifest: BackupManifest;
    readonly kekUris: readonly string[];
    readonly seal: RowSeal;
  }) {
    this.path = own.path;
    this.manifest = own.manifest;
    this.kekUris = own.kekUris;
    this.#seal = own.seal;
  }

  get rowCount(): number {
    return this.manifest.shards.reduce((sum, { rows }) => sum + rows, 0);
  }

  get bytes(): number {
    const { keyState, shards } = this.manifest;
    return shards.reduce((sum, { bytes }) => sum + bytes, keyState.bytes);
  }

  /**
   * The rows of a shard; that they are all, and right, is known when the iteration ends.
   * @throws RAFTSEAL_BACKUP_INVALID, RAFTSEAL_BACKUP_DIRECTORY
   */
  async *rows(shard: ShardFile): AsyncGenerator<readonly OpenedSnapshotRow[], void> {
    const { shardId, index, timestampMs } = shard;
    const expected = { index, timestampMs };
    let rowCount = 0;
    try {
      const parts = { shardId, seal: this.#seal, expected };
      for await (const rows of openSnapshotRows(this.#checked(shard), parts)) {
        rowCount += rows.length;
        yield rows;
      }
    } catch (error) {
      if (codeOf(error) !== 'RAFTSEAL_KV_SNAPSHOT_INVALID') throw error;
      throw backupInvalid(`${shard.name} does not open`, error);
    }
    if (rowCount !== shard.rows) {
      throw backupInvalid(`${shard.name} has ${rowCount} rows, not ${shard.rows}`);
    }
  }

  /** Of the rows of all shards that are there after `nowMs`. @throws as `rows` */
  async contentDigest(nowMs: number): Promise<ContentDigest> {
    const digest = new ContentDigest(nowMs);
    for (const shard of this.manifest.shards) {
      for await (const rows of this.rows(shard)) for (const { row } of rows) digest.add(row);
    }
    return digest;
  }

  async *#checked(file: BackupFile): AsyncGenerator<Buffer, void> {
    const hash = createHash('sha256');
    let bytes = 0;
    try {
      const stream: AsyncIterable<Buffer> = createReadStream(join(this.path, file.name));
      for await (const chunk of stream) {
        hash.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
    } catch (error) {
      throw readFailure(this.path, file.name, error);
    }
    checkFile(file, { bytes, sha256: hash.digest('hex') });
  }
}

/** KEKs under which every needed key has a wrap. */
function commonKeks({ keys }: ReplicatedKeyState, manifest: BackupManifest): readonly string[] {
  const uris = manifest.keys.map(({ dekId }) => keys.get(dekId)?.wraps ?? []);
  const [first = []] = uris;
  return first
    .map(({ kekUri }) => kekUri)
    .filter((uri) => uris.every((wraps) => wraps.some(({ kekUri }) => kekUri === uri)));
}

async function unwrapped(
  { clusterId, keys }: ReplicatedKeyState,
  dekId: number,
  keks: KekSet,
): Promise<Uint8Array> {
  const key = keys.get(dekId);
  assert(key !== undefined, 'a key that is unwrapped is among the keys');
  return keks.unwrap(key, { clusterId, dekId, purpose: key.purpose });
}

function checkFile(expected: BackupFile, found: Pick<BackupFile, 'bytes' | 'sha256'>): void {
  const { name, bytes, sha256 } = expected;
  if (found.bytes !== bytes) {
    throw backupInvalid(`${name} has ${found.bytes} bytes, and had ${bytes}`);
  }
  if (found.sha256 !== sha256) throw backupInvalid(`${name} has another SHA-256 than it had`);
}

async function readWhole(path: string, name: string, bytesMax: number): Promise<Buffer> {
  try {
    const handle = await open(join(path, name), 'r');
    try {
      const { size } = await handle.stat();
      if (size > bytesMax) throw backupInvalid(`${name} has ${size} bytes`);
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw readFailure(path, name, error);
  }
}

function readFailure(path: string, name: string, error: unknown): RaftsealError {
  if (error instanceof RaftsealError) return error;
  const code = codeOf(error) ?? 'unexpected error';
  if (code === 'ENOENT') {
    const reason = name === MANIFEST_NAME ? ', so it was not finished, or is something else' : '';
    return backupInvalid(`${join(path, name)} is not there${reason}`, error);
  }
  return new RaftsealError(
    'RAFTSEAL_BACKUP_DIRECTORY',
    `${join(path, name)} was expected to be a file that can be read (${code}): check the disk, and ` +
      'as which user this runs',
    { cause: error },
  );
}
