/**
 * `EnableStorage` and `EnableRaft`: the one-way switches to sealed values and sealed logs; and
 * `EnableSealedOnly`, the one after which nothing else is read any more.
 *
 * Their tests are in opposite orders, and must be. `EnableStorage` installs nothing, so that a
 * stale DEK is reported first: its proposer has to ask again. `EnableRaft` asks first whether the
 * cutover is recorded, because a repetition after a rotation names a DEK that is stale by then, and
 * leaving without an install would leave this node's wrap off above the cutover.
 *
 * A marker outside of the control shard is never stale. Rotations are entries of another log, and
 * how far that log is applied when the marker is differs between replicas: one that compared the
 * marker's DEK with its active one could ignore a marker that another obeyed. `controlIndex` makes
 * sure that the DEK is there; the wrap then seals with whichever raft DEK is active here, which any
 * replica can open.
 */
import { CONTROL_SHARD, fatalError, type KeyState } from '@raftseal/interface';
import { type Change, type Install, installsOf, type TransitionContext } from './effect.ts';
import type { EnableRaftEntry, EnableStorageEntry } from './entry.ts';

const staleDek: Change = { outcome: { kind: 'no-op', reason: 'stale-dek' } };

export function enableStorage(
  state: KeyState,
  { index }: TransitionContext,
  { dekId }: EnableStorageEntry,
): Change {
  if (dekId !== state.activeDekId.storage) return staleDek;
  if (state.storageIndex !== undefined) {
    return { outcome: { kind: 'no-op', reason: 'already-active' } };
  }
  return { outcome: { kind: 'applied' }, fields: { storageIndex: index } };
}

export function enableRaft(
  state: KeyState,
  { shardId, index }: TransitionContext,
  entry: EnableRaftEntry,
): Change {
  if (state.cutoverIndex.has(shardId)) {
    return {
      outcome: { kind: 'no-op', reason: 'already-active' },
      installs: installsFor(state, shardId),
    };
  }
  const { dekId, waves } = entry;
  if (shardId === CONTROL_SHARD && dekId !== state.activeDekId.raft) return staleDek;
  if (shardId !== CONTROL_SHARD) checkMarker(state, entry);
  const fields = {
    cutoverIndex: new Map(state.cutoverIndex).set(shardId, index),
    ...(waves === undefined ? {} : { cutoverIntent: { controlIndex: index, waves } }),
  };
  return {
    outcome: { kind: 'applied' },
    fields,
    installs: installsFor({ ...state, ...fields }, shardId),
  };
}

/** The leader has verified that nothing is left in the clear; the state shows the switches only. */
export function enableSealedOnly(state: KeyState, { index }: TransitionContext): Change {
  if (state.sealedOnlyIndex !== undefined) {
    return { outcome: { kind: 'no-op', reason: 'already-active' } };
  }
  if (state.storageIndex === undefined || !state.cutoverIndex.has(CONTROL_SHARD)) {
    throw fatalError(
      'RAFTSEAL_APPLIER_NOT_SEALED',
      'expected values and logs to be sealed before nothing else is read; found that they are ' +
        'not. Enable encryption first.',
    );
  }
  return { outcome: { kind: 'applied' }, fields: { sealedOnlyIndex: index } };
}

function installsFor(state: KeyState, shardId: number): Install[] {
  return installsOf(state).filter((install) => install.shardId === shardId);
}

/**
 * A marker follows a request: at or above it on the control shard, and not above what this replica
 * has applied there (the runner waits for that before it calls).
 */
function checkMarker(state: KeyState, { dekId, controlIndex }: EnableRaftEntry): void {
  const controlApplied = state.appliedIndex.get(CONTROL_SHARD) ?? 0n;
  const requestedAt = state.cutoverIntent?.controlIndex;
  if (requestedAt === undefined || controlIndex < requestedAt || controlIndex > controlApplied) {
    throw fatalError(
      'RAFTSEAL_APPLIER_CONTROL_INDEX',
      `expected a marker whose controlIndex is from the cutover request (${requestedAt ?? 'none'}) ` +
        `to the applied index of the control shard (${controlApplied}); found ${controlIndex}.`,
    );
  }
  // Its DEK may be retired by now, on a replica that is ahead with the control shard.
  const key = state.keys.get(dekId) ?? state.retired.get(dekId);
  if (key?.purpose === 'raft') return;
  throw fatalError(
    'RAFTSEAL_APPLIER_DEK_UNKNOWN',
    `expected a marker with a raft DEK of this cluster; found DEK ${dekId}.`,
  );
}
