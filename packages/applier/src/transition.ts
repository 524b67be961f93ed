/**
 * The key-lifecycle state machine as a pure function: (state, entry) -> (state, effects).
 *
 * Deterministic: what every replica shares of the state depends only on the entries of the log
 * the entry is in, and, for a marker, on control entries that are applied first everywhere. The
 * node's own part (nonce epochs) follows the node's own rows and is never lowered.
 *
 * An entry at or below the recorded applied index changes no state: replaying it could bring an
 * older key back or lower an epoch. An entry that cannot be is fatal, and nothing is changed.
 */
import { CONTROL_SHARD, fatalError, type KeyState } from '@raftseal/interface';
import { forgetBackup, registerBackup } from './backups.ts';
import { bootstrap } from './bootstrap.ts';
import { installsOf, record, type Transition, type TransitionContext } from './effect.ts';
import { enableRaft, enableSealedOnly, enableStorage } from './enablement.ts';
import type { KeyLifecycleEntry } from './entry.ts';
import { entryProblem, U64_MAX } from './entry-rules.ts';
import { register } from './registration.ts';
import { retireDek } from './retirement.ts';
import { rewrapDeks } from './rewrap.ts';
import { rotateDek } from './rotation.ts';

/** The state of a node before any entry. */
export function initialKeyState(nodeId: string): KeyState {
  return {
    clusterId: undefined,
    nodeId,
    generation: 0n,
    appliedIndex: new Map(),
    cutoverIndex: new Map(),
    cutoverIntent: undefined,
    storageIndex: undefined,
    sealedOnlyIndex: undefined,
    activeDekId: { storage: 0, raft: 0, index: 0 },
    keys: new Map(),
    sealedClusterKeys: undefined,
    retired: new Map(),
    writers: new Map(),
    backups: new Map(),
  };
}

/**
 * Applies one entry.
 * @returns a new state; `state` and everything in it stay as they are.
 * @throws fatal RAFTSEAL_APPLIER_*: the entry must not be skipped, the shard's apply halts.
 */
export function transition(
  state: KeyState,
  context: TransitionContext,
  entry: KeyLifecycleEntry,
): Transition {
  checkPlace(context, entry);
  const problem = entryProblem(entry);
  if (problem !== undefined) {
    throw fatalError(
      'RAFTSEAL_APPLIER_ENTRY_MALFORMED',
      `expected a possible ${entry.kind} entry at index ${context.index}; found that ${problem}.`,
    );
  }
  if (context.index <= (state.appliedIndex.get(context.shardId) ?? 0n)) {
    return replayed(state, context);
  }
  if (entry.kind === 'bootstrap') return record(state, context, bootstrap(state, context, entry));
  if (state.clusterId === undefined) throw notBootstrapped(entry);
  switch (entry.kind) {
    case 'register':
      return record(state, context, register(state, context, entry));
    case 'rotate-dek':
      return record(state, context, rotateDek(state, context, entry));
    case 'enable-storage':
      return record(state, context, enableStorage(state, context, entry));
    case 'enable-raft':
      return record(state, context, enableRaft(state, context, entry));
    case 'rewrap-deks':
      return record(state, context, rewrapDeks(state, entry));
    case 'retire-dek':
      return record(state, context, retireDek(state, context, entry));
    case 'enable-sealed-only':
      return record(state, context, enableSealedOnly(state, context));
    case 'register-backup':
      return record(state, context, registerBackup(state, entry));
    case 'forget-backup':
      return record(state, context, forgetBackup(state, entry));
  }
}

/** The entry has to be at an index of a log, and in the log it belongs to. */
function checkPlace({ shardId, index }: TransitionContext, entry: KeyLifecycleEntry): void {
  if (index < 1n || index > U64_MAX) {
    throw fatalError(
      'RAFTSEAL_APPLIER_INDEX_INVALID',
      `expected an index from 1 to ${U64_MAX} for a ${entry.kind} entry; found ${index}.`,
    );
  }
  const onControlShard = shardId === CONTROL_SHARD;
  const belongsHere =
    entry.kind === 'enable-raft' ? (entry.controlIndex === 0n) === onControlShard : onControlShard;
  if (belongsHere) return;
  throw fatalError(
    'RAFTSEAL_APPLIER_WRONG_SHARD',
    entry.kind === 'enable-raft'
      ? `expected a marker of shard ${shardId} to have ${onControlShard ? 'no' : 'a'} ` +
          `controlIndex; found ${entry.controlIndex}.`
      : `expected a ${entry.kind} entry on shard ${CONTROL_SHARD} only; found it on ${shardId}.`,
  );
}

/**
 * State stands; the wraps that the entry may have been for are made active again, with the DEK that
 * is active by now. An entry of the control shard may have been a rotation, which is for all.
 */
function replayed(state: KeyState, { shardId }: TransitionContext): Transition {
  const effects = installsOf(state)
    .filter((install) => shardId === CONTROL_SHARD || install.shardId === shardId)
    .map((install) => ({ kind: 'install' as const, ...install }));
  return { state, effects, outcome: { kind: 'replayed' } };
}

function notBootstrapped(entry: KeyLifecycleEntry): Error {
  return fatalError(
    'RAFTSEAL_APPLIER_NOT_BOOTSTRAPPED',
    `expected Bootstrap before a ${entry.kind} entry; found no keys. Bootstrap the cluster first.`,
  );
}
