/**
 * How a store seals its rows without knowing keys, DEKs or nonces. What stands on disk is a row
 * key (a keyed pseudo-random name) and an envelope; the logical key travels inside the envelope.
 */
export interface RowSeal {
  /** The DEK that `seal` uses from now on; undefined while it can use none. */
  readonly activeDekId: number | undefined;

  /**
   * True while nothing is to be begun that seals rows, and what has begun may end: the key is nearly
   * used up, and another one is to follow. Left out: never.
   */
  readonly isUsedUp?: boolean;

  /**
   * The name a key has on disk: a keyed PRF of shard and key. Deterministic for the life of the
   * cluster; says nothing about the key to who lacks the cluster's keys.
   * @returns 32 bytes, the caller's to keep.
   */
  rowKey(shardId: number, key: Uint8Array): Buffer;

  /**
   * Seals the content of one row, bound to cluster, shard, row key and header.
   * @param header 9 bytes: authenticated, and stored in the clear beside the envelope.
   * @param plaintext stays unchanged; not kept.
   * @throws RAFTSEAL_ENVELOPE_* where no nonce can be drawn.
   */
  seal(shardId: number, rowKey: Uint8Array, header: Uint8Array, plaintext: Uint8Array): Buffer;

  /**
   * Opens what `seal` made for the same shard, row key and header.
   * @throws RAFTSEAL_ENVELOPE_* where anything differs; nothing is returned before the tag is
   *   checked.
   */
  open(shardId: number, rowKey: Uint8Array, header: Uint8Array, envelope: Uint8Array): Buffer;

  /**
   * The DEK that an envelope names: what has to be there to open it. Not authenticated.
   * @throws RAFTSEAL_ENVELOPE_* where the bytes do not begin as an envelope of a row does.
   */
  dekIdOf(envelope: Uint8Array): number;
}
