/**
 * The key state at start: what the sidecar holds, once it is known to be this node's and unchanged.
 * Nothing here writes: a refusal burns no nonce epoch.
 */
import { checkNonceEpochs, checkRegistry, readKeyState } from '@raftseal/applier';
import { codeOf, type KeyState, RaftsealError, type WriterRegistry } from '@raftseal/interface';
import {
  nodeFileSystem,
  probeDirectory,
  SidecarFile,
  type SidecarFileSystem,
} from '@raftseal/sidecar';
import type { KekSet } from './kek-set.ts';

export interface KeyStateFile {
  readonly file: SidecarFile;
  /** Authenticated; the initial one where there is no file. */
  readonly state: KeyState;
}

export interface KeyStateRequest {
  readonly nodeId: string;
  readonly directory: string;
  readonly encryption: 'on' | 'off';
  readonly keks: KekSet;
  /** Default: the one of this machine. */
  readonly fileSystem?: SidecarFileSystem;
}

/**
 * Reads and authenticates the sidecar.
 * @throws RAFTSEAL_NODE_SIDECAR_WITHOUT_ENCRYPTION, RAFTSEAL_KEK_MISMATCH, RAFTSEAL_SIDECAR_*,
 *   RAFTSEAL_APPLIER_NODE_MISMATCH
 */
export async function readKeyStateFile(request: KeyStateRequest): Promise<KeyStateFile> {
  const { nodeId, directory, encryption, keks, fileSystem = nodeFileSystem } = request;
  const file = new SidecarFile({ directory, fileSystem });
  const isUnexpected = encryption === 'off' && (await isThere(file.path, fileSystem));
  if (isUnexpected) throw sidecarPresent(file.path);
  if (!keks.isEmpty) await probeDirectory(directory, fileSystem);
  const state = await readKeyState({ nodeId, sidecar: file, unwrapDek: keks.unwrap });
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

async function isThere(path: string, fileSystem: SidecarFileSystem): Promise<boolean> {
  try {
    await (await fileSystem.open(path)).close();
    return true;
  } catch (error) {
    return codeOf(error) !== 'ENOENT';
  }
}

function sidecarPresent(path: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_SIDECAR_WITHOUT_ENCRYPTION',
    `${path} says that this node seals its data, and encryption is off: start with --encryption on ` +
      'and the --kek it was made with; nothing was changed',
  );
}
