/** Which keys a backup needs. */
import type { ReplicatedKeyState } from '@raftseal/applier';
import type { BackupKey } from './manifest.ts';

/** What stored rows can be sealed and named under; ascending. */
export function neededKeys({ keys }: Pick<ReplicatedKeyState, 'keys'>): readonly BackupKey[] {
  return [...keys]
    .filter(([, { purpose }]) => purpose !== 'raft')
    .map(([dekId, { purpose }]) => ({ dekId, purpose }))
    .toSorted((a, b) => a.dekId - b.dekId);
}
