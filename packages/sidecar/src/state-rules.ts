/**
 * What holds for every key state that may be on disk, and for every pair of an older and a newer
 * one. Both rules are pure and say what is wrong in words, so that a writer can refuse its
 * caller's state and a reader the file's.
 */
import {
  CLUSTER_ID_BYTES,
  type KeyPurpose,
  type KeyRecord,
  type KeyState,
  NONCE_EPOCH_MAX,
  SEALED_CLUSTER_KEYS_BYTES,
} from '@raftseal/interface';

const U16_MAX = 0xffff;
const U32_MAX = 0xffff_ffff;
const U64_MAX = 0xffff_ffff_ffff_ffffn;

/** Longest node id and KEK URI, in UTF-16 units. */
export const TEXT_LENGTH_MAX = 2048;

/** Longest wrapped DEK; the longest known, of a key service with metadata, is below 1 KiB. */
export const WRAP_BYTES_MAX = 16_384;

export const keyPurposes: readonly KeyPurpose[] = ['storage', 'raft', 'index'];

const isInteger = (value: unknown, min: number, max: number): boolean =>
  typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;

const isIndex = (value: unknown, min: bigint): boolean =>
  typeof value === 'bigint' && value >= min && value <= U64_MAX;

/** A lone surrogate has no UTF-8 form: it would come back from disk as another string. */
const isText = (value: unknown): boolean =>
  typeof value === 'string' &&
  value.length > 0 &&
  value.length <= TEXT_LENGTH_MAX &&
  !/\p{Surrogate}/u.test(value);

/** True for an id that a DEK may have: a non-zero u32. */
export function isDekId(value: unknown): boolean {
  return isInteger(value, 1, U32_MAX);
}

/** Why `state` cannot be on disk, or undefined where it can. */
export function stateProblem(state: KeyState): string | undefined {
  if (state.keys.size === 0 || state.clusterId === undefined) {
    return 'it has no keys: before Bootstrap is applied there is nothing to write';
  }
  if (state.clusterId.length !== CLUSTER_ID_BYTES) return 'clusterId is not 16 bytes';
  if (!isText(state.nodeId)) return 'nodeId is empty, too long or not well-formed';
  if (!isIndex(state.generation, 1n)) return 'generation is not a u64 of at least 1';
  if (state.storageIndex !== undefined && !isIndex(state.storageIndex, 1n)) {
    return 'storageIndex is not a u64 of at least 1';
  }
  return (
    shardIndexProblem('appliedIndex', state.appliedIndex, 0n) ??
    shardIndexProblem('cutoverIndex', state.cutoverIndex, 1n) ??
    intentProblem(state) ??
    keysProblem(state) ??
    activeProblem(state) ??
    retiredProblem(state) ??
    clusterKeysProblem(state) ??
    sealedOnlyProblem(state) ??
    writersProblem(state) ??
    backupsProblem(state)
  );
}

function shardIndexProblem(
  name: string,
  indexes: ReadonlyMap<number, bigint>,
  min: bigint,
): string | undefined {
  for (const [shardId, index] of indexes) {
    if (!isInteger(shardId, 0, U32_MAX)) return `${name} has a shard id that is no u32`;
    if (!isIndex(index, min)) {
      return `${name} of shard ${shardId} is not a u64 of at least ${min}`;
    }
  }
  return undefined;
}

function intentProblem({ cutoverIntent }: KeyState): string | undefined {
  if (cutoverIntent === undefined) return undefined;
  if (!isIndex(cutoverIntent.controlIndex, 1n)) {
    return 'controlIndex of the cutover intent is not a u64 of at least 1';
  }
  const shardIds = cutoverIntent.waves.flat();
  if (!shardIds.every((shardId) => isInteger(shardId, 0, U32_MAX))) {
    return 'the cutover intent has a shard id that is no u32';
  }
  if (new Set(shardIds).size !== shardIds.length) return 'the cutover intent names a shard twice';
  return undefined;
}

function keysProblem({ keys }: KeyState): string | undefined {
  for (const [dekId, record] of keys) {
    if (!isDekId(dekId)) return `the DEK id ${dekId} is no non-zero u32`;
    const problem = recordProblem(record);
    if (problem !== undefined) return `DEK ${dekId} ${problem}`;
  }
  return undefined;
}

function recordProblem(record: KeyRecord): string | undefined {
  if (!keyPurposes.includes(record.purpose)) return 'has an unknown purpose';
  if (!isInteger(record.nonceEpoch, 0, NONCE_EPOCH_MAX)) {
    return `has a nonceEpoch outside 0..${NONCE_EPOCH_MAX}`;
  }
  if (!isInteger(record.createdAtMs, 0, Number.MAX_SAFE_INTEGER)) {
    return 'has a createdAtMs that is no count of milliseconds';
  }
  if (record.wraps.length === 0) return 'has no wrap: nothing could ever open it';
  for (const { kekUri, bytes } of record.wraps) {
    if (!isText(kekUri)) return 'has a wrap whose kekUri is empty, too long or not well-formed';
    if (bytes.length === 0 || bytes.length > WRAP_BYTES_MAX) {
      return `has a wrap of ${bytes.length} bytes: 1 to ${WRAP_BYTES_MAX} are allowed`;
    }
  }
  const kekUris = new Set(record.wraps.map(({ kekUri }) => kekUri));
  return kekUris.size === record.wraps.length ? undefined : 'has two wraps under one KEK';
}

function activeProblem({ activeDekId, keys }: KeyState): string | undefined {
  for (const purpose of keyPurposes) {
    const dekId = activeDekId[purpose];
    const record = keys.get(dekId);
    if (record === undefined) return `the active ${purpose} DEK ${dekId} is not among the keys`;
    if (record.purpose !== purpose) {
      return `the active ${purpose} DEK ${dekId} is a key for ${record.purpose}`;
    }
  }
  return undefined;
}

function retiredProblem({ keys, retired }: KeyState): string | undefined {
  for (const [dekId, { purpose, controlIndex }] of retired) {
    if (!isDekId(dekId)) return `the id ${dekId} of a retired DEK is no non-zero u32`;
    if (keys.has(dekId)) return `DEK ${dekId} is retired and among the keys`;
    if (!keyPurposes.includes(purpose)) return `the retired DEK ${dekId} has an unknown purpose`;
    if (!isIndex(controlIndex, 1n)) return `controlIndex of retired DEK ${dekId} is no u64 from 1`;
  }
  return undefined;
}

/** They come with the second index DEK, and with every later one. */
function clusterKeysProblem({ keys, retired, sealedClusterKeys }: KeyState): string | undefined {
  const deks = [...keys.values(), ...retired.values()];
  const isRotated = deks.filter(({ purpose }) => purpose === 'index').length > 1;
  if (isRotated !== (sealedClusterKeys !== undefined)) {
    return isRotated
      ? 'the index DEK was rotated, and there are no sealed cluster keys'
      : 'there are sealed cluster keys, and the index DEK was not rotated';
  }
  return sealedClusterKeys === undefined || sealedClusterKeys.length === SEALED_CLUSTER_KEYS_BYTES
    ? undefined
    : `the sealed cluster keys are not ${SEALED_CLUSTER_KEYS_BYTES} bytes`;
}

function sealedOnlyProblem({ sealedOnlyIndex, storageIndex }: KeyState): string | undefined {
  if (sealedOnlyIndex === undefined) return undefined;
  if (!isIndex(sealedOnlyIndex, 1n)) return 'sealedOnlyIndex is not a u64 of at least 1';
  return storageIndex === undefined ? 'it is sealed-only, and values are not sealed' : undefined;
}

function backupsProblem({ backups, keys }: KeyState): string | undefined {
  for (const [backupId, { createdAtMs, dekIds }] of backups) {
    if (!isText(backupId)) return 'a backup id is empty, too long or not well-formed';
    if (!isInteger(createdAtMs, 0, Number.MAX_SAFE_INTEGER)) {
      return `createdAtMs of backup ${backupId} is no count of milliseconds`;
    }
    const missing = dekIds.find((dekId) => !keys.has(dekId));
    if (missing !== undefined) return `backup ${backupId} needs DEK ${missing}, which is no key`;
    if (dekIds.some((dekId, at) => at > 0 && dekId <= (dekIds[at - 1] ?? 0))) {
      return `the DEK ids of backup ${backupId} do not ascend`;
    }
  }
  return undefined;
}

function writersProblem({ writers }: KeyState): string | undefined {
  for (const [writerId, nodeId] of writers) {
    if (!isInteger(writerId, 1, U16_MAX)) return `the writer id ${writerId} is not in 1..65535`;
    if (!isText(nodeId)) return `the node id of writer ${writerId} is empty or not well-formed`;
  }
  return undefined;
}

/** What `after` would take back of what `before` has recorded, or undefined. */
export function successionProblem(before: KeyState, after: KeyState): string | undefined {
  if (after.generation <= before.generation) {
    return `generation ${after.generation} does not follow ${before.generation}`;
  }
  if (after.nodeId !== before.nodeId) return `nodeId changes from ${before.nodeId}`;
  if (!sameBytes(before.clusterId, after.clusterId)) return 'clusterId changes';
  if (before.storageIndex !== undefined && after.storageIndex !== before.storageIndex) {
    return `storageIndex changes from ${before.storageIndex}: it is set once`;
  }
  if (before.sealedOnlyIndex !== undefined && after.sealedOnlyIndex !== before.sealedOnlyIndex) {
    return `sealedOnlyIndex changes from ${before.sealedOnlyIndex}: it is set once`;
  }
  return (
    indexesProblem(before, after) ??
    recordsProblem(before, after) ??
    retiredChange(before, after) ??
    clusterKeysChange(before, after)
  );
}

/** Under one index DEK they are sealed once. */
function clusterKeysChange(before: KeyState, after: KeyState): string | undefined {
  if (before.activeDekId.index !== after.activeDekId.index) return undefined;
  return sameBytes(before.sealedClusterKeys, after.sealedClusterKeys)
    ? undefined
    : 'the sealed cluster keys change without a rotation of the index DEK';
}

function retiredChange(before: KeyState, after: KeyState): string | undefined {
  for (const dekId of before.retired.keys()) {
    if (!after.retired.has(dekId)) return `DEK ${dekId} was retired and is so no more`;
  }
  return undefined;
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

function indexesProblem(before: KeyState, after: KeyState): string | undefined {
  for (const [shardId, index] of before.cutoverIndex) {
    if (after.cutoverIndex.get(shardId) !== index) {
      return `the cutover index of shard ${shardId} changes from ${index}: it is set once`;
    }
  }
  for (const [shardId, index] of before.appliedIndex) {
    const next = after.appliedIndex.get(shardId);
    if (next === undefined || next < index) {
      return `the applied index of shard ${shardId} falls from ${index} to ${next ?? 'none'}`;
    }
  }
  return undefined;
}

function recordsProblem(before: KeyState, after: KeyState): string | undefined {
  for (const [dekId, record] of before.keys) {
    const next = after.keys.get(dekId);
    if (next === undefined) {
      if (after.retired.has(dekId)) continue;
      return `DEK ${dekId} is gone and was not retired`;
    }
    if (next.purpose !== record.purpose) return `the purpose of DEK ${dekId} changes`;
    if (next.nonceEpoch < record.nonceEpoch) {
      return `the nonce epoch of DEK ${dekId} falls from ${record.nonceEpoch} to ${next.nonceEpoch}`;
    }
  }
  for (const [writerId, nodeId] of before.writers) {
    const next = after.writers.get(writerId);
    if (next !== undefined && next !== nodeId) {
      return `writer id ${writerId} moves from ${nodeId} to ${next}: ids are never given again`;
    }
  }
  return undefined;
}
