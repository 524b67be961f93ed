/**
 * Notices a key state that is older than the log: a sidecar restored from a copy of before the
 * cutover. Replay alone would not, since it begins above what the store has applied; the shard
 * would be cut over a second time, with sealed entries below its new cutover.
 */
import { codeOf, type LogEntry, type RaftEngine, RaftsealError } from '@raftseal/interface';
import { TAG_SEALED } from '@raftseal/shard-group';

export interface ShardAge {
  readonly shardId: number;
  /** What the store has applied; the entries above it are replayed. */
  readonly durableIndex: bigint;
  /** As the key state has it. */
  readonly cutoverIndex: bigint | undefined;
}

/**
 * Looks at the last entry that is not replayed, if the log still has it.
 * @throws RAFTSEAL_NODE_SIDECAR_BEHIND_LOG
 */
export async function checkKeyStateAge(engine: RaftEngine, shard: ShardAge): Promise<void> {
  const { shardId, durableIndex, cutoverIndex } = shard;
  const { firstIndex, headIndex } = await engine.bounds();
  if (durableIndex < firstIndex || durableIndex > headIndex) return;
  if (cutoverIndex !== undefined && durableIndex > cutoverIndex) return;
  const entry = await entryAt(engine, durableIndex);
  if (entry?.payload[0] === TAG_SEALED) {
    throw new RaftsealError(
      'RAFTSEAL_NODE_SIDECAR_BEHIND_LOG',
      `entry ${durableIndex} of shard ${shardId} is sealed, and the key state knows of no cutover ` +
        'below it: the sidecar is an older copy; restore the whole data directory',
    );
  }
}

/** Undefined where another node has truncated the log meanwhile. */
async function entryAt(engine: RaftEngine, index: bigint): Promise<LogEntry | undefined> {
  try {
    for await (const [entry] of engine.read({ from: index, follow: false })) return entry;
  } catch (error) {
    if (codeOf(error) !== 'RAFTSEAL_ENGINE_TRUNCATED') throw error;
  }
  return undefined;
}
