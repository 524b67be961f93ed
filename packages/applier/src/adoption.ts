/**
 * The join of a node's key state with one that another node had: what happens when a snapshot is
 * installed, when a node joins, and when a lost sidecar is rebuilt.
 *
 * Both are what some prefix of the cluster's logs adds up to. So the result is what the longer
 * prefix of each log adds up to, never a step back: what the control shard's log decides comes as a
 * whole from whichever state has applied more of it, applied and cutover indexes come shard by
 * shard, and rows of the registry take the lowest first and the highest last epoch. Where no two
 * prefixes of one log can be behind the two states, nothing is adopted.
 *
 * A pure function, with effects in the order of effect.ts; a crash between any two is completed by
 * adopting again.
 */
import {
  CONTROL_SHARD,
  type KeyRecord,
  type KeyState,
  RaftsealError,
  type WriterRow,
} from '@raftseal/interface';
import { isSameKey } from './bootstrap.ts';
import { type Effect, installsOf } from './effect.ts';
import { keyPurposes } from './entry-rules.ts';
import {
  type ReplicatedKeyRecord,
  type ReplicatedKeyState,
  replicatedKeyStateProblem,
} from './replicated-key-state.ts';
import { isSameBytes } from './same-bytes.ts';
import { type WriterRowView, writerIdOf } from './writer-registry.ts';

export interface Adoption {
  /** The very state that was given, where it had everything. */
  readonly state: KeyState;
  /**
   * The given state with higher nonce epochs, where the other one's registrations are above them.
   * It has to be durable before the rows are: rows above the sidecar are a sign of an old copy.
   */
  readonly raised: KeyState | undefined;
  readonly effects: readonly Effect[];
}

/**
 * Joins `replicated` into the state of a node.
 * @throws RAFTSEAL_APPLIER_KEY_STATE_INVALID for a state that cannot be, _FOREIGN_KEY_STATE for one
 *   of another cluster, _KEY_STATE_CONFLICT for one that contradicts the node's; never fatal.
 */
export function adoption(
  state: KeyState,
  { registry }: { readonly registry: WriterRowView },
  replicated: ReplicatedKeyState,
): Adoption {
  const problem = refusal(state, replicated);
  if (problem !== undefined) throw problem;
  const isAhead = controlApplied(replicated) > controlApplied(state);
  const { keys: known } = isAhead ? replicated : state;
  // Not those of keys that the longer log has retired.
  const rows = joinedRows(
    registry,
    replicated.rows.filter(({ dekId }) => known.has(dekId)),
  );
  const lastEpochs = ownLastEpochs(state.nodeId, { registry, replicated, rows });
  const next = joined(state, replicated, lastEpochs);
  const effects: Effect[] = [];
  const keys = new Map([...next.keys].filter(([dekId]) => !state.keys.has(dekId)));
  if (keys.size > 0) effects.push({ kind: 'load-deks', clusterId: replicated.clusterId, keys });
  if (rows.length > 0) effects.push({ kind: 'writer-rows', rows });
  if (next !== state) effects.push({ kind: 'sidecar' });
  for (const install of installsOf(next)) effects.push({ kind: 'install', ...install });
  const retired = [...state.keys.keys()].filter((dekId) => !next.keys.has(dekId));
  if (retired.length > 0) effects.push({ kind: 'unload-deks', dekIds: retired });
  const raisedKeys = withEpochs(state.keys, lastEpochs);
  const raised = raisedKeys === state.keys ? undefined : { ...state, keys: raisedKeys };
  return { state: next, raised, effects };
}

/** The state itself where `replicated` adds nothing. */
function joined(
  state: KeyState,
  replicated: ReplicatedKeyState,
  lastEpochs: ReadonlyMap<number, number>,
): KeyState {
  const isAhead = controlApplied(replicated) > controlApplied(state);
  const control = isAhead ? controlPart(state, replicated) : {};
  const next = {
    ...state,
    ...control,
    keys: withEpochs(control.keys ?? state.keys, lastEpochs),
    appliedIndex: joinedIndexes(state.appliedIndex, replicated.appliedIndex),
    cutoverIndex: joinedIndexes(state.cutoverIndex, replicated.cutoverIndex),
  };
  const isSame =
    !isAhead &&
    next.keys === state.keys &&
    next.appliedIndex === state.appliedIndex &&
    next.cutoverIndex === state.cutoverIndex;
  return isSame ? state : next;
}

/** What the control shard's log decides; the node's own nonce epochs stay. */
function controlPart(state: KeyState, replicated: ReplicatedKeyState): Partial<KeyState> {
  const { appliedIndex: _, cutoverIndex: __, rows: ___, ...control } = replicated;
  const keys = new Map<number, KeyRecord>();
  for (const [dekId, key] of replicated.keys) {
    keys.set(dekId, { ...key, nonceEpoch: state.keys.get(dekId)?.nonceEpoch ?? 0 });
  }
  return { ...control, keys };
}

/**
 * The state of before with the nonce epochs of the next one, where they are higher; undefined where
 * none is. It has to be durable before rows of these epochs are: a process of this node that ran on
 * another copy of its disk has registered them.
 */
export function raisedTo(before: KeyState, next: KeyState): KeyState | undefined {
  const epochs = new Map([...next.keys].map(([dekId, { nonceEpoch }]) => [dekId, nonceEpoch]));
  const keys = withEpochs(before.keys, epochs);
  return keys === before.keys ? undefined : { ...before, keys };
}

/** The keys themselves where every epoch is high enough. */
function withEpochs(
  keys: KeyState['keys'],
  lastEpochs: ReadonlyMap<number, number>,
): KeyState['keys'] {
  let raised = keys;
  for (const [dekId, key] of keys) {
    const nonceEpoch = lastEpochs.get(dekId) ?? 0;
    if (nonceEpoch > key.nonceEpoch) raised = new Map(raised).set(dekId, { ...key, nonceEpoch });
  }
  return raised;
}

/** By shard the higher one; the first map itself where it has them all. */
function joinedIndexes(
  own: ReadonlyMap<number, bigint>,
  other: ReadonlyMap<number, bigint>,
): ReadonlyMap<number, bigint> {
  const higher = [...other].filter(([shardId, index]) => index > (own.get(shardId) ?? -1n));
  return higher.length === 0 ? own : new Map([...own, ...higher]);
}

/** The rows that change. */
function joinedRows(registry: WriterRowView, rows: readonly WriterRow[]): WriterRow[] {
  const changed: WriterRow[] = [];
  for (const row of rows) {
    const { dekId, writerId } = row;
    const own = registry.row(dekId, writerId) ?? row;
    const firstEpoch = Math.min(own.firstEpoch, row.firstEpoch);
    const lastEpoch = Math.max(own.lastEpoch, row.lastEpoch);
    const known = registry.row(dekId, writerId);
    if (known?.firstEpoch === firstEpoch && known.lastEpoch === lastEpoch) continue;
    changed.push({ dekId, writerId, firstEpoch, lastEpoch });
  }
  return changed;
}

/** By DEK: the highest epoch that this node has registered, by its own rows and the other's. */
function ownLastEpochs(
  nodeId: string,
  parts: {
    readonly registry: WriterRowView;
    readonly replicated: ReplicatedKeyState;
    readonly rows: readonly WriterRow[];
  },
): Map<number, number> {
  const lastEpochs = new Map<number, number>();
  const { registry, replicated, rows } = parts;
  const writerId = writerIdOf(replicated.writers, nodeId);
  if (writerId === undefined) return lastEpochs;
  for (const dekId of replicated.keys.keys()) {
    lastEpochs.set(dekId, registry.row(dekId, writerId)?.lastEpoch ?? 0);
  }
  for (const row of rows) if (row.writerId === writerId) lastEpochs.set(row.dekId, row.lastEpoch);
  return lastEpochs;
}

function controlApplied({ appliedIndex }: Pick<KeyState, 'appliedIndex'>): bigint {
  return appliedIndex.get(CONTROL_SHARD) ?? 0n;
}

function refusal(state: KeyState, replicated: ReplicatedKeyState): RaftsealError | undefined {
  const problem = replicatedKeyStateProblem(replicated);
  if (problem !== undefined) {
    return new RaftsealError(
      'RAFTSEAL_APPLIER_KEY_STATE_INVALID',
      `expected a possible key state; found that ${problem}. Nothing was adopted.`,
    );
  }
  if (state.clusterId === undefined) return undefined;
  if (!isSameBytes(state.clusterId, replicated.clusterId)) {
    return new RaftsealError(
      'RAFTSEAL_APPLIER_FOREIGN_KEY_STATE',
      "expected the key state of this node's cluster; found another cluster's. Nothing was " +
        'adopted. Check which nodes this one is told to reach.',
    );
  }
  const conflict = conflictOf(state, replicated);
  return conflict === undefined ? undefined : conflicting(conflict);
}

function conflicting(conflict: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_APPLIER_KEY_STATE_CONFLICT',
    `expected a key state of the same logs as this node's; found that ${conflict}. Nothing was ` +
      'adopted. One of the two nodes has data that is not of this cluster: find out which.',
  );
}

/** A key state as far as it is compared. */
type Facts = Omit<ReplicatedKeyState, 'clusterId' | 'rows'>;

/** How two states cannot be of the same logs, or undefined. */
function conflictOf(own: Facts, other: Facts): string | undefined {
  const isOtherAhead = controlApplied(other) > controlApplied(own);
  const [behind, ahead] = isOtherAhead ? [own, other] : [other, own];
  return (
    controlConflict(behind, ahead) ??
    (controlApplied(own) === controlApplied(other) ? controlConflict(ahead, behind) : undefined) ??
    cutoverConflict(own, other) ??
    cutoverConflict(other, own)
  );
}

/** What the control shard's log has decided up to an index stays, whatever it decides later. */
function controlConflict(behind: Facts, ahead: Facts): string | undefined {
  const seen = controlApplied(behind);
  const isLevel = controlApplied(behind) === controlApplied(ahead);
  for (const [dekId, key] of behind.keys) {
    const found = ahead.keys.get(dekId);
    if (found === undefined && isRetiredSince(ahead, { dekId, key, seen })) continue;
    // Between the two, the key may have got other wraps.
    const wraps = isLevel ? key.wraps : (found?.wraps ?? key.wraps);
    if (!isSameKey(found, { dekId, ...key, wraps })) return `DEK ${dekId} is not the same`;
  }
  for (const [dekId, { controlIndex }] of behind.retired) {
    if (ahead.retired.get(dekId)?.controlIndex === controlIndex) continue;
    return `DEK ${dekId} was retired at another index`;
  }
  for (const [writerId, nodeId] of behind.writers) {
    if (ahead.writers.get(writerId) !== nodeId) return `writer ${writerId} is not the same`;
  }
  if (switchedBy(ahead.storageIndex, seen) !== behind.storageIndex) {
    return 'values are sealed from another index';
  }
  if (switchedBy(ahead.sealedOnlyIndex, seen) !== behind.sealedOnlyIndex) {
    return 'nothing but what is sealed is read from another index';
  }
  if (isLevel && !isSameBackups(behind, ahead)) return 'other backups are registered';
  if (switchedBy(ahead.cutoverIntent?.controlIndex, seen) !== behind.cutoverIntent?.controlIndex) {
    return 'the cutover request is at another index';
  }
  if (behind.cutoverIntent !== undefined && !isSameWaves(behind, ahead)) {
    return 'the cutover request has other waves';
  }
  return activeConflict(behind, ahead);
}

/** The active keys are the same where no entry is between the two. */
function activeConflict(behind: Facts, ahead: Facts): string | undefined {
  const isLevel = controlApplied(behind) === controlApplied(ahead);
  for (const purpose of isLevel ? keyPurposes : []) {
    if (behind.activeDekId[purpose] === ahead.activeDekId[purpose]) continue;
    return `another ${purpose} DEK is active`;
  }
  if (behind.activeDekId.index !== ahead.activeDekId.index) return undefined;
  return isSameClusterKeys(behind, ahead)
    ? undefined
    : `index DEK ${ahead.activeDekId.index} brings along other cluster keys`;
}

function isSameClusterKeys({ sealedClusterKeys: some }: Facts, ahead: Facts): boolean {
  const { sealedClusterKeys: others } = ahead;
  return some !== undefined && others !== undefined ? isSameBytes(some, others) : some === others;
}

/** An index of the control shard as a state would have it that has applied up to `applied`. */
function switchedBy(index: bigint | undefined, applied: bigint): bigint | undefined {
  return index !== undefined && index <= applied ? index : undefined;
}

function isSameWaves(a: Facts, b: Facts): boolean {
  return JSON.stringify(a.cutoverIntent?.waves) === JSON.stringify(b.cutoverIntent?.waves);
}

function isSameBackups({ backups: some }: Facts, { backups: others }: Facts): boolean {
  const texts = [some, others].map((backups) =>
    JSON.stringify([...backups].sort(([a], [b]) => (a < b ? -1 : 1))),
  );
  return texts[0] === texts[1];
}

/** Retired by an entry that the state behind has not applied. */
function isRetiredSince(
  { retired }: Facts,
  { dekId, key, seen }: { dekId: number; key: ReplicatedKeyRecord; seen: bigint },
): boolean {
  const found = retired.get(dekId);
  return found !== undefined && found.purpose === key.purpose && found.controlIndex > seen;
}

/** A state that has applied as far as another one's marker has that marker. */
function cutoverConflict(one: Facts, other: Facts): string | undefined {
  for (const [shardId, index] of one.cutoverIndex) {
    const applied = other.appliedIndex.get(shardId) ?? 0n;
    const found = other.cutoverIndex.get(shardId);
    if (found === index || (found === undefined && applied < index)) continue;
    return `shard ${shardId} is cut over at ${index} for one and ${found ?? 'nowhere'} for the other`;
  }
  return undefined;
}
