/**
 * `Bootstrap`: the cluster's identity, first keys and first writers. Once: an identical entry (two
 * leaders proposed the same request) is a no-op, any other is fatal.
 *
 * Every first writer is registered at epoch 1 under the storage and the raft DEK, so that it can
 * seal at once. That is safe: no process can have sealed under a key before the key existed, and
 * epoch 1 is handed out for the key's first process only (see key-lifecycle.ts). The index DEK
 * names rows (a keyed PRF) and draws no nonces: nobody registers under it.
 */
import { fatalError, type KeyRecord, type KeyState, type WrappedKey } from '@raftseal/interface';
import type { Change, TransitionContext } from './effect.ts';
import type { BootstrapEntry, NewKey } from './entry.ts';
import { isSameBytes } from './same-bytes.ts';
import { firstRows, writerIdOf } from './writer-registry.ts';

export function bootstrap(
  state: KeyState,
  { registry }: TransitionContext,
  entry: BootstrapEntry,
): Change {
  if (state.clusterId !== undefined) {
    if (isRepeated(state, entry)) {
      return { outcome: { kind: 'no-op', reason: 'already-bootstrapped' } };
    }
    throw fatalError(
      'RAFTSEAL_APPLIER_ALREADY_BOOTSTRAPPED',
      'expected one Bootstrap entry; found another with other content. To change keys, rotate.',
    );
  }
  const writers = new Map(entry.writers.map((nodeId, at) => [at + 1, nodeId]));
  const ownWriterId = writerIdOf(writers, state.nodeId);
  const keys = new Map<number, KeyRecord>();
  const rows = [];
  const activeDekId = { storage: 0, raft: 0, index: 0 };
  for (const key of entry.keys) {
    const ownRow = ownWriterId === undefined ? undefined : registry.row(key.dekId, ownWriterId);
    keys.set(key.dekId, newRecord(key, ownRow?.lastEpoch));
    activeDekId[key.purpose] = key.dekId;
    if (key.purpose === 'index') continue;
    rows.push(...firstRows(registry, { dekId: key.dekId, writerIds: writers.keys() }));
  }
  const clusterId = Uint8Array.from(entry.clusterId);
  return {
    outcome: { kind: 'applied' },
    fields: { clusterId, keys, writers, activeDekId },
    keys,
    rows,
  };
}

/**
 * The record of a new key. The nonce epoch is 1, and higher where this node's row says so: then
 * the sidecar was lost, and the row remembers.
 */
export function newRecord(key: NewKey, ownLastEpoch = 0): KeyRecord {
  const { purpose, createdAtMs } = key;
  return {
    purpose,
    wraps: copyOfWraps(key.wraps),
    createdAtMs,
    nonceEpoch: purpose === 'index' ? 0 : Math.max(1, ownLastEpoch),
  };
}

/** Of what an entry, or another node, brought; the bytes are the caller's. */
export function copyOfWraps(wraps: readonly WrappedKey[]): WrappedKey[] {
  return wraps.map(({ kekUri, bytes }) => ({ kekUri, bytes: Uint8Array.from(bytes) }));
}

/** True where the record is what the entry's key became. */
export function isSameKey(record: Omit<KeyRecord, 'nonceEpoch'> | undefined, key: NewKey): boolean {
  return (
    record !== undefined &&
    record.purpose === key.purpose &&
    record.createdAtMs === key.createdAtMs &&
    isSameWraps(record.wraps, key.wraps)
  );
}

export function isSameWraps(some: readonly WrappedKey[], others: readonly WrappedKey[]): boolean {
  return (
    some.length === others.length &&
    some.every(({ kekUri, bytes }, at) => {
      const other = others[at];
      return other !== undefined && other.kekUri === kekUri && isSameBytes(other.bytes, bytes);
    })
  );
}

/** Compared with the keys themselves, not with the active ones: rotations may have followed. */
function isRepeated(state: KeyState, entry: BootstrapEntry): boolean {
  return (
    state.clusterId !== undefined &&
    isSameBytes(state.clusterId, entry.clusterId) &&
    entry.keys.every((key) => isSameKey(state.keys.get(key.dekId), key)) &&
    entry.writers.every((nodeId, at) => state.writers.get(at + 1) === nodeId)
  );
}
