/** How a node comes by its key state at start: read, decoded, and authenticated before it is used. */
import { assert, type KeyState } from '@raftseal/interface';
import { deriveMacKey, type UnverifiedSidecar } from '@raftseal/sidecar';
import type { UnwrapDek } from './dek-unwrap.ts';
import { checkNode } from './startup-checks.ts';
import { initialKeyState } from './transition.ts';

export interface KeyStateSource {
  readonly nodeId: string;
  /** `SidecarFile` is one. */
  readonly sidecar: { read(): Promise<UnverifiedSidecar | undefined> };
  readonly unwrapDek: UnwrapDek;
}

/**
 * The state in the sidecar, its MAC checked under the DEK that it names; the initial state where
 * there is no file.
 * @throws what `sidecar.read` and `unwrapDek` throw; RAFTSEAL_SIDECAR_MAC;
 *   RAFTSEAL_APPLIER_NODE_MISMATCH
 */
export async function readKeyState({
  nodeId,
  sidecar,
  unwrapDek,
}: KeyStateSource): Promise<KeyState> {
  const unverified = await sidecar.read();
  if (unverified === undefined) return initialKeyState(nodeId);
  const { state: claimed, macDekId } = unverified;
  const key = claimed.keys.get(macDekId);
  assert(key !== undefined && claimed.clusterId !== undefined, 'a decoded sidecar has its keys');
  const binding = { clusterId: claimed.clusterId, dekId: macDekId, purpose: key.purpose };
  const dek = await unwrapDek(key, binding);
  const macKey = deriveMacKey(dek);
  dek.fill(0);
  try {
    const state = unverified.verify(macKey);
    checkNode(state, nodeId);
    return state;
  } finally {
    macKey.fill(0);
  }
}
