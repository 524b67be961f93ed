/**
 * What a node derives from its index DEKs: the MAC keys of the sidecar and of the replicated key
 * state, by DEK, and the keys of the cluster, which every rotation of the index DEK brings along.
 *
 * A state is authenticated under the index DEK that is active in that very state. So a MAC key stays
 * as long as its DEK: after a step that failed, the state from before is written once more.
 */
import { ClusterKeys } from '@raftseal/envelope';
import { assert, type KeyState, RaftsealError } from '@raftseal/interface';
import { deriveMacKey } from '@raftseal/sidecar';
import { deriveReplicatedMacKey } from './replicated-codec.ts';

export interface MacKeys {
  readonly sidecar: Buffer;
  readonly replicated: Buffer;
}

/** The part of a state that its cluster keys are in. */
export type ClusterKeysSource = Pick<KeyState, 'clusterId' | 'activeDekId' | 'sealedClusterKeys'>;

/**
 * The cluster keys of a state.
 * @param indexDek its active index DEK; stays the caller's.
 * @throws RAFTSEAL_ENVELOPE_INTEGRITY
 */
export function clusterKeysOf(source: ClusterKeysSource, indexDek: Uint8Array): ClusterKeys {
  const { clusterId, activeDekId, sealedClusterKeys } = source;
  if (sealedClusterKeys === undefined) return ClusterKeys.derived(indexDek);
  assert(clusterId !== undefined, 'a state with keys has a cluster');
  const binding = { clusterId, dekId: activeDekId.index, dek: indexDek };
  return ClusterKeys.open(sealedClusterKeys, binding);
}

/** @throws RAFTSEAL_APPLIER_CLUSTER_KEYS where the keys are not those that the cluster has. */
export function checkSameClusterKeys(known: ClusterKeys, found: ClusterKeys, dekId: number): void {
  if (known.equals(found)) return;
  throw new RaftsealError(
    'RAFTSEAL_APPLIER_CLUSTER_KEYS',
    `expected index DEK ${dekId} to bring along the keys of this cluster; found others. Under them ` +
      'no row would be found: nothing was changed.',
  );
}

export class DerivedKeys {
  readonly #macKeys = new Map<number, MacKeys>();
  #clusterKeys: ClusterKeys | undefined;

  /** Undefined before the first key is loaded. */
  get clusterKeys(): ClusterKeys | undefined {
    return this.#clusterKeys;
  }

  /** The MAC keys of a state, undefined before its active index DEK is loaded. */
  macKeys({ activeDekId }: Pick<KeyState, 'activeDekId'>): MacKeys | undefined {
    return this.#macKeys.get(activeDekId.index);
  }

  /**
   * Whether an index DEK brings what it has to; asked before anything is loaded.
   * @param source the state that the DEK is loaded for; `indexDek` stays the caller's.
   * @throws RAFTSEAL_ENVELOPE_INTEGRITY, RAFTSEAL_APPLIER_CLUSTER_KEYS
   */
  check(source: ClusterKeysSource, dekId: number, indexDek: Uint8Array): void {
    if (source.activeDekId.index !== dekId) return;
    const found = clusterKeysOf(source, indexDek);
    if (this.#clusterKeys === undefined) return;
    checkSameClusterKeys(this.#clusterKeys, found, dekId);
  }

  /** Derives what belongs to a DEK that was checked. Idempotent. */
  add(source: ClusterKeysSource, dekId: number, indexDek: Uint8Array): void {
    this.#macKeys.set(dekId, {
      sidecar: deriveMacKey(indexDek),
      replicated: deriveReplicatedMacKey(indexDek),
    });
    if (source.activeDekId.index !== dekId) return;
    this.#clusterKeys ??= clusterKeysOf(source, indexDek);
  }

  delete(dekId: number): void {
    const macKeys = this.#macKeys.get(dekId);
    macKeys?.sidecar.fill(0);
    macKeys?.replicated.fill(0);
    this.#macKeys.delete(dekId);
  }

  wipe(): void {
    for (const dekId of this.#macKeys.keys()) this.delete(dekId);
    this.#clusterKeys?.wipe();
    this.#clusterKeys = undefined;
  }
}
