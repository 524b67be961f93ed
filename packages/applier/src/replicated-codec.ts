/**
 * The bytes of a replicated key state: one msgpack array, then 32 bytes of HMAC-SHA-256 (RFC 2104)
 * over it.
 *
 * | place | field | msgpack |
 * | --- | --- | --- |
 * | 0 | version | 1 |
 * | 1 | clusterId | bin, 16 bytes |
 * | 2 | appliedIndex | [[shardId, u64], ...] |
 * | 3 | cutoverIndex | [[shardId, u64], ...] |
 * | 4 | cutoverIntent | nil or [controlIndex u64, [[shardId, ...], ...]] |
 * | 5 | storageIndex | nil or u64 |
 * | 6 | activeDekId | [storage, raft, index] |
 * | 7 | keys | [[purpose byte, dekId, [[kekUri, bin], ...], createdAtMs u64], ...] |
 * | 8 | writers | [[writerId, nodeId], ...] |
 * | 9 | rows | [[dekId, writerId, firstEpoch, lastEpoch], ...] |
 * | 10 | retired | [[dekId, purpose byte, controlIndex u64], ...] |
 * | 11 | sealedOnlyIndex | nil or u64 |
 * | 12 | backups | [[backupId str, createdAtMs u64, [dekId, ...]], ...] |
 * | 13 | sealedClusterKeys | nil or bin, 80 bytes |
 *
 * Lists ascend by their ids, so that equal states give equal bytes. The MAC key derives
 * (HKDF-SHA-256, RFC 5869) from the active index DEK, as the one of a sidecar does, under a label of its
 * own: neither can stand for the other. That DEK is itself in the state, wrapped, so what is decoded
 * stays unverified until it is unwrapped.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import {
  assert,
  CLUSTER_ID_BYTES,
  DEK_BYTES,
  NONCE_EPOCH_MAX,
  purposeByte,
  RaftsealError,
  type RegisteredBackup,
  SEALED_CLUSTER_KEYS_BYTES,
  type WriterRow,
} from '@raftseal/interface';
import { Packr } from 'msgpackr';
import type { UnwrapDek } from './dek-unwrap.ts';
import { SHARDS_MAX, U32_MAX } from './entry-rules.ts';
import {
  keyFields,
  readBackup,
  readDekId,
  readKey,
  readPurpose,
  readText,
  readWaves,
} from './key-fields.ts';
import { PlainReader } from './plain-reader.ts';
import {
  type ReplicatedKeyRecord,
  type ReplicatedKeyState,
  replicatedKeyStateProblem,
} from './replicated-key-state.ts';
import { WRITER_ID_MAX } from './writer-registry.ts';

/** Largest encoded state: a full sidecar and a million rows. */
export const REPLICATED_KEY_STATE_BYTES_MAX: number = 16 * 1024 * 1024;

const VERSION = 1;
const MAC_BYTES = 32;
const MAC_KEY_BYTES = 32;
const MAC_KEY_LABEL = 'raftseal replicated key state mac key v1';

/** Above what fits into the largest state; the reader's own check of lengths comes first. */
const ELEMENTS_MAX = 0x10_0000;

const packr = new Packr({ useRecords: false });

/**
 * The MAC key that belongs to an index DEK.
 * @param dek 32 bytes; stays the caller's.
 * @returns 32 bytes that the caller owns and wipes.
 */
export function deriveReplicatedMacKey(dek: Uint8Array): Buffer {
  if (dek.length !== DEK_BYTES) throw new RangeError(`a DEK has 32 bytes, not ${dek.length}`);
  return Buffer.from(hkdfSync('sha256', dek, new Uint8Array(0), MAC_KEY_LABEL, MAC_KEY_BYTES));
}

/**
 * The bytes of a state. Equal states and keys give equal bytes.
 * @param macKey 32 bytes, from {@link deriveReplicatedMacKey} of the state's index DEK. Not kept.
 * @throws TypeError for a state that cannot be; RAFTSEAL_APPLIER_STATE_TOO_LARGE.
 */
export function encodeReplicatedKeyState(
  replicated: ReplicatedKeyState,
  macKey: Uint8Array,
): Buffer {
  const problem = replicatedKeyStateProblem(replicated);
  if (problem !== undefined) throw new TypeError(`this key state cannot be given away: ${problem}`);
  const payload = Buffer.from(packr.pack(fieldsOf(replicated)));
  const byteLength = payload.length + MAC_BYTES;
  if (byteLength > REPLICATED_KEY_STATE_BYTES_MAX) {
    throw new RaftsealError(
      'RAFTSEAL_APPLIER_STATE_TOO_LARGE',
      `expected a replicated key state of at most ${REPLICATED_KEY_STATE_BYTES_MAX} bytes; found ` +
        `${byteLength}. Retire keys that nothing needs.`,
    );
  }
  return Buffer.concat([payload, mac(payload, macKey)]);
}

function fieldsOf(replicated: ReplicatedKeyState): unknown[] {
  const { cutoverIntent: intent, activeDekId, keys } = replicated;
  return [
    VERSION,
    Buffer.from(replicated.clusterId),
    ascending(replicated.appliedIndex),
    ascending(replicated.cutoverIndex),
    intent === undefined ? null : [intent.controlIndex, intent.waves],
    replicated.storageIndex ?? null,
    [activeDekId.storage, activeDekId.raft, activeDekId.index],
    ascending(keys).map(([dekId, key]) => keyFields({ dekId, ...key })),
    ascending(replicated.writers),
    [...replicated.rows]
      .sort((a, b) => a.dekId - b.dekId || a.writerId - b.writerId)
      .map(({ dekId, writerId, firstEpoch, lastEpoch }) => [
        dekId,
        writerId,
        firstEpoch,
        lastEpoch,
      ]),
    ascending(replicated.retired).map(([dekId, { purpose, controlIndex }]) => [
      dekId,
      purposeByte[purpose],
      controlIndex,
    ]),
    replicated.sealedOnlyIndex ?? null,
    [...replicated.backups]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([backupId, { createdAtMs, dekIds }]) => [backupId, BigInt(createdAtMs), dekIds]),
    replicated.sealedClusterKeys === undefined ? null : Buffer.from(replicated.sealedClusterKeys),
  ];
}

function ascending<Value>(map: ReadonlyMap<number, Value>): [number, Value][] {
  return [...map].sort(([a], [b]) => a - b);
}

/** A decoded state that may still have been changed by someone else. */
export interface UnverifiedKeyState {
  /** Well-formed and possible, but not authenticated. */
  readonly state: ReplicatedKeyState;
  /**
   * @param macKey 32 bytes, from {@link deriveReplicatedMacKey} of the state's index DEK.
   * @returns `state`, now authenticated.
   * @throws RAFTSEAL_APPLIER_KEY_STATE_INVALID
   */
  verify(macKey: Uint8Array): ReplicatedKeyState;
}

/**
 * Decodes what {@link encodeReplicatedKeyState} made.
 * @param bytes a copy is kept until the result is dropped.
 * @throws RAFTSEAL_APPLIER_KEY_STATE_INVALID, never fatal.
 */
export function decodeReplicatedKeyState(bytes: Uint8Array): UnverifiedKeyState {
  if (bytes.length < MAC_BYTES || bytes.length > REPLICATED_KEY_STATE_BYTES_MAX) {
    throw invalid('the whole', `${bytes.length} bytes`);
  }
  const whole = Buffer.from(bytes);
  const payload = whole.subarray(0, -MAC_BYTES);
  const state = readState(new PlainReader(payload, invalid));
  const problem = replicatedKeyStateProblem(state);
  if (problem !== undefined) throw invalid('the whole', `that ${problem}`);
  return {
    state,
    verify(macKey) {
      if (timingSafeEqual(mac(payload, macKey), whole.subarray(-MAC_BYTES))) return state;
      throw invalid('the whole', 'a MAC that is not the one under its index DEK');
    },
  };
}

/**
 * Decodes and authenticates: what a node does with a key state from another one.
 * @throws RAFTSEAL_APPLIER_KEY_STATE_INVALID, never fatal; what `unwrapDek` throws.
 */
export async function openReplicatedKeyState(
  bytes: Uint8Array,
  unwrapDek: UnwrapDek,
): Promise<ReplicatedKeyState> {
  const unverified = decodeReplicatedKeyState(bytes);
  const { clusterId, activeDekId, keys } = unverified.state;
  const dekId = activeDekId.index;
  const key = keys.get(dekId);
  assert(key !== undefined, 'a decoded key state has its active keys');
  const dek = await unwrapDek(key, { clusterId, dekId, purpose: 'index' });
  const macKey = deriveReplicatedMacKey(dek);
  dek.fill(0);
  try {
    return unverified.verify(macKey);
  } finally {
    macKey.fill(0);
  }
}

function readState(reader: PlainReader): ReplicatedKeyState {
  reader.tuple('the whole', 14);
  reader.integer('version', { min: VERSION, max: VERSION });
  const bounds = { min: CLUSTER_ID_BYTES, max: CLUSTER_ID_BYTES };
  const state = {
    clusterId: reader.byteString('clusterId', bounds),
    appliedIndex: readShardIndexes(reader, 'appliedIndex'),
    cutoverIndex: readShardIndexes(reader, 'cutoverIndex'),
    cutoverIntent: readIntent(reader),
    storageIndex: reader.nil() ? undefined : reader.u64('storageIndex'),
    activeDekId: readActive(reader),
    keys: readKeys(reader),
    writers: ascendingMap(reader, 'writers', () => {
      reader.tuple('writer', 2);
      const writerId = reader.integer('writerId', { min: 1, max: WRITER_ID_MAX });
      return [writerId, readText(reader, 'nodeId')];
    }),
    rows: readRows(reader),
    retired: ascendingMap(reader, 'retired', () => {
      reader.tuple('retired', 3);
      const dekId = readDekId(reader);
      return [dekId, { purpose: readPurpose(reader), controlIndex: reader.u64('retired') }];
    }),
    sealedOnlyIndex: reader.nil() ? undefined : reader.u64('sealedOnlyIndex'),
    backups: readBackups(reader),
    sealedClusterKeys: readClusterKeys(reader),
  };
  reader.end();
  return state;
}

function readShardIndexes(reader: PlainReader, what: string): Map<number, bigint> {
  return ascendingMap(reader, what, () => {
    reader.tuple(what, 2);
    return [reader.integer(what, { min: 0, max: U32_MAX }), reader.u64(what)];
  });
}

function readIntent(reader: PlainReader): ReplicatedKeyState['cutoverIntent'] {
  if (reader.nil()) return undefined;
  reader.tuple('cutoverIntent', 2);
  return { controlIndex: reader.u64('cutoverIntent'), waves: readWaves(reader, SHARDS_MAX) };
}

function readActive(reader: PlainReader): ReplicatedKeyState['activeDekId'] {
  reader.tuple('activeDekId', 3);
  const storage = readDekId(reader);
  const raft = readDekId(reader);
  return { storage, raft, index: readDekId(reader) };
}

function readKeys(reader: PlainReader): Map<number, ReplicatedKeyRecord> {
  return ascendingMap(reader, 'keys', () => {
    reader.tuple('key', 4);
    const { dekId, ...key } = readKey(reader);
    return [dekId, key];
  });
}

function readRows(reader: PlainReader): WriterRow[] {
  const epochs = { min: 1, max: NONCE_EPOCH_MAX };
  let [lastDekId, lastWriterId] = [0, 0];
  return reader.list('rows', { min: 0, max: ELEMENTS_MAX }, () => {
    reader.tuple('row', 4);
    const dekId = readDekId(reader);
    const writerId = reader.integer('writerId', { min: 1, max: WRITER_ID_MAX });
    if (dekId < lastDekId || (dekId === lastDekId && writerId <= lastWriterId)) {
      throw invalid('rows', 'one that does not ascend');
    }
    [lastDekId, lastWriterId] = [dekId, writerId];
    const firstEpoch = reader.integer('firstEpoch', epochs);
    return { dekId, writerId, firstEpoch, lastEpoch: reader.integer('lastEpoch', epochs) };
  });
}

function readClusterKeys(reader: PlainReader): Uint8Array | undefined {
  if (reader.nil()) return undefined;
  const bounds = { min: SEALED_CLUSTER_KEYS_BYTES, max: SEALED_CLUSTER_KEYS_BYTES };
  return reader.byteString('sealedClusterKeys', bounds);
}

function readBackups(reader: PlainReader): Map<string, RegisteredBackup> {
  const backups = new Map<string, RegisteredBackup>();
  let last = '';
  reader.list('backups', { min: 0, max: ELEMENTS_MAX }, () => {
    reader.tuple('backup', 3);
    const backupId = readText(reader, 'backupId');
    if (backupId <= last) throw invalid('backups', 'an id that does not ascend');
    last = backupId;
    backups.set(backupId, readBackup(reader));
  });
  return backups;
}

/** A list that stands for a map: it ascends by the ids, so that none is there twice. */
function ascendingMap<Value>(
  reader: PlainReader,
  what: string,
  read: () => [id: number, value: Value],
): Map<number, Value> {
  const map = new Map<number, Value>();
  let last = -1;
  const pairs = reader.list(what, { min: 0, max: ELEMENTS_MAX }, read);
  for (const [id, value] of pairs) {
    if (id <= last) throw invalid(what, 'an id that does not ascend');
    last = id;
    map.set(id, value);
  }
  return map;
}

function mac(payload: Uint8Array, macKey: Uint8Array): Buffer {
  if (macKey.length !== MAC_KEY_BYTES) {
    throw new RangeError(`a MAC key has ${MAC_KEY_BYTES} bytes, not ${macKey.length}`);
  }
  return createHmac('sha256', macKey).update(payload).digest();
}

function invalid(what: string, found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_APPLIER_KEY_STATE_INVALID',
    `expected the key state of a cluster; found in ${what}: ${found}. It was changed on its way, ` +
      'or comes from a node of another release: nothing was taken from it.',
  );
}
