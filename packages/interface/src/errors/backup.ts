/** Error codes of the backup area: code to a one-line description. */
export const backupErrors = {
  RAFTSEAL_BACKUP_BEHIND: 'A shard of this node did not come as far as its log in time.',
  RAFTSEAL_BACKUP_DIRECTORY:
    'The directory of a backup cannot be used, or is not empty where a new one was to be made.',
  RAFTSEAL_BACKUP_INVALID: 'A backup is incomplete, damaged, changed, or of an unknown format.',
  RAFTSEAL_BACKUP_NOT_SEALED: 'There are values in the clear: a backup holds none.',
  RAFTSEAL_BACKUP_NO_SPACE: 'The disk has no room for a backup, or for what is restored from one.',
  RAFTSEAL_BACKUP_OVERTAKEN: 'Keys were rotated again and again while a backup was begun.',
  RAFTSEAL_BACKUP_RESTORE_DIFFERS: 'What was restored is not what the backup holds.',
  RAFTSEAL_BACKUP_RESTORE_TARGET: 'A backup was to be restored to a place that holds data.',
  RAFTSEAL_BACKUP_RESTORE_UNFINISHED: 'A restore to this data directory has not finished.',
  RAFTSEAL_BACKUP_UNDER_WAY: 'This node is taking another backup.',
  RAFTSEAL_BACKUP_UNKNOWN: 'No backup of this id is registered.',
} as const;
