/** How a node that lost its sidecar comes by a new one: from what another node has. */
import { type KeyState, RaftsealError, type WriterRow } from '@raftseal/interface';
import { adoption } from './adoption.ts';
import type { ReplicatedKeyState } from './replicated-key-state.ts';
import { checkNode } from './startup-checks.ts';
import { initialKeyState } from './transition.ts';
import type { WriterRowView } from './writer-registry.ts';

export interface ResyncRequest {
  readonly nodeId: string;
  /** Of a node that is up to date, from `openReplicatedKeyState`. */
  readonly replicated: ReplicatedKeyState;
  /** This node's, as far as it is left. */
  readonly registry: WriterRowView;
  /** Authenticated; undefined where there is none, or none that can be. */
  readonly sidecar?: KeyState | undefined;
}

export interface ResyncedKeyState {
  /** To be written to the sidecar, once `rows` are durable. */
  readonly state: KeyState;
  /** To be put into the registry. */
  readonly rows: readonly WriterRow[];
}

/**
 * The key state that the node goes on with. Its nonce epochs are the highest ones that its registry
 * or the other node's has of it: the next claim is above all that have been registered.
 * @throws RAFTSEAL_APPLIER_RESYNC_NOT_NEEDED where sidecar and registry have everything already;
 *   RAFTSEAL_APPLIER_NODE_MISMATCH; _KEY_STATE_INVALID, _FOREIGN_KEY_STATE, _KEY_STATE_CONFLICT.
 */
export function resyncKeyState(request: ResyncRequest): ResyncedKeyState {
  const { nodeId, replicated, registry, sidecar } = request;
  if (sidecar !== undefined) checkNode(sidecar, nodeId);
  const before = sidecar ?? initialKeyState(nodeId);
  const { state, effects } = adoption(before, { registry }, replicated);
  const rows = effects.flatMap((effect) => (effect.kind === 'writer-rows' ? effect.rows : []));
  if (state === before && rows.length === 0) {
    throw new RaftsealError(
      'RAFTSEAL_APPLIER_RESYNC_NOT_NEEDED',
      `expected the sidecar of ${nodeId} to be missing, damaged or behind; found one that is intact ` +
        'and has all that the other node has. Nothing was changed.',
    );
  }
  return { state: { ...state, generation: before.generation + 1n }, rows };
}
