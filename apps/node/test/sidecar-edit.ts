/** Authentic sidecars that were never written: what a copy from another time would hold. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { KekProvider, KeyState } from '@raftseal/interface';
import { deriveMacKey, SIDECAR_FILE_NAME, SidecarFile } from '@raftseal/sidecar';
import { KekSet } from '../src/kek-set.ts';

/** @param directory of the sidecar */
export async function editSidecar(
  directory: string,
  kek: KekProvider,
  edit: (state: KeyState) => KeyState,
): Promise<void> {
  const sidecar = await new SidecarFile({ directory }).read();
  const { clusterId, keys } = sidecar?.state ?? {};
  const key = keys?.get(sidecar?.macDekId ?? 0);
  if (!sidecar || !clusterId || !key) throw new Error('there is a sidecar to edit');
  const { purpose } = key;
  const dek = await KekSet.of(kek).unwrap(key, { clusterId, dekId: sidecar.macDekId, purpose });
  const mac = { dekId: sidecar.macDekId, macKey: deriveMacKey(dek) };
  const edited = edit(sidecar.verify(mac.macKey));
  // A new file, so that nothing is held against an older state.
  await rm(join(directory, SIDECAR_FILE_NAME));
  await new SidecarFile({ directory }).write(edited, mac);
}
