/** A key of each shard, found with what the server says of slots. */
import type { Redis } from 'ioredis';

const SLOT_COUNT = 16_384;

/** By shard id. Shards have consecutive slots, as many each as can be. */
export async function shardKeys(client: Redis, shardCount: number): Promise<readonly string[]> {
  const keys: string[] = [];
  for (let n = 0; keys.filter(Boolean).length < shardCount; n++) {
    const key = `writer:${n}`;
    const slot = await client.cluster('KEYSLOT', key);
    keys[Math.floor((slot * shardCount) / SLOT_COUNT)] ??= key;
  }
  return keys;
}
