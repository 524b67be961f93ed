/** What the log tells of itself while it works. */

export type EtcdEventKind =
  /** A member does not answer: requests go to the next one. */
  | 'endpoint-left'
  /** The stream of changes broke off, or fell silent, and is opened again. */
  | 'watch-reopened'
  /** Too long without an answer: this node has given up its leaderships. */
  | 'session-lapsed'
  /** etcd has forgotten this node's lease, and with it its presence. */
  | 'session-lost'
  /** This node is present under a new lease. */
  | 'session-renewed'
  /** Another process runs as this node. */
  | 'displaced'
  /** This node leads the shard. */
  | 'elected'
  /** It leads the shard no more. */
  | 'reign-ended'
  /** etcd refuses what this node may do; it is tried again. */
  | 'access-denied'
  /** Appends are refused from here on, until `space-found`. */
  | 'space-low'
  | 'space-found';

export interface EtcdEvent {
  readonly kind: EtcdEventKind;
  readonly message: string;
  readonly shardId?: number;
}
