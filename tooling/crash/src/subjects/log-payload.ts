/** What stands in the entries of a log: bytes that only this entry of this shard has. */

export const LOG_SHARDS: readonly number[] = [0, 1];
export const LOG_SEGMENT_BYTES: number = 16 * 1024;

export function payloadOf(shardId: number, index: bigint, byteLength: number): Buffer {
  return Buffer.alloc(byteLength, `shard ${shardId} entry ${index} `);
}
