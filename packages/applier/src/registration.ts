/**
 * `Register`: the nonce epoch under which a node's process seals with a DEK. A node that is no
 * writer yet becomes one and gets the next free writer id.
 *
 * Rows take the highest epoch, whatever the order in which they learn of them. An epoch that is in
 * the row already is a no-op, or a node would halt on each replay. So is a lower one: rows can be
 * ahead of the log, where the sidecar was lost and they were not, or where they came with a
 * snapshot. It gives nobody an epoch: the process that claimed it sees the higher one in the row and
 * has to claim above. Leaders refuse it before they propose.
 */
import { fatalError, type KeyState, type WriterRow } from '@raftseal/interface';
import type { Change, TransitionContext } from './effect.ts';
import type { RegisterEntry } from './entry.ts';
import {
  firstRows,
  nextWriterId,
  registerEpoch,
  WRITER_ID_MAX,
  writerIdOf,
} from './writer-registry.ts';

export function register(
  state: KeyState,
  { registry }: TransitionContext,
  entry: RegisterEntry,
): Change {
  const { nodeId, dekId, epoch } = entry;
  if (state.retired.has(dekId)) return { outcome: { kind: 'no-op', reason: 'already-retired' } };
  checkRegistrable(state, entry);
  const knownId = writerIdOf(state.writers, nodeId);
  const writerId = knownId ?? nextWriterId(state.writers);
  if (writerId === undefined) {
    throw fatalError(
      'RAFTSEAL_APPLIER_WRITERS_EXHAUSTED',
      `expected a free writer id for ${nodeId}; all ${WRITER_ID_MAX} have been given.`,
    );
  }
  const change = registerEpoch(registry, { dekId, writerId, epoch });
  const lastEpoch = change.kind === 'lower' ? change.lastEpoch : epoch;
  const lasting = knownId === undefined ? lastingRows(state, registry, { dekId, writerId }) : [];
  const own = [{ dekId, lastEpoch }, ...lasting];
  const fields = {
    writers: knownId === undefined ? new Map(state.writers).set(writerId, nodeId) : state.writers,
    keys: nodeId === state.nodeId ? own.reduce(raiseEpoch, state.keys) : state.keys,
  };
  if (change.kind === 'lower') {
    return { outcome: { kind: 'no-op', reason: 'stale-epoch' }, fields };
  }
  if (change.kind === 'same' && knownId !== undefined) {
    return { outcome: { kind: 'no-op', reason: 'already-registered' }, fields };
  }
  return {
    outcome: { kind: 'applied' },
    fields,
    rows: [...(change.kind === 'same' ? [] : [change.row]), ...lasting],
  };
}

/**
 * Rows of a new writer under the active keys, whichever key it registers under: the registry has a
 * row of every writer, and keys that are not active are retired some day. Nobody has claimed the
 * epoch of these rows, so nobody seals under it.
 */
function lastingRows(
  { activeDekId }: KeyState,
  registry: TransitionContext['registry'],
  { dekId, writerId }: { readonly dekId: number; readonly writerId: number },
): WriterRow[] {
  return [activeDekId.storage, activeDekId.raft]
    .filter((active) => active !== dekId)
    .flatMap((active) => firstRows(registry, { dekId: active, writerIds: [writerId] }));
}

function checkRegistrable(state: KeyState, { dekId, nodeId }: RegisterEntry): void {
  const key = state.keys.get(dekId);
  if (key === undefined) {
    throw fatalError(
      'RAFTSEAL_APPLIER_DEK_UNKNOWN',
      `expected ${nodeId} to register under a DEK of this cluster; found DEK ${dekId}.`,
    );
  }
  if (key.purpose === 'index') {
    throw fatalError(
      'RAFTSEAL_APPLIER_DEK_PURPOSE',
      `expected ${nodeId} to register under a storage or raft DEK; DEK ${dekId} is for indexes.`,
    );
  }
}

/**
 * This node's own epoch follows its registrations: an epoch that the log knows was used by a
 * process of this node, whatever its sidecar remembers, so the next claim has to be above it.
 */
function raiseEpoch(
  keys: KeyState['keys'],
  { dekId, lastEpoch }: Pick<WriterRow, 'dekId' | 'lastEpoch'>,
): KeyState['keys'] {
  const key = keys.get(dekId);
  if (key === undefined || key.nonceEpoch >= lastEpoch) return keys;
  return new Map(keys).set(dekId, { ...key, nonceEpoch: lastEpoch });
}
