/**
 * The manifest of a backup: what its files are, and which keys they need. A backup is whole where
 * its manifest is there, which is written last.
 *
 * It is a JSON object, written in one way only: two spaces of indent, fields in the order below, a
 * line end. Its last field is the MAC: HMAC-SHA-256 (RFC 2104) over all bytes before the comma in
 * front of it, under a key that HKDF-SHA-256 (RFC 5869, no salt, the label below as info) derives
 * from the index DEK that is active in the key state beside it.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { CLUSTER_ID_BYTES, codeOf, type KeyPurpose, RaftsealError } from '@raftseal/interface';
import { Fields } from '../peer/fields.ts';

export const MANIFEST_NAME = 'manifest.json';
export const KEY_STATE_NAME = 'key-state';
/** A manifest of 1,024 shards and 4,096 keys has less. */
export const MANIFEST_BYTES_MAX: number = 4 * 1024 * 1024;

const FORMAT_VERSION = 1;
const MAC_KEY_LABEL = 'raftseal backup manifest mac key v1';
const MAC_BYTES = 32;
const SHA256_BYTES = 32;
const KEYS_MAX = 4_096;
const SHARDS_MAX = 1_024;
const INDEX_DIGITS_MAX = 20;
const U32_MAX = 0xffff_ffff;
const wholeNumbers = { min: 0, max: Number.MAX_SAFE_INTEGER };

/** One file as it was written. */
export interface BackupFile {
  readonly name: string;
  readonly bytes: number;
  /** 64 hex digits. */
  readonly sha256: string;
}

export interface ShardFile extends BackupFile {
  readonly shardId: number;
  readonly index: bigint;
  readonly timestampMs: number;
  readonly rows: number;
}

/** A DEK that rows may be sealed or named under. */
export interface BackupKey {
  readonly dekId: number;
  readonly purpose: KeyPurpose;
}

export interface BackupManifest {
  readonly backupId: string;
  /** 32 hex digits. */
  readonly clusterId: string;
  readonly createdAt: string;
  readonly nodeId: string;
  /** The version of raftseal that took the backup. */
  readonly release: string;
  /** Ascending by id. */
  readonly keys: readonly BackupKey[];
  readonly keyState: BackupFile;
  /** Of shard 0, 1, ... */
  readonly shards: readonly ShardFile[];
}

export function shardFileName(shardId: number): string {
  return `shard-${shardId}.snapshot`;
}

/**
 * @param dek the index DEK, 32 bytes; stays the caller's
 * @returns 32 bytes that the caller owns and wipes
 */
export function deriveManifestMacKey(dek: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', dek, new Uint8Array(0), MAC_KEY_LABEL, MAC_BYTES));
}

export function encodeManifest(manifest: BackupManifest, macKey: Uint8Array): Buffer {
  const body = bodyOf(manifest);
  return Buffer.concat([body, tailOf(body, macKey)]);
}

/** A manifest that may still have been changed by someone else. */
export interface UnverifiedManifest {
  readonly manifest: BackupManifest;
  /** @throws RAFTSEAL_BACKUP_INVALID where the MAC is another */
  verify(macKey: Uint8Array): BackupManifest;
}

/** @throws RAFTSEAL_BACKUP_INVALID */
export function decodeManifest(bytes: Buffer): UnverifiedManifest {
  const tailBytes = tailOf(Buffer.alloc(0), new Uint8Array(MAC_BYTES)).length;
  const body = bytes.subarray(0, Math.max(0, bytes.length - tailBytes));
  const manifest = readManifest(new Fields(parsed(bytes), manifestInvalid));
  if (!bodyOf(manifest).equals(body)) throw manifestInvalid('it is not written as one is');
  return {
    manifest,
    verify(macKey) {
      const tail = bytes.subarray(body.length);
      const expected = tailOf(body, macKey);
      if (tail.length === expected.length && timingSafeEqual(tail, expected)) return manifest;
      throw manifestInvalid('its MAC is not the one under the index DEK of its key state');
    },
  };
}

export function backupInvalid(found: string, cause?: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_BACKUP_INVALID',
    `a backup was expected to be as it was taken; ${found}: use another copy of it`,
    cause === undefined ? {} : { cause },
  );
}

function manifestInvalid(found: string): RaftsealError {
  return backupInvalid(`of ${MANIFEST_NAME}: ${found}`);
}

/** All but the MAC, and what closes the object. */
function bodyOf(manifest: BackupManifest): Buffer {
  const { backupId, clusterId, createdAt, nodeId, release, keys, keyState, shards } = manifest;
  const fields = {
    format: FORMAT_VERSION,
    backupId,
    clusterId,
    createdAt,
    nodeId,
    release,
    keys: keys.map(({ dekId, purpose }) => ({ dekId, purpose })),
    keyState: fileFields(keyState),
    shards: shards.map(({ shardId, index, timestampMs, rows, ...file }) => ({
      ...fileFields(file),
      shardId,
      index: index.toString(),
      timestampMs,
      rows,
    })),
  };
  return Buffer.from(JSON.stringify(fields, null, 2).replace(/\n\}$/, ''));
}

function fileFields({ name, bytes, sha256 }: BackupFile): BackupFile {
  return { name, bytes, sha256 };
}

function tailOf(body: Buffer, macKey: Uint8Array): Buffer {
  const mac = createHmac('sha256', macKey).update(body).digest('hex');
  return Buffer.from(`,\n  "mac": "${mac}"\n}\n`);
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch (error) {
    throw backupInvalid(`${MANIFEST_NAME} is no JSON (${codeOf(error) ?? 'syntax error'})`);
  }
}

function readManifest(fields: Fields): BackupManifest {
  fields.integer('format', { min: FORMAT_VERSION, max: FORMAT_VERSION });
  return {
    backupId: fields.text('backupId'),
    clusterId: hexOf(fields, 'clusterId', CLUSTER_ID_BYTES),
    createdAt: fields.text('createdAt'),
    nodeId: fields.text('nodeId', 2_048),
    release: fields.text('release'),
    keys: fields.objects('keys', KEYS_MAX).map((key) => ({
      dekId: key.integer('dekId', { min: 1, max: U32_MAX }),
      purpose: key.oneOf('purpose', ['storage', 'raft', 'index']),
    })),
    keyState: readFile(fields.object('keyState'), KEY_STATE_NAME),
    shards: fields.objects('shards', SHARDS_MAX).map((shard, shardId) => ({
      ...readFile(shard, shardFileName(shardId)),
      shardId: shard.integer('shardId', { min: shardId, max: shardId }),
      index: indexOf(shard),
      timestampMs: shard.integer('timestampMs', wholeNumbers),
      rows: shard.integer('rows', wholeNumbers),
    })),
  };
}

function readFile(fields: Fields, name: string): BackupFile {
  return {
    name: fields.oneOf('name', [name]),
    bytes: fields.integer('bytes', wholeNumbers),
    sha256: hexOf(fields, 'sha256', SHA256_BYTES),
  };
}

function hexOf(fields: Fields, name: string, length: number): string {
  const hex = fields.hexOrNull(name, length);
  if (hex === null) throw manifestInvalid(`expected "${name}" to be ${length} bytes in hex`);
  return hex;
}

function indexOf(fields: Fields): bigint {
  const digits = fields.text('index', INDEX_DIGITS_MAX);
  if (/^\d+$/.test(digits)) return BigInt(digits);
  throw manifestInvalid('expected "index" to be a whole number');
}
