/** What a node still has, or may have, in the clear: asked of bounds and counts, without a walk. */
import type { NodeFoundations } from '../foundations.ts';
import type { NodeShard } from '../node-shard.ts';

export interface CleartextLeft {
  readonly nodeId: string;
  /** One line each; empty where nothing is left. */
  readonly left: readonly string[];
}

export type CleartextParts = Pick<NodeFoundations, 'keys' | 'logs' | 'shards'>;

export async function cleartextLeft(parts: CleartextParts): Promise<CleartextLeft> {
  const { nodeId, state } = parts.keys;
  const left: string[] = [];
  if (state.storageIndex === undefined) left.push('values are not sealed');
  for (const shard of parts.shards) left.push(...(await leftInShard(parts, shard)));
  return { nodeId, left };
}

/** @throws RAFTSEAL_ENGINE_* where the log is out of reach */
export async function leftInShard(
  { keys, logs }: Pick<CleartextParts, 'keys' | 'logs'>,
  { shardId, group, kv }: NodeShard,
): Promise<readonly string[]> {
  const where = `shard ${shardId}`;
  if (group.state === 'halted' || group.state === 'restoring' || group.state === 'stopped') {
    return [`${where}: is ${group.state}`];
  }
  const cutoverIndex = keys.state.cutoverIndex.get(shardId);
  if (cutoverIndex === undefined) return [`${where}: its log is not cut over`];
  const { firstIndex } = await logs.engine(shardId).bounds();
  const { rowsCleartext, cleartextLeft: inFreePages, durableIndex } = kv.statistics();
  const left: string[] = [];
  if (firstIndex <= cutoverIndex) {
    const count = cutoverIndex - firstIndex + 1n;
    left.push(`${where}: ${count} entries of its log, from ${firstIndex} to ${cutoverIndex}`);
  }
  if (durableIndex <= cutoverIndex) {
    left.push(`${where}: its store has not come past the cutover at ${cutoverIndex}`);
  }
  if (rowsCleartext > 0) left.push(`${where}: ${rowsCleartext} rows`);
  if (inFreePages) left.push(`${where}: free pages of its store, perhaps`);
  return left;
}
