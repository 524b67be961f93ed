/**
 * What holds for every key-lifecycle entry by itself, before it is compared with any state. The
 * bounds are those of the sidecar, so that no entry can add up to a state that cannot be written.
 */
import {
  CLUSTER_ID_BYTES,
  type KeyPurpose,
  NONCE_EPOCH_MAX,
  type RegisteredBackup,
  SEALED_CLUSTER_KEYS_BYTES,
  type WrappedKey,
} from '@raftseal/interface';
import type {
  EnableRaftEntry,
  KeyLifecycleEntry,
  NewKey,
  RewrappedKey,
  RotateDekEntry,
} from './entry.ts';

/** Longest node id and KEK URI, in UTF-16 units. */
export const TEXT_LENGTH_MAX = 2048;
/** Longest wrapped DEK. */
export const WRAP_BYTES_MAX = 16_384;
export const WRAPS_MAX = 16;
/** Keys of one rewrap: an entry has room for more, and a cluster has fewer. */
export const REWRAPPED_KEYS_MAX = 4096;
export const BACKUP_KEYS_MAX = 4096;
/** Longest backup id, in UTF-16 units. */
export const BACKUP_ID_LENGTH_MAX = 128;
/** Bytes of what tells two claims of one epoch apart. */
export const CLAIM_ID_BYTES = 16;
export const BOOTSTRAP_WRITERS_MAX = 8192;
/** Shards, and so waves, of one cutover request: the slots of a cluster. */
export const SHARDS_MAX = 16_384;
export const U32_MAX = 0xffff_ffff;
export const U64_MAX = 0xffff_ffff_ffff_ffffn;

export const keyPurposes: readonly KeyPurpose[] = ['storage', 'raft', 'index'];

/** Why an entry cannot be, or undefined where it can. */
export function entryProblem(entry: KeyLifecycleEntry): string | undefined {
  switch (entry.kind) {
    case 'bootstrap':
      return (
        (entry.clusterId.length === CLUSTER_ID_BYTES ? undefined : 'clusterId is not 16 bytes') ??
        bootstrapKeysProblem(entry.keys) ??
        bootstrapWritersProblem(entry.writers)
      );
    case 'register':
      return (
        textProblem('nodeId', entry.nodeId) ??
        dekIdProblem(entry.dekId) ??
        (isInteger(entry.epoch, { min: 1, max: NONCE_EPOCH_MAX })
          ? undefined
          : `the epoch is outside 1..${NONCE_EPOCH_MAX}`) ??
        claimIdProblem(entry.claimId)
      );
    case 'rotate-dek':
      return newKeyProblem(entry) ?? clusterKeysProblem(entry);
    case 'enable-storage':
      return dekIdProblem(entry.dekId);
    case 'enable-raft':
      return dekIdProblem(entry.dekId) ?? enableRaftProblem(entry);
    case 'rewrap-deks':
      return rewrapProblem(entry.keys);
    case 'retire-dek':
      return dekIdProblem(entry.dekId);
    case 'enable-sealed-only':
      return undefined;
    case 'register-backup':
      return backupIdProblem(entry.backupId) ?? backupProblem(entry);
    case 'forget-backup':
      return backupIdProblem(entry.backupId);
  }
}

function isInteger(value: number, { min, max }: { min: number; max: number }): boolean {
  return Number.isInteger(value) && value >= min && value <= max;
}

function dekIdProblem(dekId: number): string | undefined {
  return isInteger(dekId, { min: 1, max: U32_MAX }) ? undefined : 'a DEK id is no non-zero u32';
}

function claimIdProblem(claimId: Uint8Array | undefined): string | undefined {
  return claimId === undefined || claimId.length === CLAIM_ID_BYTES
    ? undefined
    : `the claim id is not ${CLAIM_ID_BYTES} bytes`;
}

/** A lone surrogate has no UTF-8 form: it would come back from the log as another string. */
function textProblem(name: string, text: string): string | undefined {
  if (text.length === 0) return `${name} is empty`;
  if (text.length > TEXT_LENGTH_MAX) return `${name} has more than ${TEXT_LENGTH_MAX} characters`;
  return /\p{Surrogate}/u.test(text) ? `${name} is no well-formed text` : undefined;
}

function newKeyProblem({ dekId, purpose, wraps, createdAtMs }: NewKey): string | undefined {
  if (!keyPurposes.includes(purpose)) return `DEK ${dekId} has an unknown purpose`;
  if (!isInteger(createdAtMs, { min: 0, max: Number.MAX_SAFE_INTEGER })) {
    return `createdAtMs of DEK ${dekId} is no count of milliseconds`;
  }
  return dekIdProblem(dekId) ?? wrapsProblem(dekId, wraps);
}

function clusterKeysProblem({ purpose, sealedClusterKeys }: RotateDekEntry): string | undefined {
  if ((purpose === 'index') !== (sealedClusterKeys !== undefined)) {
    return 'sealed cluster keys go with an index DEK, and only with one';
  }
  return sealedClusterKeys === undefined || sealedClusterKeys.length === SEALED_CLUSTER_KEYS_BYTES
    ? undefined
    : `the sealed cluster keys are not ${SEALED_CLUSTER_KEYS_BYTES} bytes`;
}

function wrapsProblem(dekId: number, wraps: readonly WrappedKey[]): string | undefined {
  if (wraps.length === 0 || wraps.length > WRAPS_MAX) {
    return `DEK ${dekId} has ${wraps.length} wraps: 1 to ${WRAPS_MAX} are allowed`;
  }
  for (const { kekUri, bytes } of wraps) {
    const problem = textProblem(`a kekUri of DEK ${dekId}`, kekUri);
    if (problem !== undefined) return problem;
    if (bytes.length === 0 || bytes.length > WRAP_BYTES_MAX) {
      return `a wrap of DEK ${dekId} has ${bytes.length} bytes: 1 to ${WRAP_BYTES_MAX} are allowed`;
    }
  }
  const kekUris = new Set(wraps.map(({ kekUri }) => kekUri));
  return kekUris.size === wraps.length ? undefined : `DEK ${dekId} has two wraps under one KEK`;
}

function rewrapProblem(keys: readonly RewrappedKey[]): string | undefined {
  if (keys.length === 0 || keys.length > REWRAPPED_KEYS_MAX) {
    return `${keys.length} keys: 1 to ${REWRAPPED_KEYS_MAX} are allowed`;
  }
  for (const { dekId, wraps } of keys) {
    const problem = dekIdProblem(dekId) ?? wrapsProblem(dekId, wraps);
    if (problem !== undefined) return problem;
  }
  return ascendingProblem(keys.map(({ dekId }) => dekId));
}

function ascendingProblem(dekIds: readonly number[]): string | undefined {
  const isAscending = dekIds.every((dekId, at) => at === 0 || (dekIds[at - 1] ?? 0) < dekId);
  return isAscending ? undefined : 'the DEK ids do not ascend';
}

function backupIdProblem(backupId: string): string | undefined {
  return (
    textProblem('the backup id', backupId) ??
    (backupId.length > BACKUP_ID_LENGTH_MAX
      ? `the backup id has more than ${BACKUP_ID_LENGTH_MAX} characters`
      : undefined)
  );
}

/** Why a backup cannot be registered so, or undefined where it can. */
export function backupProblem({ createdAtMs, dekIds }: RegisteredBackup): string | undefined {
  if (!isInteger(createdAtMs, { min: 0, max: Number.MAX_SAFE_INTEGER })) {
    return 'createdAtMs of a backup is no count of milliseconds';
  }
  if (dekIds.length > BACKUP_KEYS_MAX) return `a backup has more than ${BACKUP_KEYS_MAX} keys`;
  for (const dekId of dekIds) {
    const problem = dekIdProblem(dekId);
    if (problem !== undefined) return problem;
  }
  return ascendingProblem(dekIds);
}

function bootstrapKeysProblem(keys: readonly NewKey[]): string | undefined {
  for (const purpose of keyPurposes) {
    if (keys.filter((key) => key.purpose === purpose).length !== 1) {
      return `there is not exactly one ${purpose} DEK`;
    }
  }
  for (const key of keys) {
    const problem = newKeyProblem(key);
    if (problem !== undefined) return problem;
  }
  const dekIds = new Set(keys.map(({ dekId }) => dekId));
  return dekIds.size === keyPurposes.length && keys.length === keyPurposes.length
    ? undefined
    : 'the three DEK ids are not distinct';
}

function bootstrapWritersProblem(writers: readonly string[]): string | undefined {
  if (writers.length === 0 || writers.length > BOOTSTRAP_WRITERS_MAX) {
    return `${writers.length} first writers: 1 to ${BOOTSTRAP_WRITERS_MAX} are allowed`;
  }
  for (const nodeId of writers) {
    const problem = textProblem('the node id of a writer', nodeId);
    if (problem !== undefined) return problem;
  }
  return new Set(writers).size === writers.length ? undefined : 'a writer is named twice';
}

function enableRaftProblem({ controlIndex, waves }: EnableRaftEntry): string | undefined {
  if (controlIndex < 0n || controlIndex > U64_MAX) return 'controlIndex is no u64';
  if ((controlIndex === 0n) !== (waves !== undefined)) {
    return 'waves go with controlIndex 0, and only with it';
  }
  if (waves === undefined) return undefined;
  if (waves.some((wave) => wave.length === 0)) return 'a wave is empty';
  const shardIds = waves.flat();
  if (shardIds.length > SHARDS_MAX) return `the waves have more than ${SHARDS_MAX} shards`;
  if (!shardIds.every((shardId) => isInteger(shardId, { min: 1, max: U32_MAX }))) {
    return 'a wave has a shard id that is no non-zero u32: the request itself cuts shard 0 over';
  }
  return new Set(shardIds).size === shardIds.length ? undefined : 'the waves name a shard twice';
}
