/**
 * `RetireDek`: a key that nothing needs any more is forgotten, by every replica at the same index.
 *
 * Whether something needs it is not in the key state: entries, snapshots, values and members are
 * looked at by the leader before it proposes. What is in the state is checked here once more.
 */
import { fatalError, type KeyState } from '@raftseal/interface';
import type { Change, TransitionContext } from './effect.ts';
import type { RetireDekEntry } from './entry.ts';

export function retireDek(
  state: KeyState,
  { index }: TransitionContext,
  { dekId }: RetireDekEntry,
): Change {
  const key = state.keys.get(dekId);
  if (key === undefined) {
    if (state.retired.has(dekId)) {
      return { outcome: { kind: 'no-op', reason: 'already-retired' } };
    }
    throw fatalError(
      'RAFTSEAL_APPLIER_DEK_UNKNOWN',
      `expected a DEK of this cluster to be retired; found DEK ${dekId}.`,
    );
  }
  const { purpose } = key;
  if (state.activeDekId[purpose] === dekId) {
    throw fatalError(
      'RAFTSEAL_APPLIER_DEK_ACTIVE',
      `expected an older DEK to be retired; found ${dekId}, the active one for ${purpose}: rotate ` +
        'it first.',
    );
  }
  for (const [backupId, { dekIds }] of state.backups) {
    if (!dekIds.includes(dekId)) continue;
    throw fatalError(
      'RAFTSEAL_APPLIER_DEK_IN_BACKUP',
      `expected a DEK that no backup needs; found that ${backupId} needs DEK ${dekId}. Forget the ` +
        'backup first.',
    );
  }
  const keys = new Map(state.keys);
  keys.delete(dekId);
  const retired = new Map(state.retired).set(dekId, { purpose, controlIndex: index });
  return { outcome: { kind: 'applied' }, fields: { keys, retired }, retired: [dekId] };
}
