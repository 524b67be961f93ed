/** The backups whose keys are kept, as reports show them. */
import type { KeyState } from '@raftseal/interface';
import type { BackupStatus } from '../admin/operations.ts';

export function registeredBackups({ backups }: Pick<KeyState, 'backups'>): readonly BackupStatus[] {
  return [...backups].map(([backupId, { createdAtMs, dekIds }]) => ({
    backupId,
    createdAt: new Date(createdAtMs).toISOString(),
    dekIds,
  }));
}
