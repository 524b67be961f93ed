/** What a shard group is made from, and what it tells. */
import type { RaftEngine, RaftsealError, StateMachine } from '@raftseal/interface';
import type { KeyLifecycle } from './entry-applier.ts';
import type { Restore } from './log-follower.ts';
import type { RaftPayloadWrap } from './payload-wrap.ts';
import type { QueueLimits } from './proposal-queue.ts';

/** See the table of `ShardGroup`. */
export type ShardGroupState =
  | 'follower'
  | 'restoring'
  | 'catchingUp'
  | 'leading'
  | 'gated'
  | 'halted'
  | 'stopped';

export type CutoverStep = 'gate-closed' | 'drained' | 'marker-applied' | 'gate-opened';

export interface ShardGroupOptions extends Partial<QueueLimits> {
  readonly shardId: number;
  /** Appends under way at once, at most what the engine allows. Default 1. */
  readonly appendsInFlightMax?: number;
  /** How long an entry under a DEK not yet known waits before the shard halts. Default 10 s. */
  readonly dekWaitMs?: number;
  /** False once no such DEK can come any more: then the shard halts at once. Default: true. */
  readonly dekMayCome?: () => boolean;
  /** An entry in the clear halts the shard, whatever its index. Default false. */
  readonly sealedOnly?: boolean;
}

export interface ShardGroupParts<Result> {
  readonly engine: RaftEngine;
  readonly stateMachine: StateMachine<Result>;
  readonly keyLifecycle: KeyLifecycle;
  /** The wrap at start: `cleartext`, or `sealed(...)` where the shard is already cut over. */
  readonly wrap: RaftPayloadWrap;
  /** Installs a snapshot. Without it, a shard whose log was truncated too far halts. */
  readonly restore?: Restore;
  /** How long this node lets others stand for election first; see the engine's `Candidacy`. */
  readonly yieldMs?: () => number;
  /** The leader's clock, ms since the Unix epoch. Default `Date.now`. */
  readonly clock?: () => number;
  /** Called after each change of state. */
  readonly onState?: (state: ShardGroupState) => void;
  /** Called once, with the error that stopped apply. */
  readonly onHalt?: (error: RaftsealError) => void;
  /** Follows a cutover led by this node. `gateMs` comes with `gate-opened`. */
  readonly onCutoverStep?: (step: CutoverStep, gateMs?: number) => void;
}
