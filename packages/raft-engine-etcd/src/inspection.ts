/** A look at one log, without a session: for tools and tests. */
import type { LogEntry } from '@raftseal/interface';
import { kindOf } from './call-error.ts';
import { EtcdClient } from './client.ts';
import { readEntries } from './entry-reader.ts';
import { raftsealErrorOf } from './errors.ts';
import { Keys } from './keys.ts';
import { findBounds, readRevision } from './log-bounds.ts';
import { checkAccess, checkPrefix, checkShardId, type EtcdAccess } from './options.ts';
import { WatchHub } from './watch-hub.ts';

const PATIENCE_MS = 10_000;

/**
 * The entries of a shard's log from its first to its head, as they are at one moment. Changes
 * nothing, and needs no permission to write.
 * @throws RAFTSEAL_ENGINE_CORRUPT (fatal) for an entry that is damaged or missing;
 *   RAFTSEAL_ENGINE_TRUNCATED where it is truncated meanwhile; RAFTSEAL_ENGINE_UNAVAILABLE,
 *   RAFTSEAL_ENGINE_ACCESS_DENIED
 */
export async function* inspectEtcdLog(
  access: EtcdAccess,
  prefix: string,
  shardId: number,
): AsyncGenerator<LogEntry, void, void> {
  const keys = new Keys(checkPrefix(prefix));
  checkShardId(shardId);
  const client = new EtcdClient(checkAccess(access), () => {});
  const { closing } = client;
  const hub = new WatchHub(client, () => {});
  try {
    const latest = (): Promise<bigint> =>
      readRevision({ client, keys }, { patienceMs: PATIENCE_MS });
    const headHint = (): bigint => 0n;
    const parts = { client, keys, shardId, latest, hub, closed: closing, headHint };
    const { floor } = await findBounds(parts, { hint: 0n, patienceMs: PATIENCE_MS });
    const request = { from: floor + 1n, follow: false };
    for await (const entries of readEntries(parts, request)) yield* entries;
  } catch (error) {
    if (kindOf(error) === undefined) throw error;
    throw raftsealErrorOf(`the log of shard ${shardId} cannot be read`, error);
  } finally {
    client.close();
  }
}
