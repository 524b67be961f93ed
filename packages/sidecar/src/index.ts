/**
 * The sidecar: the file in which a node keeps its key state.
 *
 * - {@link SidecarFile}: reads and durably replaces the file.
 * - {@link encodeSidecar}, {@link decodeSidecar}: its bytes.
 * - {@link deriveMacKey}: the key of its MAC, from a DEK.
 * - {@link inspectSidecar}: its content for human eyes.
 * - {@link stateProblem}: why a key state cannot be on disk, or come from another node.
 * - {@link probeDirectory}: whether a directory can hold it durably.
 * @packageDocumentation
 */
export {
  decodeSidecar,
  deriveMacKey,
  encodeSidecar,
  SIDECAR_BYTES_MAX,
  SIDECAR_FORMAT_VERSION,
  type SidecarMac,
  type UnverifiedSidecar,
} from './codec.ts';
export { probeDirectory } from './durability-probe.ts';
export {
  nodeFileSystem,
  type SidecarFileHandle,
  type SidecarFileSystem,
} from './file-system.ts';
export { inspectSidecar, type KeyInspection, type SidecarInspection } from './inspection.ts';
export { SIDECAR_FILE_NAME, SidecarFile, type SidecarFileOptions } from './sidecar-file.ts';
export { stateProblem } from './state-rules.ts';
