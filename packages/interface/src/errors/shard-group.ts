/** Error codes of the shard-group area: code to a one-line description. */
export const shardGroupErrors = {
  RAFTSEAL_SHARD_GROUP_NOT_LEADER: 'This node does not lead the shard; nothing was appended.',
  RAFTSEAL_SHARD_GROUP_OVERLOADED: 'The bounded queue of proposals is full; nothing was appended.',
  RAFTSEAL_SHARD_GROUP_OUTCOME_UNKNOWN:
    'An append ended without an answer; it may or may not be in the log.',
  RAFTSEAL_SHARD_GROUP_COMMAND_TOO_LARGE: 'A command exceeds what one log entry can carry.',
  RAFTSEAL_SHARD_GROUP_HALTED: 'The shard stopped applying after a fatal error and serves nothing.',
  RAFTSEAL_SHARD_GROUP_STOPPED: 'The shard was stopped.',
  RAFTSEAL_SHARD_GROUP_INDEX_GAP: 'The log delivered an index other than the next one.',
  RAFTSEAL_SHARD_GROUP_LOG_BEHIND: 'The log ends below what was applied from it.',
  RAFTSEAL_SHARD_GROUP_LOG_DIVERGED: 'The log has another entry where one was applied.',
  RAFTSEAL_SHARD_GROUP_CLEARTEXT_ABOVE_CUTOVER: 'An entry above the cutover is not sealed.',
  RAFTSEAL_SHARD_GROUP_CLEARTEXT_REFUSED:
    'An entry is in the clear, and the cluster reads nothing but what is sealed.',
  RAFTSEAL_SHARD_GROUP_SEALED_BELOW_CUTOVER: 'An entry at or below the cutover is sealed.',
  RAFTSEAL_SHARD_GROUP_MALFORMED_ENTRY: 'The body of a log entry does not have the format.',
  RAFTSEAL_SHARD_GROUP_OPEN_FAILED: 'A sealed log entry does not open.',
  RAFTSEAL_SHARD_GROUP_APPLY_FAILED: 'Applying a log entry failed.',
} as const;
