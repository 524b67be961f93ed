/** Every request of the operator and what came of it; what it may be refused with. */
import { CommandFailure } from '../world/command.ts';
import { AdminRefusal } from '../world/node-admin.ts';

export type RequestKind =
  | 'rotate'
  | 'use-keks'
  | 'rewrap'
  | 'blockers'
  | 'retire'
  | 'back-up'
  | 'verify-backup'
  | 'forget-backup';

export interface Attempt {
  readonly request: RequestKind;
  /** Name of the node that was asked, or where else it was done. */
  readonly node: string;
  readonly beganAtMs: number;
  readonly endedAtMs: number;
  /** `done`, the code of a refusal, or how the answer failed to come. */
  readonly outcome: string;
  /** What a refusal says. */
  readonly message?: string;
}

/** What was sent may have been done. */
export const NO_ANSWER = 'no answer in time';
const LOST = 'connection lost';

/** While leaders change: any node may give these at any time. */
const passing: ReadonlySet<string> = new Set([
  'RAFTSEAL_ENGINE_UNAVAILABLE',
  'RAFTSEAL_NODE_NOT_CONTROL_LEADER',
  'RAFTSEAL_NODE_NOT_READY',
  'RAFTSEAL_NODE_PEER_UNAVAILABLE',
  'RAFTSEAL_NODE_WRITER_NOT_REGISTERED',
  'RAFTSEAL_SHARD_GROUP_NOT_LEADER',
  'RAFTSEAL_SHARD_GROUP_OUTCOME_UNKNOWN',
  'RAFTSEAL_SHARD_GROUP_OVERLOADED',
  'RAFTSEAL_SHARD_GROUP_STOPPED',
]);

const ofRequest: Readonly<Record<RequestKind, readonly string[]>> = {
  rotate: [],
  // A node that is behind has keys that are not wrapped under the new KEKs yet.
  'use-keks': ['RAFTSEAL_KEK_MISMATCH'],
  rewrap: ['RAFTSEAL_NODE_MEMBER_INCAPABLE'],
  // A node that has just started may lead, and does not know its rows yet.
  blockers: ['RAFTSEAL_KV_CHECKPOINTS_HELD'],
  retire: ['RAFTSEAL_NODE_DEK_NEEDED', 'RAFTSEAL_KV_CHECKPOINTS_HELD'],
  'back-up': ['RAFTSEAL_KV_CHECKPOINTS_HELD'],
  'verify-backup': [],
  // An answer that was lost, or a node that is behind.
  'forget-backup': ['RAFTSEAL_BACKUP_UNKNOWN'],
};

/** What a key service that is away refuses. */
const needsKek: ReadonlySet<RequestKind> = new Set([
  'rotate',
  'use-keks',
  'rewrap',
  'back-up',
  'verify-backup',
]);

export function isAllowed({ request, outcome }: Attempt, isKmsFaulty: boolean): boolean {
  if (!outcome.startsWith('RAFTSEAL_')) return [NO_ANSWER, LOST, 'done'].includes(outcome);
  if (passing.has(outcome) || ofRequest[request].includes(outcome)) return true;
  return isKmsFaulty && outcome === 'RAFTSEAL_KEK_UNAVAILABLE' && needsKek.has(request);
}

export function outcomeOfFailure(error: unknown): Pick<Attempt, 'outcome' | 'message'> {
  if (error instanceof AdminRefusal) {
    return { outcome: error.code ?? 'refused without a code', message: error.message };
  }
  if (!(error instanceof Error)) return { outcome: String(error) };
  if (error.name === 'TimeoutError') return { outcome: NO_ANSWER };
  if (error instanceof CommandFailure) {
    return { outcome: error.code ?? 'failed without a code', message: error.message };
  }
  // fetch says no more than that of a connection that fails or is not made.
  const isLost = error instanceof TypeError || error.name === 'AbortError';
  return { outcome: isLost ? LOST : error.name, message: error.message };
}

export interface Interval {
  readonly beganAtMs: number;
  readonly endedAtMs: number;
}

/**
 * Invariant 11 and no hang: what no fault explains among the attempts of a run.
 * @param faults of nodes: a key service that fails keeps no node from answering
 */
export function checkAttempts(
  attempts: readonly Attempt[],
  { faults, isKmsFaulty }: { readonly faults: readonly Interval[]; readonly isKmsFaulty: boolean },
): readonly string[] {
  return attempts.flatMap((attempt) => {
    const { request, node, outcome, message, beganAtMs, endedAtMs } = attempt;
    const place = `${request} at ${node}`;
    if (!isAllowed(attempt, isKmsFaulty)) {
      return [`${place} ended with ${outcome}, which it must not: ${message ?? ''}`];
    }
    const isExcused = faults.some(
      (fault) => fault.beganAtMs < endedAtMs && fault.endedAtMs > beganAtMs,
    );
    if (outcome !== NO_ANSWER || isExcused) return [];
    return [
      `${place} was not answered in ${Math.round(endedAtMs - beganAtMs)} ms, without a fault`,
    ];
  });
}
