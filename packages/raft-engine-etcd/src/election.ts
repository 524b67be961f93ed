/**
 * Elections of one shard. The leader key is created by a transaction that insists on there being
 * none, and on this process's presence; its create revision is the term.
 *
 * The head is read at the very revision of that transaction. Every append of an earlier term
 * insists on an earlier leader key: it is in the log by then, or never will be.
 */
import type { Candidacy } from '@raftseal/interface';
import { kindOf } from './call-error.ts';
import { raftsealErrorOf } from './errors.ts';
import type { Claim, Leaders } from './leaders.ts';
import { type BoundsParts, findBounds } from './log-bounds.ts';
import type { HeldLease, Session } from './session.ts';
import { isAbsent, isCreatedAt, put } from './transaction.ts';
import { sleep } from './waiting.ts';

export interface ElectionParts extends BoundsParts {
  readonly session: Session;
  readonly leaders: Leaders;
  readonly nodeId: string;
  readonly headHint: () => bigint;
}

export interface Won {
  readonly term: bigint;
  readonly headIndex: bigint;
}

const RETRY_DELAY_MS = 100;
/** While another node leads, this one may lose its session, or its identity. */
const LOOK_EVERY_MS = 1_000;

/**
 * Waits until this node is elected.
 * @param claimOf called as soon as the term is won; its claim stands from then on.
 * @throws the signal's reason, with the key given back should it be won all the same;
 *   RAFTSEAL_ENGINE_DISPLACED, RAFTSEAL_ENGINE_CLOSED; RAFTSEAL_ENGINE_CORRUPT (fatal)
 */
export async function standForElection<C extends Claim>(
  parts: ElectionParts,
  signal: AbortSignal,
  candidacy: Candidacy | undefined,
  claimOf: (won: Won) => C,
): Promise<C> {
  const { leaders, session, shardId } = parts;
  for (;;) {
    const lease = await session.held(signal);
    if (leaders.holder(shardId) !== undefined) {
      await leaders.change(LOOK_EVERY_MS, signal);
      continue;
    }
    const yieldMs = candidacy?.yieldMs?.() ?? 0;
    if (yieldMs > 0 && !(await staysFree(parts, yieldMs, signal))) continue;
    const claim = await tryOnce(parts, lease, signal, claimOf);
    if (claim !== undefined) return claim;
    // Another node was faster, or etcd is out of reach.
    await leaders.change(RETRY_DELAY_MS, signal);
  }
}

async function staysFree(
  { leaders, shardId }: ElectionParts,
  forMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const untilMs = performance.now() + forMs;
  for (;;) {
    const leftMs = untilMs - performance.now();
    if (leaders.holder(shardId) !== undefined || signal.aborted) return false;
    if (leftMs <= 0) return true;
    await leaders.change(leftMs, signal);
  }
}

async function tryOnce<C extends Claim>(
  parts: ElectionParts,
  lease: HeldLease,
  signal: AbortSignal,
  claimOf: (won: Won) => C,
): Promise<C | undefined> {
  const { client, keys, leaders, session, shardId, nodeId } = parts;
  const key = keys.leader(shardId);
  let claim: C | undefined;
  leaders.standFor(shardId);
  try {
    const { succeeded, header } = await client.call('KV.Txn', {
      compare: [isAbsent(key), isCreatedAt(keys.node(nodeId), lease.presenceRevision)],
      success: [put(key, Buffer.from(nodeId), lease.id)],
    });
    if (!succeeded) return undefined;
    const term = BigInt(header.revision);
    const options = { hint: parts.headHint(), revision: term, signal };
    const { head } = await findBounds(parts, options);
    signal.throwIfAborted();
    if (session.lease !== lease || !session.isCurrent()) return undefined;
    claim = claimOf({ term, headIndex: head });
    return claim;
  } catch (error) {
    if (kindOf(error) === undefined) throw error;
    if (kindOf(error) === 'unavailable') return undefined;
    await sleep(10 * RETRY_DELAY_MS, signal);
    signal.throwIfAborted();
    if (client.closing.aborted) throw raftsealErrorOf('the election is over', error);
    return undefined;
  } finally {
    leaders.endElection(shardId, claim);
  }
}
