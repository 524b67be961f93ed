/** Takes entries away from the front of a log, with the floor that tells where it begins. */
import { type BoundsAtRevision, type BoundsParts, readFloor, syncRevision } from './log-bounds.ts';
import type { Compare, TxnRequest } from './messages.ts';
import { holds, isAbsent, put, remove } from './transaction.ts';

/** Entries deleted by one transaction: the members do nothing else meanwhile. */
const STEP_ENTRIES = 2_000n;

export interface Truncation {
  readonly bounds: BoundsAtRevision;
  /** Not above the head. */
  readonly throughIndex: bigint;
  readonly signal: AbortSignal;
}

/** @throws what `EtcdClient.persist` throws. */
export async function truncateLog(
  parts: BoundsParts,
  { bounds, throughIndex, signal }: Truncation,
): Promise<void> {
  const options = { signal, patienceMs: 3 * parts.client.requestTimeoutMs };
  let { floor } = bounds;
  while (floor < throughIndex) {
    const step = floor + STEP_ENTRIES < throughIndex ? floor + STEP_ENTRIES : throughIndex;
    const { succeeded } = await parts.client.persist(
      'KV.Txn',
      stepRequest(parts, floor, step),
      options,
    );
    // Where it did not, another node has truncated meanwhile, or an earlier attempt of this one.
    if (succeeded) floor = step;
    else floor = await readFloor(parts, await syncRevision(parts, options), options);
  }
}

function stepRequest({ keys, shardId }: BoundsParts, from: bigint, to: bigint): TxnRequest {
  const key = keys.floor(shardId);
  const compare: Compare = from === 0n ? isAbsent(key) : holds(key, Buffer.from(from.toString()));
  const entries = remove(keys.entry(shardId, 0n), keys.entry(shardId, to + 1n));
  return { compare: [compare], success: [entries, put(key, Buffer.from(to.toString()))] };
}
