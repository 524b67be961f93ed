/** Counters of the Redis front end since its start. */
export interface RedisStatistics {
  commands: number;
  connectionsAccepted: number;
  /** Refused because of `clientsMax` or protected mode. */
  connectionsRefused: number;
  protocolErrors: number;
  authFailures: number;
  /** Closed because of `outputBytesMax` or `clientsBytesMax`. */
  clientsEvicted: number;
  errorReplies: number;
  bytesReceived: number;
  bytesSent: number;
}

export function newStatistics(): RedisStatistics {
  return {
    commands: 0,
    connectionsAccepted: 0,
    connectionsRefused: 0,
    protocolErrors: 0,
    authFailures: 0,
    clientsEvicted: 0,
    errorReplies: 0,
    bytesReceived: 0,
    bytesSent: 0,
  };
}
