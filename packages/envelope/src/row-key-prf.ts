/**
 * The names that keys have on disk: HMAC-SHA-256 over `shardId(4, big-endian) | key`, under one of
 * the cluster keys, which stay the same when the index DEK is rotated. Without them a name says
 * nothing about its key, and equal keys of two shards have two names.
 */
import { type Bytes, Mac } from '#crypto';
import { isU32, writeU32 } from './big-endian.ts';
import type { ClusterKeys } from './cluster-keys.ts';

export class RowKeyPrf {
  readonly #mac: Mac;
  readonly #shardId = new Uint8Array(4);

  constructor(clusterKeys: ClusterKeys) {
    const macKey = clusterKeys.rowNameKey();
    this.#mac = new Mac(macKey);
    macKey.fill(0);
  }

  /**
   * @param shardId u32
   * @param key of any length; not kept
   * @returns 32 bytes, the caller's to keep
   * @throws RangeError
   */
  rowKey(shardId: number, key: Uint8Array): Bytes {
    if (!isU32(shardId)) {
      throw new RangeError(`shardId must be an unsigned 32-bit integer: ${shardId}`);
    }
    writeU32(this.#shardId, 0, shardId);
    return this.#mac.of(this.#shardId, key);
  }
}
