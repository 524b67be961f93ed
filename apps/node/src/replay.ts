/**
 * The replay of a start: each log is checked, applied as far as it goes, and compared with what else
 * the node has of it. Nothing is sealed before, so a refusal here burns no nonce epoch.
 */
import { CONTROL_SHARD, type RaftEngine, RaftsealError } from '@raftseal/interface';
import type { AuditTrail } from './audit/audit-trail.ts';
import { checkKeyStateWhole, checkNoEntryIsPassed } from './key-state-age.ts';
import { checkLog } from './log-check.ts';
import type { NodeKeys } from './node-keys.ts';
import type { NodeShard } from './node-shard.ts';
import { checkLogSealedOnly } from './sealed-only/log-check.ts';

export interface ReplayParts {
  readonly keys: NodeKeys;
  readonly shards: readonly NodeShard[];
  readonly engine: (shardId: number) => RaftEngine;
  readonly audit: Pick<AuditTrail, 'recorded' | 'recordedAfter' | 'settle'>;
}

/**
 * @throws RAFTSEAL_NODE_LOG_BEHIND_STORE, _LOG_BEHIND_SIDECAR, _SIDECAR_BEHIND_LOG,
 *   RAFTSEAL_ENGINE_*; what halted the shards, where none is left that goes on
 */
export async function replayLogs(parts: ReplayParts): Promise<void> {
  const { keys, shards, audit } = parts;
  for (const shard of shards) {
    await checkShardLog(shard, parts).catch((error: unknown) => {
      // A damaged log, as where it is met later on: the others can be served.
      if (!(error instanceof RaftsealError && error.fatal)) throw error;
      shard.group.halt(error);
    });
  }
  const { state } = keys;
  for (const { shardId, isHalted, kv } of shards) {
    if (!isHalted) checkNoEntryIsPassed({ shardId, durableIndex: kv.durableIndex, state }, audit);
  }
  await audit.settle(state, 'found at start');
  // As of before the replay: what is applied meanwhile is recorded before the key state has it.
  const recorded = new Map(audit.recorded);
  const rows = keys.registry.rows();
  const results = await Promise.allSettled(shards.map((shard) => shard.replay()));
  const isOver = shards.every(({ isHalted }) => isHalted);
  results.forEach((result, at) => {
    // The others go on without a shard that has halted; one that was not read is no such shard.
    if (result.status === 'rejected' && (isOver || !shards[at]?.isHalted)) throw result.reason;
  });
  const halted = shards.filter(({ isHalted }) => isHalted).map(({ shardId }) => shardId);
  const witnesses = { registry: { rows: () => rows }, recorded, halted: new Set(halted) };
  checkKeyStateWhole(keys.state, witnesses);
}

async function checkShardLog(
  { shardId, kv: { durableIndex } }: NodeShard,
  { keys, engine }: ReplayParts,
): Promise<void> {
  const { state } = keys;
  const headIndex = await checkLog(engine(shardId), { shardId, durableIndex, state });
  if (state.sealedOnlyIndex !== undefined) {
    const cutoverIndex = state.cutoverIndex.get(shardId);
    await checkLogSealedOnly(engine(shardId), { shardId, cutoverIndex });
  }
  if (shardId === CONTROL_SHARD) keys.lifecycle.noteControlHead(headIndex);
}
