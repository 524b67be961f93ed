/**
 * `RotateDek`: a new active DEK; the older ones stay, to open what they sealed.
 *
 * Every known writer is registered under the new DEK at epoch 1 by the same entry, so that no
 * leader, this one or the next, is ever unable to seal after a rotation. As for `Bootstrap`, no
 * process can have sealed under a key that did not exist.
 *
 * An index DEK seals nothing, so nobody registers under it. It brings the keys of the cluster along,
 * which rows are named with, so that no row is renamed; whether they are the same ones is looked at
 * as the DEK is loaded, before anything is durable.
 */
import { fatalError, type KeyState } from '@raftseal/interface';
import { isSameKey, newRecord } from './bootstrap.ts';
import { type Change, installsOf, type TransitionContext } from './effect.ts';
import type { RotateDekEntry } from './entry.ts';
import { firstRows, writerIdOf } from './writer-registry.ts';

export function rotateDek(
  state: KeyState,
  { registry }: TransitionContext,
  entry: RotateDekEntry,
): Change {
  const { purpose, dekId, sealedClusterKeys } = entry;
  if (state.retired.has(dekId)) {
    throw fatalError(
      'RAFTSEAL_APPLIER_DEK_CONFLICT',
      `expected a new DEK id for the ${purpose} key; found ${dekId}, which a retired key had.`,
    );
  }
  const existing = state.keys.get(dekId);
  if (existing !== undefined) {
    // A repetition never makes an older key active again.
    if (isSameKey(existing, entry)) {
      return { outcome: { kind: 'no-op', reason: 'already-rotated' } };
    }
    throw fatalError(
      'RAFTSEAL_APPLIER_DEK_CONFLICT',
      `expected a new DEK id for the ${purpose} key; found that ${dekId} is another key's.`,
    );
  }
  const ownWriterId = writerIdOf(state.writers, state.nodeId);
  const ownRow = ownWriterId === undefined ? undefined : registry.row(dekId, ownWriterId);
  const record = newRecord(entry, ownRow?.lastEpoch);
  const fields = {
    keys: new Map(state.keys).set(dekId, record),
    activeDekId: { ...state.activeDekId, [purpose]: dekId },
    ...(sealedClusterKeys && { sealedClusterKeys: Uint8Array.from(sealedClusterKeys) }),
  };
  const writerIds = purpose === 'index' ? [] : state.writers.keys();
  return {
    outcome: { kind: 'applied' },
    fields,
    keys: new Map([[dekId, record]]),
    rows: firstRows(registry, { dekId, writerIds }),
    installs: purpose === 'raft' ? installsOf({ ...state, ...fields }) : [],
  };
}
