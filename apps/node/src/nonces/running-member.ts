/** This node, as an audit of its nonces reads it while it runs. */
import { CONTROL_SHARD } from '@raftseal/interface';
import type { LogPlace } from '../data-directory.ts';
import type { NodeKeys } from '../node-keys.ts';
import type { NodeLogs } from '../node-logs.ts';
import type { NodeShard } from '../node-shard.ts';
import { type DrawnEvidence, evidenceOf, type NonceEvidence } from './evidence.ts';
import type { AuditMember } from './nonce-audit.ts';
import type { NoncePart } from './nonce-record.ts';
import { logRecords, storeRecords } from './record-walk.ts';

export interface RunningMemberParts {
  readonly keys: NodeKeys;
  readonly shards: readonly NodeShard[];
  readonly logPlace: LogPlace;
  /** Where they are read too. Logs in etcd are read by one member: all have the same. */
  readonly logs: NodeLogs | undefined;
}

const APPLY_WAIT_MS = 10_000;
const APPLY_POLL_MS = 20;

export function runningMember(parts: RunningMemberParts): AuditMember {
  return {
    nodeId: parts.keys.nodeId,
    directory: null,
    reads: parts.logs === undefined ? 'stores' : 'log and stores',
    records: (part) => recordsOf(parts, part),
    evidence: () => runningEvidence(parts),
  };
}

async function* recordsOf(
  { shards, logs }: RunningMemberParts,
  part: NoncePart,
): AsyncGenerator<Buffer> {
  if (logs) {
    const shardIds = shards.map(({ shardId }) => shardId);
    const releases = shards.map((shard) => shard.holdTruncation());
    try {
      yield* logRecords(logs.findings(shardIds), { part, shardCount: shards.length });
    } finally {
      for (const release of releases) release();
    }
  }
  for (const { shardId, kv } of shards) yield* storeRecords(kv.envelopes(), { part, shardId });
}

/** What was sealed so far was registered at or below where the control log ends at this moment. */
async function runningEvidence({
  keys,
  shards,
  logPlace,
}: RunningMemberParts): Promise<NonceEvidence> {
  const control = shards[CONTROL_SHARD];
  if (control) await applied(control);
  const { state, registry, lifecycle, authority } = keys;
  const drawn = [...state.keys.keys()].flatMap((dekId): DrawnEvidence[] => {
    const claim = lifecycle.claimOf(dekId);
    if (!claim) return [];
    const counter = Number(authority.seals(dekId));
    return [{ dekId, nonceEpoch: claim.nonceEpoch, counter }];
  });
  return { ...evidenceOf(state, registry.rows()), logPlace, isAuthenticated: true, drawn };
}

/** Not for ever: what is not applied then shows as a finding. */
async function applied(shard: NodeShard): Promise<void> {
  const { group } = shard;
  const headIndex = await shard.headIndex();
  for (let waitedMs = 0; waitedMs < APPLY_WAIT_MS; waitedMs += APPLY_POLL_MS) {
    if (group.appliedIndex >= headIndex || group.state === 'halted') return;
    await new Promise((resolve) => setTimeout(resolve, APPLY_POLL_MS));
  }
}
