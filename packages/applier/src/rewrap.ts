/**
 * `RewrapDeks`: the same keys under other KEKs. The DEKs themselves stay, so nothing is loaded: a
 * replica whose KEK is out of reach when the entry is applied goes on with what it has in memory.
 */
import { fatalError, type KeyState } from '@raftseal/interface';
import { copyOfWraps, isSameWraps } from './bootstrap.ts';
import type { Change } from './effect.ts';
import type { RewrapDeksEntry } from './entry.ts';

export function rewrapDeks(state: KeyState, entry: RewrapDeksEntry): Change {
  const keys = new Map(state.keys);
  let changes = false;
  for (const { dekId, wraps } of entry.keys) {
    const key = state.keys.get(dekId);
    if (key === undefined) {
      // A retirement overtook the request: for the others it stands.
      if (state.retired.has(dekId)) continue;
      throw fatalError(
        'RAFTSEAL_APPLIER_DEK_UNKNOWN',
        `expected wraps of a DEK of this cluster; found DEK ${dekId}.`,
      );
    }
    if (isSameWraps(key.wraps, wraps)) continue;
    keys.set(dekId, { ...key, wraps: copyOfWraps(wraps) });
    changes = true;
  }
  if (!changes) return { outcome: { kind: 'no-op', reason: 'already-wrapped' } };
  return { outcome: { kind: 'applied' }, fields: { keys } };
}
