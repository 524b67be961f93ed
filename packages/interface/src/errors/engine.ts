/** Error codes of the engine area: code to a one-line description. */
export const engineErrors = {
  RAFTSEAL_ENGINE_ACCESS_DENIED:
    'The log refuses what this node may do: user, password, certificate.',
  RAFTSEAL_ENGINE_CLOSED: 'The engine was closed; open it again to use the log.',
  RAFTSEAL_ENGINE_CORRUPT: 'Bytes of the log that were durable are damaged or missing.',
  RAFTSEAL_ENGINE_DISPLACED:
    'Another process has taken over as this node; this one never leads again.',
  RAFTSEAL_ENGINE_FLUSH_FAILED: 'A write or flush of the log failed; the engine takes no append.',
  RAFTSEAL_ENGINE_FORMAT: 'A segment file is of a format that this version does not know.',
  RAFTSEAL_ENGINE_IDENTITY_IN_USE: 'Another process runs with the identity of this node.',
  RAFTSEAL_ENGINE_LOCKED: 'Another process has the log directory open.',
  RAFTSEAL_ENGINE_NO_SPACE: 'The log has no space left, or nearly so; it takes no entry.',
  RAFTSEAL_ENGINE_PAYLOAD_TOO_LARGE: 'The payload is above the payload limit of the engine.',
  RAFTSEAL_ENGINE_SHARD_UNKNOWN: 'The log holds a shard that it was not opened for, or lacks one.',
  RAFTSEAL_ENGINE_TRUNCATED: 'The entries asked for lie below the first index of the log.',
  RAFTSEAL_ENGINE_UNAVAILABLE: 'The log cannot be reached at the moment.',
} as const;
