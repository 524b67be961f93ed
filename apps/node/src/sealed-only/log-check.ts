/** What the log of a sealed-only cluster is checked for before a start replays it. */
import { fatalError, type RaftEngine } from '@raftseal/interface';

/**
 * Nothing at or below a cutover was left in any log when the cluster became sealed-only. A log that
 * reaches back to it is an older copy, or forged: nothing of it is replayed.
 * @throws fatal RAFTSEAL_SHARD_GROUP_CLEARTEXT_REFUSED
 */
export async function checkLogSealedOnly(
  engine: RaftEngine,
  shard: { readonly shardId: number; readonly cutoverIndex: bigint | undefined },
): Promise<void> {
  const { firstIndex } = await engine.bounds();
  const { shardId, cutoverIndex } = shard;
  if (cutoverIndex === undefined || firstIndex > cutoverIndex) return;
  throw fatalError(
    'RAFTSEAL_SHARD_GROUP_CLEARTEXT_REFUSED',
    `the log of shard ${shardId} was expected to begin above its cutover at ${cutoverIndex}, since ` +
      `the cluster is sealed-only; it begins at ${firstIndex}: it is an older copy, or was forged; ` +
      'restore the whole data directory, or rebuild the node',
  );
}
