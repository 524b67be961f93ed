/** Error codes of the kv area: code to a one-line description. */
export const kvErrors = {
  RAFTSEAL_KV_CHECKPOINTS_HELD: 'Checkpoints are held back, and what was asked for needs one.',
  RAFTSEAL_KV_CLEARTEXT_REFUSED:
    'A store holds something in the clear, and the cluster reads nothing but what is sealed.',
  RAFTSEAL_KV_CLOSED: 'The state machine is closed.',
  RAFTSEAL_KV_COMMAND_MALFORMED: 'A log entry does not hold a command that this version knows.',
  RAFTSEAL_KV_COMMIT_FAILED: 'A checkpoint could not be committed: no further one is tried.',
  RAFTSEAL_KV_OPEN_FAILED: 'The files of a store could not be opened or made.',
  RAFTSEAL_KV_ROW_CORRUPT: 'A stored row does not open, or is not the row of its key.',
  RAFTSEAL_KV_ROW_FORGED: 'A row in the clear was added to a store whose rows are all sealed.',
  RAFTSEAL_KV_SEAL_REQUIRED: 'The store holds sealed rows and was opened without a seal.',
  RAFTSEAL_KV_SNAPSHOT_INVALID: 'A snapshot is damaged, forged or cut, or not the one expected.',
  RAFTSEAL_KV_SNAPSHOT_STALE: 'A snapshot is of an index that is durable already.',
  RAFTSEAL_KV_STORE_CORRUPT: 'The file of a store is damaged, and cannot be opened.',
  RAFTSEAL_KV_STORE_MISMATCH: 'The store belongs to another shard or cluster.',
  RAFTSEAL_KV_STORE_SEALED_ONLY:
    'The store is sealed-only and was opened as if it might hold something in the clear.',
  RAFTSEAL_KV_STORE_VERSION: 'The store has a format version that this version does not know.',
} as const;
