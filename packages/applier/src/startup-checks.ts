/**
 * What a node asks before it applies or seals anything. Each check is a function of its own, so
 * that a node can put the refusals before the first epoch is used up, and name the one that spoke.
 */
import {
  type KeyRecord,
  type KeyState,
  NONCE_EPOCH_MAX,
  RaftsealError,
  type WriterRegistry,
} from '@raftseal/interface';
import { writerIdOf } from './writer-registry.ts';

const sealingPurposes = ['storage', 'raft'] as const;

/** @throws RAFTSEAL_APPLIER_NODE_MISMATCH where the sidecar was copied from another node. */
export function checkNode(state: KeyState, nodeId: string): void {
  if (state.nodeId === nodeId) return;
  throw new RaftsealError(
    'RAFTSEAL_APPLIER_NODE_MISMATCH',
    `expected the sidecar of node ${nodeId}; found the one of ${state.nodeId}. ` +
      'Two nodes with one sidecar would use the same nonces: give each its own data directory.',
  );
}

/**
 * The registry is written before the sidecar, so it has a row of every writer that the sidecar
 * knows. A registry restored from an older copy would let a used epoch register again.
 * @throws RAFTSEAL_APPLIER_REGISTRY_LOST
 */
export function checkRegistry(state: KeyState, registry: Pick<WriterRegistry, 'rows'>): void {
  const registered = new Set(registry.rows().map(({ writerId }) => writerId));
  for (const [writerId, nodeId] of state.writers) {
    if (registered.has(writerId)) continue;
    throw new RaftsealError(
      'RAFTSEAL_APPLIER_REGISTRY_LOST',
      `expected a registry row of writer ${writerId} (${nodeId}), which the sidecar knows; found ` +
        'none. Restore the whole data directory, or rebuild the node from a snapshot.',
    );
  }
}

/**
 * No epoch of this node in the registry is above the sidecar's, and the keys that new seals use
 * have an epoch left.
 * @throws RAFTSEAL_APPLIER_EPOCH_ROLLBACK, RAFTSEAL_APPLIER_EPOCH_EXHAUSTED
 */
export function checkNonceEpochs(state: KeyState, registry: Pick<WriterRegistry, 'row'>): void {
  const writerId = writerIdOf(state.writers, state.nodeId);
  if (writerId === undefined) return;
  for (const [dekId, key] of state.keys) {
    checkNotBehind({ dekId, key, lastEpoch: registry.row(dekId, writerId)?.lastEpoch });
  }
  for (const purpose of sealingPurposes) {
    const dekId = state.activeDekId[purpose];
    const key = state.keys.get(dekId);
    if (key !== undefined) checkEpochLeft(dekId, key);
  }
}

/**
 * The cutover that a snapshot of a shard's store records is the one of the sidecar.
 * @param snapshot the index that the snapshot holds, or undefined where its shard was not cut over:
 *   then the marker may have followed it, and any is right.
 * @throws RAFTSEAL_APPLIER_CUTOVER_DIVERGENCE
 */
export function checkCutover(
  state: KeyState,
  { shardId, snapshot }: { shardId: number; snapshot: bigint | undefined },
): void {
  const recorded = state.cutoverIndex.get(shardId);
  if (snapshot === undefined || snapshot === recorded) return;
  throw new RaftsealError(
    'RAFTSEAL_APPLIER_CUTOVER_DIVERGENCE',
    `expected the cutover of shard ${shardId} at ${snapshot}, as its snapshot says; found ` +
      `${recorded ?? 'none'} in the sidecar. Restore the whole data directory.`,
  );
}

interface KeyEpoch {
  readonly dekId: number;
  readonly key: KeyRecord;
  /** Of this node's row under the key. */
  readonly lastEpoch: number | undefined;
}

/** Whether the next epoch under a key can be claimed. */
export function checkEpoch(epoch: KeyEpoch): void {
  checkNotBehind(epoch);
  checkEpochLeft(epoch.dekId, epoch.key);
}

function checkNotBehind({ dekId, key, lastEpoch = 0 }: KeyEpoch): void {
  if (key.nonceEpoch >= lastEpoch) return;
  throw new RaftsealError(
    'RAFTSEAL_APPLIER_EPOCH_ROLLBACK',
    `expected nonce epoch ${lastEpoch} or higher for DEK ${dekId}, which this node has registered; ` +
      `found ${key.nonceEpoch} in the sidecar. It is an old copy: rebuild it from the log or from another node.`,
  );
}

function checkEpochLeft(dekId: number, key: KeyRecord): void {
  if (key.nonceEpoch < NONCE_EPOCH_MAX) return;
  throw new RaftsealError(
    'RAFTSEAL_APPLIER_EPOCH_EXHAUSTED',
    `expected a nonce epoch below ${NONCE_EPOCH_MAX} for DEK ${dekId}; found ${key.nonceEpoch}. ` +
      `Rotate the ${key.purpose} DEK before this node seals again.`,
  );
}
