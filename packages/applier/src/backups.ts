/**
 * `RegisterBackup` and `ForgetBackup`: a backup needs the keys that its files are sealed under, and
 * no file of the cluster says so. What is registered keeps them from being retired.
 */
import { fatalError, type KeyState } from '@raftseal/interface';
import type { Change } from './effect.ts';
import type { ForgetBackupEntry, RegisterBackupEntry } from './entry.ts';

export function registerBackup(
  state: KeyState,
  { backupId, createdAtMs, dekIds }: RegisterBackupEntry,
): Change {
  const known = state.backups.get(backupId);
  if (known !== undefined) {
    if (known.createdAtMs === createdAtMs && known.dekIds.join() === dekIds.join()) {
      return { outcome: { kind: 'no-op', reason: 'already-registered-backup' } };
    }
    throw fatalError(
      'RAFTSEAL_APPLIER_BACKUP_CONFLICT',
      `expected a backup id that no other backup has; found ${backupId} twice.`,
    );
  }
  const missing = dekIds.find((dekId) => !state.keys.has(dekId));
  if (missing !== undefined) {
    throw fatalError(
      'RAFTSEAL_APPLIER_DEK_UNKNOWN',
      `expected backup ${backupId} to need keys of this cluster; found DEK ${missing}.`,
    );
  }
  const backups = new Map(state.backups).set(backupId, { createdAtMs, dekIds: [...dekIds] });
  return { outcome: { kind: 'applied' }, fields: { backups } };
}

export function forgetBackup(state: KeyState, { backupId }: ForgetBackupEntry): Change {
  if (!state.backups.has(backupId)) return { outcome: { kind: 'no-op', reason: 'no-backup' } };
  const backups = new Map(state.backups);
  backups.delete(backupId);
  return { outcome: { kind: 'applied' }, fields: { backups } };
}
