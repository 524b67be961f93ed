/**
 * What this node needs a DEK for. Asked of every member before a DEK is retired: each answers for
 * its own store, its own seals and the snapshots that others read from it.
 */
import { randomUUID } from 'node:crypto';
import type { KeyState } from '@raftseal/interface';
import type { KvStateMachine, OpenSnapshot } from '@raftseal/kv';
import type { NodeKeys } from '../node-keys.ts';
import type { NodeShard } from '../node-shard.ts';

const processId = randomUUID();

/** `unknown`: the entry that makes the DEK is not applied, or there is no such DEK. */
export const needOfDek = ['active', 'older', 'retired', 'unknown'] as const;

export interface KeyNeeds {
  readonly nodeId: string;
  /** Another one after each start of the node. */
  readonly processId: string;
  readonly dek: (typeof needOfDek)[number];
  readonly shards: readonly ShardNeeds[];
}

export interface ShardNeeds {
  readonly shardId: number;
  /** Of the shard group. */
  readonly state: string;
  /** Whether this process may seal entries, or rows, under it still. */
  readonly seals: boolean;
  /** Rows under it; 0 where the state of the shard is not there to be looked at. */
  readonly rows: number;
  /** Snapshots of the shard that others are reading: they may hold rows from before. */
  readonly snapshots: number;
  /** Whether a snapshot is being installed: its rows may be under any DEK. */
  readonly installing: boolean;
  /** Snapshots that this process has installed in the shard. */
  readonly installs: number;
}

export interface KeyNeedsParts {
  readonly keys: Pick<NodeKeys, 'nodeId' | 'state' | 'activeRowDekId'>;
  readonly shards: readonly NodeShard[];
}

/**
 * Rows are counted after it is known that no more are sealed under the DEK: one that was sealed
 * before and is not committed yet is waited for by the census.
 */
export async function keyNeeds({ keys, shards }: KeyNeedsParts, dekId: number): Promise<KeyNeeds> {
  const sealsRows = keys.activeRowDekId === dekId;
  const found: ShardNeeds[] = [];
  for (const shard of shards) {
    const { shardId, group, kv } = shard;
    const sealsEntries = group.wrap.kind === 'sealed' && group.wrap.dekId === dekId;
    found.push({
      shardId,
      state: group.state,
      seals: sealsRows || sealsEntries,
      ...(shard.isHalted ? nothingFound : await storeNeeds(kv, dekId)),
    });
  }
  return { nodeId: keys.nodeId, processId, dek: dekStatus(keys.state, dekId), shards: found };
}

const nothingFound = { rows: 0, snapshots: 0, installing: false, installs: 0 };

async function storeNeeds(
  kv: KvStateMachine,
  dekId: number,
): Promise<Pick<ShardNeeds, keyof typeof nothingFound>> {
  const { rowsByDekId, openSnapshots, installing, installs } = await kv.census();
  const mayHold = ({ onlyDekId }: OpenSnapshot): boolean =>
    onlyDekId === null || onlyDekId === dekId;
  return {
    rows: rowsByDekId.get(dekId) ?? 0,
    snapshots: openSnapshots.filter(mayHold).length,
    installing,
    installs,
  };
}

function dekStatus({ keys, retired, activeDekId }: KeyState, dekId: number): KeyNeeds['dek'] {
  const key = keys.get(dekId);
  if (key === undefined) return retired.has(dekId) ? 'retired' : 'unknown';
  return activeDekId[key.purpose] === dekId ? 'active' : 'older';
}
