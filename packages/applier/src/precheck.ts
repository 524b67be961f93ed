/**
 * What a leader asks before it proposes a key-lifecycle entry. An entry that is fatal on apply is
 * fatal on every replica, so every reason for that is looked for here first and refused with an
 * error that halts nothing.
 *
 * The answer holds for the state it was asked about. The leader therefore has applied everything in
 * its log, and keeps one lock from the question until its own apply of the entry: two requests that
 * are checked side by side could both pass and the second one halt.
 */
import { timingSafeEqual } from 'node:crypto';
import { assert, CONTROL_SHARD, codeOf, type KeyState, RaftsealError } from '@raftseal/interface';
import { encodeSidecar, SIDECAR_BYTES_MAX } from '@raftseal/sidecar';
import type { UnwrapDek } from './dek-unwrap.ts';
import { checkSameClusterKeys, clusterKeysOf } from './derived-keys.ts';
import type { Outcome } from './effect.ts';
import { encodeEntry, type KeyLifecycleEntry } from './entry.ts';
import { transition } from './transition.ts';
import type { WriterRowView } from './writer-registry.ts';

export interface PrecheckParts {
  readonly state: KeyState;
  readonly registry: WriterRowView;
  readonly unwrapDek: UnwrapDek;
}

export interface ProposedEntry {
  readonly shardId: number;
  readonly entry: KeyLifecycleEntry;
}

export interface Precheck {
  /** What to propose. */
  readonly body: Buffer;
  /** How it would end now. A no-op need not be proposed: what was asked for is so already. */
  readonly outcome: Outcome;
}

/**
 * What a request may grow the state to. The rest of the sidecar is for what is not asked about: the
 * applied and cutover indexes of every shard, and the replica's own node id.
 */
const STATE_BYTES_MAX = SIDECAR_BYTES_MAX - 1024 * 1024;

/**
 * Whether an entry may be proposed.
 * @throws RAFTSEAL_APPLIER_*, never fatal: the codes that apply would halt with; besides them
 *   _ALREADY_BOOTSTRAPPED and _DEK_CONFLICT for repetitions, _DEK_CONFLICT for new wraps of another
 *   key, _EPOCH_STALE for a registration below the registered one, _STATE_TOO_LARGE, _CLUSTER_KEYS;
 *   and what `unwrapDek` throws for a wrap that this node's KEK does not open.
 */
export async function precheck(parts: PrecheckParts, proposed: ProposedEntry): Promise<Precheck> {
  const { shardId, entry } = proposed;
  const body = encodeEntry(entry);
  refuseRepetition(parts.state, entry);
  const index = (parts.state.appliedIndex.get(shardId) ?? 0n) + 1n;
  const { registry } = parts;
  const { state, effects, outcome } = asRefusal(() =>
    transition(parts.state, { shardId, index, registry }, entry),
  );
  refuseStaleEpoch(entry, outcome);
  refuseRetired(parts.state, entry);
  refuseWait(parts.state, proposed);
  checkWritable(parts.state, state);
  for (const effect of effects) {
    if (effect.kind !== 'load-deks') continue;
    const { clusterId } = effect;
    for (const [dekId, key] of effect.keys) {
      const dek = await parts.unwrapDek(key, { clusterId, dekId, purpose: key.purpose });
      try {
        if (entry.kind === 'rotate-dek') await checkClusterKeys(parts, state, { dekId, dek });
      } finally {
        dek.fill(0);
      }
    }
  }
  if (entry.kind === 'rewrap-deks') await checkSameDeks(parts, state);
  return { body, outcome };
}

/** Apply loads nothing for new wraps: one that is wrong would only show at the next start. */
async function checkSameDeks({ state, unwrapDek }: PrecheckParts, next: KeyState): Promise<void> {
  const { clusterId } = state;
  assert(clusterId !== undefined, 'only keys that are there have other wraps');
  for (const [dekId, key] of next.keys) {
    const known = state.keys.get(dekId);
    if (known === undefined || known === key) continue;
    const binding = { clusterId, dekId, purpose: key.purpose };
    const dek = await unwrapDek(known, binding);
    const found = await unwrapDek(key, binding).catch((error) => {
      dek.fill(0);
      throw error;
    });
    const isSame = timingSafeEqual(found, dek);
    dek.fill(0);
    found.fill(0);
    if (!isSame) throw otherKey(dekId);
  }
}

function otherKey(dekId: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_APPLIER_DEK_CONFLICT',
    `expected wraps of DEK ${dekId} as it is; found those of another key: what is sealed under ` +
      'the DEK could not be opened any more. Wrap the DEK itself again.',
  );
}

/** A new index DEK brings along what the active one stands for. */
async function checkClusterKeys(
  { state, unwrapDek }: PrecheckParts,
  next: KeyState,
  { dekId, dek }: { readonly dekId: number; readonly dek: Uint8Array },
): Promise<void> {
  const { clusterId, activeDekId } = state;
  if (next.activeDekId.index !== dekId || clusterId === undefined) return;
  const active = state.keys.get(activeDekId.index);
  assert(active !== undefined, 'the active index DEK is among the keys');
  const binding = { clusterId, dekId: activeDekId.index, purpose: 'index' } as const;
  const activeDek = await unwrapDek(active, binding);
  try {
    checkSameClusterKeys(clusterKeysOf(state, activeDek), clusterKeysOf(next, dek), dekId);
  } finally {
    activeDek.fill(0);
  }
}

/** A repetition of what was asked once is harmless in a log, and a mistake in a request. */
function refuseRepetition(state: KeyState, entry: KeyLifecycleEntry): void {
  if (entry.kind === 'bootstrap' && state.clusterId !== undefined) {
    throw new RaftsealError(
      'RAFTSEAL_APPLIER_ALREADY_BOOTSTRAPPED',
      'expected a cluster without keys; found one that is bootstrapped. To change keys, rotate.',
    );
  }
  if (entry.kind === 'register-backup' && state.backups.has(entry.backupId)) {
    throw new RaftsealError(
      'RAFTSEAL_APPLIER_BACKUP_CONFLICT',
      `expected a backup id that no backup has had; found ${entry.backupId}. Draw another one.`,
    );
  }
  if (entry.kind === 'rotate-dek' && state.keys.has(entry.dekId)) {
    throw new RaftsealError(
      'RAFTSEAL_APPLIER_DEK_CONFLICT',
      `expected a DEK id that no key has had; found ${entry.dekId}. Draw another one.`,
    );
  }
}

/** In a log it changes nothing; asked for, it says that the asker's key state is an old one. */
function refuseStaleEpoch(entry: KeyLifecycleEntry, outcome: Outcome): void {
  if (entry.kind !== 'register' || outcome.kind !== 'no-op') return;
  if (outcome.reason !== 'stale-epoch') return;
  const { nodeId, dekId, epoch } = entry;
  throw new RaftsealError(
    'RAFTSEAL_APPLIER_EPOCH_STALE',
    `expected ${nodeId} to register under DEK ${dekId} with an epoch that is not below its ` +
      `registered one; found ${epoch}. Claim another; if it is low again, the node's sidecar is an ` +
      'old copy: rebuild it from the log or from another node.',
  );
}

/** In a log it changes nothing; asked for, it says that the asker is behind. */
function refuseRetired({ retired }: KeyState, entry: KeyLifecycleEntry): void {
  if (entry.kind !== 'register' || !retired.has(entry.dekId)) return;
  throw new RaftsealError(
    'RAFTSEAL_APPLIER_DEK_UNKNOWN',
    `expected ${entry.nodeId} to register under a DEK of this cluster; found DEK ${entry.dekId}, ` +
      'which is retired. Wait until the node has applied the control shard, and ask again.',
  );
}

/** Apply waits for the control shard, even where the marker then changes nothing. */
function refuseWait(state: KeyState, { shardId, entry }: ProposedEntry): void {
  if (entry.kind !== 'enable-raft' || shardId === CONTROL_SHARD) return;
  const controlApplied = state.appliedIndex.get(CONTROL_SHARD) ?? 0n;
  if (entry.controlIndex <= controlApplied) return;
  throw new RaftsealError(
    'RAFTSEAL_APPLIER_CONTROL_INDEX',
    `expected a marker of shard ${shardId} to name a control index that is applied here, which is ` +
      `${controlApplied} at most; found ${entry.controlIndex}.`,
  );
}

function asRefusal<Result>(act: () => Result): Result {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof RaftsealError)) throw error;
    throw new RaftsealError(error.code, error.message, { cause: error });
  }
}

/**
 * Every replica has to be able to write the state that follows, now and with the indexes of every
 * shard. Registrations of known writers and markers add nothing else, and are never refused.
 */
function checkWritable(before: KeyState, after: KeyState): void {
  const grows =
    after.keys.size > before.keys.size ||
    after.writers.size > before.writers.size ||
    after.cutoverIntent !== before.cutoverIntent ||
    after.backups.size > before.backups.size ||
    wrapBytes(after) > wrapBytes(before);
  if (!grows || sidecarBytes(after) <= STATE_BYTES_MAX) return;
  throw new RaftsealError(
    'RAFTSEAL_APPLIER_STATE_TOO_LARGE',
    `expected a key state of at most ${STATE_BYTES_MAX} bytes after this request; found more. ` +
      'Retire keys that nothing needs.',
  );
}

function wrapBytes({ keys }: KeyState): number {
  let byteLength = 0;
  for (const { wraps } of keys.values()) {
    for (const { kekUri, bytes } of wraps) byteLength += kekUri.length + bytes.length;
  }
  return byteLength;
}

function sidecarBytes(state: KeyState): number {
  const generation = state.generation + 1n;
  const mac = { dekId: state.activeDekId.index, macKey: new Uint8Array(32) };
  try {
    return encodeSidecar({ ...state, generation }, mac).length;
  } catch (error) {
    if (codeOf(error) === 'RAFTSEAL_SIDECAR_TOO_LARGE') return Number.POSITIVE_INFINITY;
    throw error;
  }
}
