/** What a log is checked for before a start replays it. */
import { type RaftEngine, RaftsealError } from '@raftseal/interface';
import { checkKeyStateAge, type ShardAge } from './key-state-age.ts';

/**
 * @returns the head of the log
 * @throws RAFTSEAL_NODE_LOG_BEHIND_STORE, RAFTSEAL_NODE_LOG_BEHIND_SIDECAR,
 *   RAFTSEAL_NODE_SIDECAR_BEHIND_LOG, RAFTSEAL_ENGINE_*
 */
export async function checkLog(engine: RaftEngine, shard: ShardAge): Promise<bigint> {
  const { headIndex } = await engine.bounds();
  if (headIndex < shard.durableIndex) throw logBehindStore(shard, headIndex);
  if (headIndex < appliedIndex(shard)) throw logBehindSidecar(shard, headIndex);
  await checkKeyStateAge(engine, shard);
  return headIndex;
}

function appliedIndex({ shardId, state }: ShardAge): bigint {
  return state.appliedIndex.get(shardId) ?? 0n;
}

/** Entries that the store has seen are gone: the log was deleted, or is an older copy. */
function logBehindStore({ shardId, durableIndex }: ShardAge, headIndex: bigint): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_LOG_BEHIND_STORE',
    `the log of shard ${shardId} ends at ${headIndex} and its store has applied ${durableIndex}: ` +
      'the log was deleted or is an older copy; put back the log that belongs to it, or restore a ' +
      'backup; nothing was changed',
  );
}

/** Log and store are older copies both: what was written since would be gone without a word. */
function logBehindSidecar(shard: ShardAge, headIndex: bigint): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_LOG_BEHIND_SIDECAR',
    `the log of shard ${shard.shardId} ends at ${headIndex} and the key state has applied entry ` +
      `${appliedIndex(shard)}: log and store are older copies than the sidecar; restore the whole ` +
      'data directory',
  );
}
