/**
 * The key state at start: what the sidecar holds, once it is known to be this node's and unchanged.
 * Nothing here writes: a refusal burns no nonce epoch.
 */
import { existsSync } from 'node:fs';
import { checkNonceEpochs, checkRegistry, readKeyState, type UnwrapDek } from '@raftseal/applier';
import {
  codeOf,
  type KekProvider,
  type KeyState,
  RaftsealError,
  type WriterRegistry,
} from '@raftseal/interface';
import { probeDirectory, SidecarFile } from '@raftseal/sidecar';

export interface KeyStateFile {
  readonly file: SidecarFile;
  /** Authenticated; the initial one where there is no file. */
  readonly state: KeyState;
}

export interface KeyStateRequest {
  readonly nodeId: string;
  readonly directory: string;
  readonly encryption: 'on' | 'off';
  readonly kek: KekProvider | undefined;
}

/**
 * Reads and authenticates the sidecar.
 * @throws RAFTSEAL_NODE_SIDECAR_WITHOUT_ENCRYPTION, RAFTSEAL_KEK_MISMATCH, RAFTSEAL_SIDECAR_*,
 *   RAFTSEAL_APPLIER_NODE_MISMATCH
 */
export async function readKeyStateFile(request: KeyStateRequest): Promise<KeyStateFile> {
  const { nodeId, directory, encryption, kek } = request;
  const file = new SidecarFile({ directory });
  if (encryption === 'off' && existsSync(file.path)) throw sidecarPresent(file.path);
  if (kek) await probeDirectory(directory);
  const state = await readKeyState({ nodeId, sidecar: file, unwrapDek: unwrapUnder(kek) });
  return { file, state };
}

/**
 * Refuses a key state that is older than the writer registry beside it.
 * @throws RAFTSEAL_APPLIER_REGISTRY_LOST, _EPOCH_ROLLBACK, _EPOCH_EXHAUSTED
 */
export function checkAgainstRegistry(state: KeyState, registry: WriterRegistry): void {
  checkRegistry(state, registry);
  checkNonceEpochs(state, registry);
}

/**
 * Unwraps DEKs with whichever of their wraps this KEK made: first the ones that bear its URI, then
 * the others, since a key file may have moved.
 *
 * What is returned throws RAFTSEAL_KEK_MISMATCH where no wrap opens, RAFTSEAL_NODE_KEK_REQUIRED
 * where there is no KEK.
 */
export function unwrapUnder(kek: KekProvider | undefined): UnwrapDek {
  return async (record, binding) => {
    if (!kek) throw kekRequired();
    const ownFirst = record.wraps.toSorted(
      (a, b) => Number(b.kekUri === kek.kekUri) - Number(a.kekUri === kek.kekUri),
    );
    let failure: unknown;
    for (const { bytes } of ownFirst) {
      try {
        return await kek.unwrapKey(bytes, binding);
      } catch (error) {
        if (codeOf(error) !== 'RAFTSEAL_KEK_MISMATCH') throw error;
        failure = error;
      }
    }
    throw new RaftsealError(
      'RAFTSEAL_KEK_MISMATCH',
      `the KEK ${kek.kekUri} opens no wrap of ${binding.purpose} DEK ${binding.dekId} (wrapped ` +
        `under ${record.wraps.map(({ kekUri }) => kekUri).join(', ')}): give the KEK that made ` +
        'them; nothing was changed',
      { cause: failure },
    );
  };
}

function kekRequired(): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_KEK_REQUIRED',
    'there are keys to unwrap and this node has no KEK: start it with the --kek they were made with',
  );
}

function sidecarPresent(path: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_SIDECAR_WITHOUT_ENCRYPTION',
    `${path} says that this node seals its data, and encryption is off: start with --encryption on ` +
      'and the --kek it was made with; nothing was changed',
  );
}
