/**
 * The key state as a document: the payload of the sidecar file and its msgpack form.
 *
 * Arrays only, no maps: a field is known by its place, so that none can be unknown, missing or
 * there twice, and equal states give equal bytes. Lists that stand for maps ascend by their first
 * element.
 *
 * | place | field | msgpack |
 * | --- | --- | --- |
 * | 0 | clusterId | bin, 16 bytes |
 * | 1 | nodeId | str |
 * | 2 | generation | u64 |
 * | 3 | appliedIndex | [[shardId, u64], ...] |
 * | 4 | cutoverIndex | [[shardId, u64], ...] |
 * | 5 | cutoverIntent | nil or [controlIndex u64, [[shardId, ...], ...]] |
 * | 6 | storageIndex | nil or u64 |
 * | 7 | activeDekId | [storage, raft, index] |
 * | 8 | keys | [[dekId, purpose byte, [[kekUri, bin], ...], createdAtMs u64, nonceEpoch], ...] |
 * | 9 | writers | [[writerId, nodeId], ...] |
 * | 10 | retired | [[dekId, purpose byte, controlIndex u64], ...] |
 * | 11 | sealedOnlyIndex | nil or u64 |
 * | 12 | backups | [[backupId str, createdAtMs u64, [dekId, ...]], ...] |
 * | 13 | sealedClusterKeys | nil or bin, 80 bytes |
 * | 14 | macDekId | u32 |
 */
import {
  CLUSTER_ID_BYTES,
  type CutoverIntent,
  type KeyPurpose,
  type KeyRecord,
  type KeyState,
  purposeByte,
  RaftsealError,
  type RegisteredBackup,
  type WrappedKey,
} from '@raftseal/interface';
import { Packr } from 'msgpackr';
import { plainMsgpackProblem } from './plain-msgpack.ts';
import { keyPurposes } from './state-rules.ts';

/** What a sidecar file carries: the key state and the DEK that its MAC key derives from. */
export interface SidecarDocument {
  readonly state: KeyState;
  readonly macDekId: number;
}

const packr = new Packr({ useRecords: false, copyBuffers: true, int64AsType: 'bigint' });

/** @returns the msgpack form; the caller's to keep. */
export function packDocument({ state, macDekId }: SidecarDocument): Buffer {
  const { cutoverIntent: intent, activeDekId } = state;
  return Buffer.from(
    packr.pack([
      Buffer.from(state.clusterId ?? []),
      state.nodeId,
      state.generation,
      ascending(state.appliedIndex),
      ascending(state.cutoverIndex),
      intent === undefined ? null : [intent.controlIndex, intent.waves],
      state.storageIndex ?? null,
      [activeDekId.storage, activeDekId.raft, activeDekId.index],
      ascending(state.keys).map(([dekId, record]) => [
        dekId,
        purposeByte[record.purpose],
        record.wraps.map(({ kekUri, bytes }) => [kekUri, Buffer.from(bytes)]),
        BigInt(record.createdAtMs),
        record.nonceEpoch,
      ]),
      ascending(state.writers),
      ascending(state.retired).map(([dekId, { purpose, controlIndex }]) => [
        dekId,
        purposeByte[purpose],
        controlIndex,
      ]),
      state.sealedOnlyIndex ?? null,
      [...state.backups]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([backupId, { createdAtMs, dekIds }]) => [backupId, BigInt(createdAtMs), dekIds]),
      state.sealedClusterKeys === undefined ? null : Buffer.from(state.sealedClusterKeys),
      macDekId,
    ]),
  );
}

function ascending<Value>(map: ReadonlyMap<number, Value>): [number, Value][] {
  return [...map].sort(([a], [b]) => a - b);
}

/**
 * Reads what {@link packDocument} made. Types and shape are checked; what the values say is for
 * `stateProblem` to judge.
 * @throws RAFTSEAL_SIDECAR_PAYLOAD
 */
export function unpackDocument(payload: Uint8Array): SidecarDocument {
  const problem = plainMsgpackProblem(payload);
  if (problem !== undefined) throw malformed('document', problem);
  const fields = asTuple(decode(payload), 15, 'document');
  const [storage, raft, index] = asTuple(fields[7], 3, 'activeDekId');
  return {
    state: {
      clusterId: asClusterId(fields[0]),
      nodeId: asString(fields[1], 'nodeId'),
      generation: asU64(fields[2], 'generation'),
      appliedIndex: asShardIndexes(fields[3], 'appliedIndex'),
      cutoverIndex: asShardIndexes(fields[4], 'cutoverIndex'),
      cutoverIntent: fields[5] === null ? undefined : asIntent(fields[5]),
      storageIndex: fields[6] === null ? undefined : asU64(fields[6], 'storageIndex'),
      activeDekId: {
        storage: asNumber(storage, 'activeDekId'),
        raft: asNumber(raft, 'activeDekId'),
        index: asNumber(index, 'activeDekId'),
      },
      keys: asAscendingMap(fields[8], 5, 'keys', asKeyRecord),
      writers: asAscendingMap(fields[9], 2, 'writers', ([, nodeId]) => asString(nodeId, 'writers')),
      retired: asAscendingMap(fields[10], 3, 'retired', ([, purpose, controlIndex]) => ({
        purpose: asPurpose(purpose),
        controlIndex: asU64(controlIndex, 'retired'),
      })),
      sealedOnlyIndex: fields[11] === null ? undefined : asU64(fields[11], 'sealedOnlyIndex'),
      backups: asBackups(fields[12]),
      sealedClusterKeys: fields[13] === null ? undefined : asBytes(fields[13], 'sealedClusterKeys'),
    },
    macDekId: asNumber(fields[14], 'macDekId'),
  };
}

function decode(payload: Uint8Array): unknown {
  try {
    return packr.unpack(payload);
  } catch (cause) {
    throw malformed('document', 'the msgpack decoder refused it', cause);
  }
}

function malformed(where: string, problem: string, cause?: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_SIDECAR_PAYLOAD',
    `expected a key-state document; found in ${where}: ${problem}. ` +
      'Restore the whole data directory.',
    { cause },
  );
}

function asList(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw malformed(where, 'no list');
  return value;
}

function asTuple(value: unknown, length: number, where: string): readonly unknown[] {
  const list = asList(value, where);
  if (list.length !== length) {
    throw malformed(where, `${list.length} fields where ${length} are known`);
  }
  return list;
}

function asNumber(value: unknown, where: string): number {
  if (typeof value !== 'number') throw malformed(where, 'no number');
  return value;
}

function asU64(value: unknown, where: string): bigint {
  // The decoder gives a bigint for 64-bit tokens only; a shorter one is the same integer.
  if (typeof value === 'number') return BigInt(value);
  if (typeof value !== 'bigint') throw malformed(where, 'no integer');
  return value;
}

function asString(value: unknown, where: string): string {
  if (typeof value !== 'string') throw malformed(where, 'no text');
  return value;
}

function asBytes(value: unknown, where: string): Uint8Array {
  if (!(value instanceof Uint8Array)) throw malformed(where, 'no byte string');
  return Uint8Array.from(value);
}

function asClusterId(value: unknown): Uint8Array {
  const bytes = asBytes(value, 'clusterId');
  if (bytes.length !== CLUSTER_ID_BYTES) throw malformed('clusterId', `${bytes.length} bytes`);
  return bytes;
}

function asAscendingMap<Value>(
  value: unknown,
  tupleLength: number,
  where: string,
  read: (tuple: readonly unknown[]) => Value,
): Map<number, Value> {
  const map = new Map<number, Value>();
  let last = -1;
  for (const element of asList(value, where)) {
    const tuple = asTuple(element, tupleLength, where);
    const id = asNumber(tuple[0], where);
    if (id <= last) throw malformed(where, `${id} after ${last}: ids ascend and occur once`);
    last = id;
    map.set(id, read(tuple));
  }
  return map;
}

function asShardIndexes(value: unknown, where: string): Map<number, bigint> {
  return asAscendingMap(value, 2, where, ([, index]) => asU64(index, where));
}

function asIntent(value: unknown): CutoverIntent {
  const [controlIndex, waves] = asTuple(value, 2, 'cutoverIntent');
  return {
    controlIndex: asU64(controlIndex, 'cutoverIntent'),
    waves: asList(waves, 'cutoverIntent').map((wave) =>
      asList(wave, 'cutoverIntent').map((shardId) => asNumber(shardId, 'cutoverIntent')),
    ),
  };
}

function asTime(value: unknown): number {
  const createdAtMs = asU64(value, 'createdAtMs');
  if (createdAtMs > Number.MAX_SAFE_INTEGER) throw malformed('createdAtMs', 'a time past 2^53 ms');
  return Number(createdAtMs);
}

function asBackups(value: unknown): Map<string, RegisteredBackup> {
  const backups = new Map<string, RegisteredBackup>();
  let last = '';
  for (const element of asList(value, 'backups')) {
    const [id, createdAtMs, dekIds] = asTuple(element, 3, 'backups');
    const backupId = asString(id, 'backups');
    if (backupId <= last) throw malformed('backups', 'ids that do not ascend');
    last = backupId;
    backups.set(backupId, {
      createdAtMs: asTime(createdAtMs),
      dekIds: asList(dekIds, 'backups').map((dekId) => asNumber(dekId, 'backups')),
    });
  }
  return backups;
}

function asKeyRecord(tuple: readonly unknown[]): KeyRecord {
  return {
    purpose: asPurpose(tuple[1]),
    wraps: asList(tuple[2], 'wraps').map(asWrap),
    createdAtMs: asTime(tuple[3]),
    nonceEpoch: asNumber(tuple[4], 'nonceEpoch'),
  };
}

function asPurpose(value: unknown): KeyPurpose {
  const purpose = keyPurposes.find((candidate) => purposeByte[candidate] === value);
  if (purpose === undefined) throw malformed('purpose', 'an unknown one');
  return purpose;
}

function asWrap(value: unknown): WrappedKey {
  const [kekUri, bytes] = asTuple(value, 2, 'wraps');
  return { kekUri: asString(kekUri, 'wraps'), bytes: asBytes(bytes, 'wraps') };
}
