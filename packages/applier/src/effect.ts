/**
 * What a transition gives back: the new state, what has to be done about it, and how it ended.
 *
 * Effects are data. They are always in this order, and the runner performs them in it:
 *
 * 1. `load-deks`: the keys are usable before anything says that they exist.
 * 2. `writer-rows`: durable before the sidecar, whose applied index would skip them after a crash.
 * 3. `sidecar`: the state is durable, and from here on true.
 * 4. `install`: the wrap seals. A wrap installed before the sidecar is durable could seal above a
 *    cutover that a restart would not know of.
 * 5. `unload-deks`: retired keys and their rows go. A key that went before the sidecar is durable
 *    would be missing after a crash, although it is not retired yet.
 *
 * A crash between any two leaves a prefix that applying the entry again completes.
 */
import type { KeyRecord, KeyState, WriterRow } from '@raftseal/interface';

/** A request to make this node's wrap of one shard active. */
export interface Install {
  readonly shardId: number;
  /** As recorded: the wrap seals above it. */
  readonly cutoverIndex: bigint;
  /** The raft DEK that new seals use. */
  readonly dekId: number;
}

export type Effect =
  | {
      readonly kind: 'load-deks';
      /** What the wraps are bound to. */
      readonly clusterId: Uint8Array;
      readonly keys: ReadonlyMap<number, KeyRecord>;
    }
  | { readonly kind: 'writer-rows'; readonly rows: readonly WriterRow[] }
  | { readonly kind: 'sidecar' }
  | ({ readonly kind: 'install' } & Install)
  | { readonly kind: 'unload-deks'; readonly dekIds: readonly number[] };

export type NoOpReason =
  /** An identical `Bootstrap` was applied earlier. */
  | 'already-bootstrapped'
  /** The epoch is the registered one. */
  | 'already-registered'
  /** An identical `RotateDek` was applied earlier. */
  | 'already-rotated'
  /** Values, or the shard's log, are sealed already; the recorded index stands. */
  | 'already-active'
  /** The keys that are left have these wraps. */
  | 'already-wrapped'
  | 'already-retired'
  /** A backup of this id, with these keys. */
  | 'already-registered-backup'
  /** No backup of this id is registered. */
  | 'no-backup'
  /** A higher epoch of the writer is registered: no process can seal with this one. */
  | 'stale-epoch'
  /** A rotation overtook the entry: propose it again with the active DEK. */
  | 'stale-dek';

export type Outcome =
  | { readonly kind: 'applied' }
  /** The recorded applied index covers the entry. */
  | { readonly kind: 'replayed' }
  | { readonly kind: 'no-op'; readonly reason: NoOpReason };

export interface TransitionContext {
  /** The shard whose log the entry is in. */
  readonly shardId: number;
  /** The entry's index in that log, from 1. */
  readonly index: bigint;
  readonly registry: { row(dekId: number, writerId: number): WriterRow | undefined };
}

export interface Transition {
  readonly state: KeyState;
  readonly effects: readonly Effect[];
  readonly outcome: Outcome;
}

/** What an entry changes, before the order of its effects is laid down. */
export interface Change {
  readonly outcome: Outcome;
  readonly fields?: Partial<KeyState>;
  /** Keys to load. */
  readonly keys?: ReadonlyMap<number, KeyRecord>;
  readonly rows?: readonly WriterRow[];
  readonly installs?: readonly Install[];
  /** Ids of keys that `fields` has no more. */
  readonly retired?: readonly number[];
}

/** Installs for every shard that is cut over, with the active raft DEK, by ascending shard. */
export function installsOf({ cutoverIndex, activeDekId }: KeyState): Install[] {
  return [...cutoverIndex]
    .sort(([a], [b]) => a - b)
    .map(([shardId, index]) => ({ shardId, cutoverIndex: index, dekId: activeDekId.raft }));
}

/** The transition of a new entry: its applied index is recorded in the same sidecar write. */
export function record(state: KeyState, context: TransitionContext, change: Change): Transition {
  const { outcome, fields = {}, keys = new Map(), rows = [], installs = [], retired = [] } = change;
  const appliedIndex = new Map(state.appliedIndex).set(context.shardId, context.index);
  const next = { ...state, ...fields, appliedIndex };
  const effects: Effect[] = [];
  if (keys.size > 0) {
    effects.push({ kind: 'load-deks', clusterId: next.clusterId ?? new Uint8Array(0), keys });
  }
  if (rows.length > 0) effects.push({ kind: 'writer-rows', rows });
  effects.push({ kind: 'sidecar' });
  for (const install of installs) effects.push({ kind: 'install', ...install });
  if (retired.length > 0) effects.push({ kind: 'unload-deks', dekIds: retired });
  return { state: next, effects, outcome };
}
