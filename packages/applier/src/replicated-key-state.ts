/**
 * What all replicas share of the key state, and the rows of the writer registry: what a node that
 * joins, or falls behind, gets from another one. A node's own part is left out: its id, its nonce
 * epochs, its count of sidecar writes.
 */
import {
  CONTROL_SHARD,
  type KeyRecord,
  type KeyState,
  NONCE_EPOCH_MAX,
  type WriterRow,
} from '@raftseal/interface';
import { stateProblem } from '@raftseal/sidecar';

/** A key as every replica has it. */
export type ReplicatedKeyRecord = Omit<KeyRecord, 'nonceEpoch'>;

export interface ReplicatedKeyState
  extends Omit<KeyState, 'clusterId' | 'nodeId' | 'generation' | 'keys'> {
  /** 16 bytes. */
  readonly clusterId: Uint8Array;
  readonly keys: ReadonlyMap<number, ReplicatedKeyRecord>;
  /** Of every writer under every key that it has registered for. */
  readonly rows: readonly WriterRow[];
}

/**
 * The replicated part of a node's state; undefined before `Bootstrap`. A row that is ahead of the
 * state, because its entry is being applied, may be left out: whoever gets the state applies that
 * entry as well.
 */
export function replicatedKeyState(
  state: KeyState,
  rows: readonly WriterRow[],
): ReplicatedKeyState | undefined {
  const { clusterId, keys, nodeId: _, generation: __, ...shared } = state;
  if (clusterId === undefined) return undefined;
  return {
    ...shared,
    clusterId,
    keys: new Map([...keys].map(([dekId, { nonceEpoch: ___, ...key }]) => [dekId, key])),
    rows: rows.filter(({ dekId, writerId }) => keys.has(dekId) && state.writers.has(writerId)),
  };
}

/** Why `replicated` cannot be, or undefined where it can. */
export function replicatedKeyStateProblem(replicated: ReplicatedKeyState): string | undefined {
  const { rows: _, keys, ...shared } = replicated;
  const records = [...keys].map(([dekId, key]) => [dekId, { ...key, nonceEpoch: 0 }] as const);
  const asOfSomeNode = { ...shared, nodeId: 'any', generation: 1n, keys: new Map(records) };
  return (
    stateProblem(asOfSomeNode) ??
    indexesProblem(replicated) ??
    writersProblem(replicated) ??
    rowsProblem(replicated)
  );
}

/** Every switch is an entry that was applied, and the request is the control shard's own marker. */
function indexesProblem(replicated: ReplicatedKeyState): string | undefined {
  const { appliedIndex, cutoverIndex, cutoverIntent, storageIndex, sealedOnlyIndex } = replicated;
  const controlApplied = appliedIndex.get(CONTROL_SHARD) ?? 0n;
  if (controlApplied === 0n) return 'no entry of the control shard is applied';
  if (storageIndex !== undefined && storageIndex > controlApplied) {
    return 'storageIndex is above the applied index of the control shard';
  }
  if (sealedOnlyIndex !== undefined && sealedOnlyIndex > controlApplied) {
    return 'sealedOnlyIndex is above the applied index of the control shard';
  }
  for (const [dekId, { controlIndex }] of replicated.retired) {
    if (controlIndex <= controlApplied) continue;
    return `DEK ${dekId} was retired above the applied index of the control shard`;
  }
  for (const [shardId, index] of cutoverIndex) {
    if (index > (appliedIndex.get(shardId) ?? 0n)) {
      return `the cutover index of shard ${shardId} is above its applied index`;
    }
  }
  if (cutoverIndex.get(CONTROL_SHARD) !== cutoverIntent?.controlIndex) {
    return 'the cutover request is not where the control shard was cut over';
  }
  return cutoverIndex.size > 0 && cutoverIntent === undefined
    ? 'a shard is cut over without a request'
    : undefined;
}

function writersProblem({ writers, rows }: ReplicatedKeyState): string | undefined {
  if (new Set(writers.values()).size !== writers.size) return 'a node has two writer ids';
  const registered = new Set(rows.map(({ writerId }) => writerId));
  for (const writerId of writers.keys()) {
    if (!registered.has(writerId)) return `writer ${writerId} has no row`;
  }
  return undefined;
}

function rowsProblem({ writers, keys, rows }: ReplicatedKeyState): string | undefined {
  for (const { dekId, writerId, firstEpoch, lastEpoch } of rows) {
    const purpose = keys.get(dekId)?.purpose;
    if (purpose === undefined || purpose === 'index') {
      return `there is a row of DEK ${dekId}, which nobody registers under`;
    }
    if (!writers.has(writerId)) return `there is a row of writer ${writerId}, which is none`;
    if (firstEpoch < 1 || lastEpoch < firstEpoch || lastEpoch > NONCE_EPOCH_MAX) {
      return `the row of DEK ${dekId} and writer ${writerId} has epochs that cannot be`;
    }
  }
  return undefined;
}
