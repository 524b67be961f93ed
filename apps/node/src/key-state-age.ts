/**
 * Notices a key state that is older than the log and the store: a sidecar, or the whole folder of
 * the keys, restored from a copy. Replay alone would not, since it begins above what the store has
 * applied. From before the cutover, the shard would be cut over a second time, with sealed entries
 * below its new cutover; from before the last start, this process would claim a nonce epoch that
 * the one before it has used.
 *
 * The witnesses are kept apart from the keys: the last entry of each log that the store has, whose
 * envelope names its key and the epoch of its writer, and which is never truncated; and the audit
 * trail, which has every key entry before the sidecar has it.
 */
import { writerIdOf } from '@raftseal/applier';
import { decodeEnvelope, decodeNonce } from '@raftseal/envelope';
import {
  codeOf,
  type KeyState,
  type LogEntry,
  type RaftEngine,
  RaftsealError,
  type WriterRegistry,
} from '@raftseal/interface';
import { TAG_BYTES, TAG_SEALED } from '@raftseal/shard-group';
import type { AuditTrail } from './audit/audit-trail.ts';

export interface ShardAge {
  readonly shardId: number;
  /** What the store has applied; the entries above it are replayed. */
  readonly durableIndex: bigint;
  readonly state: KeyState;
}

/**
 * Looks at the last entry that is not replayed, if the log still has it.
 * @throws RAFTSEAL_NODE_SIDECAR_BEHIND_LOG
 */
export async function checkKeyStateAge(engine: RaftEngine, shard: ShardAge): Promise<void> {
  const { durableIndex } = shard;
  const { firstIndex, headIndex } = await engine.bounds();
  if (durableIndex < firstIndex || durableIndex > headIndex) return;
  const entry = await entryAt(engine, durableIndex);
  if (entry?.payload[0] !== TAG_SEALED) return;
  const problem = cutoverProblem(shard) ?? sealProblem(shard.state, entry.payload);
  if (problem !== undefined)
    throw behindLog(`entry ${durableIndex} of shard ${shard.shardId} ${problem}`);
}

/**
 * Key entries that the store has passed are not replayed: the key state must have them already.
 * @throws RAFTSEAL_NODE_SIDECAR_BEHIND_LOG
 */
export function checkNoEntryIsPassed(
  { shardId, durableIndex, state }: ShardAge,
  audit: Pick<AuditTrail, 'recordedAfter'>,
): void {
  const applied = state.appliedIndex.get(shardId) ?? 0n;
  const lacked = audit.recordedAfter(shardId, applied);
  if (lacked === undefined || lacked > durableIndex) return;
  throw behindLog(
    `the audit trail has entry ${lacked} of shard ${shardId}, which the store has passed, and the ` +
      `key state ends at ${applied}`,
  );
}

/**
 * What outlives the sidecar beside it, once the logs are replayed: registered writers, and the
 * entries that the audit trail has.
 * @throws RAFTSEAL_NODE_SIDECAR_BEHIND_LOG
 */
export function checkKeyStateWhole(
  state: KeyState,
  witnesses: {
    readonly registry: Pick<WriterRegistry, 'rows'>;
    /** By shard: the last entry that the audit trail has. */
    readonly recorded: ReadonlyMap<number, bigint>;
    /** Their logs were not replayed to the end. */
    readonly halted: ReadonlySet<number>;
  },
): void {
  for (const [shardId, recorded] of witnesses.recorded) {
    const applied = state.appliedIndex.get(shardId) ?? 0n;
    if (applied >= recorded || witnesses.halted.has(shardId)) continue;
    throw behindLog(
      `the audit trail has entry ${recorded} of shard ${shardId}, and the key state ${applied}`,
    );
  }
  if (witnesses.halted.size > 0) return;
  const isKnown = (dekId: number): boolean => state.keys.has(dekId) || state.retired.has(dekId);
  const unknown = witnesses.registry.rows().find(({ dekId }) => !isKnown(dekId));
  if (unknown) throw behindLog(`writers are registered under DEK ${unknown.dekId}, which it lacks`);
}

function cutoverProblem({ shardId, durableIndex, state }: ShardAge): string | undefined {
  const cutoverIndex = state.cutoverIndex.get(shardId);
  if (cutoverIndex !== undefined && durableIndex > cutoverIndex) return undefined;
  return 'is sealed, and the key state knows of no cutover below it';
}

/** Not authenticated: what does not open is for those who open it. */
function sealProblem(state: KeyState, payload: Uint8Array): string | undefined {
  const seal = sealOf(payload);
  if (seal === undefined || state.retired.has(seal.dekId)) return undefined;
  const key = state.keys.get(seal.dekId);
  if (key === undefined) return `is sealed under DEK ${seal.dekId}, which the key state lacks`;
  const isOwn = seal.writerId === writerIdOf(state.writers, state.nodeId);
  if (!isOwn || seal.nonceEpoch <= key.nonceEpoch) return undefined;
  return (
    `was sealed by this node in nonce epoch ${seal.nonceEpoch} of DEK ${seal.dekId}, and the key ` +
    `state has ${key.nonceEpoch}`
  );
}

function sealOf(payload: Uint8Array) {
  try {
    const { dekId, nonce } = decodeEnvelope(payload.subarray(TAG_BYTES));
    return { dekId, ...decodeNonce(nonce) };
  } catch (error) {
    if (error instanceof RaftsealError) return undefined;
    throw error;
  }
}

function behindLog(found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_SIDECAR_BEHIND_LOG',
    `${found}: the sidecar is an older copy; rebuild it with \`raftseal resync-sidecar\`, or, where ` +
      'that is refused, restore a backup; nothing was sealed',
  );
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
