/** What a log is checked for before a start replays it. */
import { type RaftEngine, RaftsealError } from '@raftseal/interface';
import { checkKeyStateAge, type ShardAge } from './key-state-age.ts';

/**
 * @returns the head of the log
 * @throws RAFTSEAL_NODE_LOG_BEHIND_STORE, RAFTSEAL_NODE_SIDECAR_BEHIND_LOG, RAFTSEAL_ENGINE_*
 */
export async function checkLog(engine: RaftEngine, shard: ShardAge): Promise<bigint> {
  const { headIndex } = await engine.bounds();
  if (headIndex < shard.durableIndex) throw logBehindStore(shard, headIndex);
  await checkKeyStateAge(engine, shard);
  return headIndex;
}

/** Entries that the store has seen are gone: the log was deleted, or is an older copy. */
function logBehindStore({ shardId, durableIndex }: ShardAge, headIndex: bigint): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_LOG_BEHIND_STORE',
    `the log of shard ${shardId} ends at ${headIndex} and its store has applied ${durableIndex}: ` +
      'the log was deleted or is an older copy; restore the whole data directory',
  );
}
