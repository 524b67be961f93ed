/**
 * `RotateDek`: a new active DEK; the older ones stay, to open what they sealed.
 *
 * Every known writer is registered under the new DEK at epoch 1 by the same entry, so that no
 * leader, this one or the next, is ever unable to seal after a rotation. As for `Bootstrap`, no
 * process can have sealed under a key that did not exist.
 *
 * The index DEK is not rotated: it names the stored rows, and under another one no row would be
 * found. Leaders do not propose it. In a log it is fatal rather than ignored: only a release that
 * can rename rows would have put it there, and a replica that ignored it would name its rows
 * otherwise than the others.
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
  const { purpose, dekId } = entry;
  if (purpose === 'index') {
    throw fatalError(
      'RAFTSEAL_APPLIER_INDEX_DEK_ROTATION',
      `expected a storage or raft DEK to be rotated; found the index DEK, to ${dekId}. ` +
        'Start a release that can rename rows, if one proposed this.',
    );
  }
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
  };
  return {
    outcome: { kind: 'applied' },
    fields,
    keys: new Map([[dekId, record]]),
    rows: firstRows(registry, { dekId, writerIds: state.writers.keys() }),
    installs: purpose === 'raft' ? installsOf({ ...state, ...fields }) : [],
  };
}
