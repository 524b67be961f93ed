/**
 * Turns logs over: each log gets an entry that changes nothing, sealed under the DEK that is active
 * by now, and everything before it is brought to the store's disk, so that it can be truncated. A
 * shard that nobody writes to would otherwise keep its last entries, and their DEK, for ever.
 */
import { codeOf } from '@raftseal/interface';
import type { NodeLogs } from '../node-logs.ts';
import type { NodeShard } from '../node-shard.ts';

export interface TurnOverParts {
  readonly shards: readonly NodeShard[];
  readonly logs: NodeLogs;
}

/**
 * Appends where this node leads, and flushes everywhere.
 * @returns ids of the shards whose entry is applied here: no append from before is under way there
 */
export async function turnOverLogs({ shards, logs }: TurnOverParts): Promise<readonly number[]> {
  const turned: number[] = [];
  for (const shard of shards) {
    if (shard.isServing && (await appended(shard))) turned.push(shard.shardId);
    if (shard.isHalted) continue;
    await shard.kv.flush();
    await shard.truncateOwn();
  }
  await logs.dropTruncated();
  return turned;
}

/** False where the shard has another leader by now, or none: it is asked too. */
async function appended(shard: NodeShard): Promise<boolean> {
  try {
    await shard.proposeNothing();
    return true;
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return false;
  }
}
