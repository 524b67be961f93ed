/**
 * Asks a directory whether it can do what the sidecar's replacement needs, before any nonce epoch
 * is claimed: create, write, fsync, rename, fsync of the directory.
 */
import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { codeOf, RaftsealError } from '@raftseal/interface';
import { nodeFileSystem, type SidecarFileSystem } from './file-system.ts';
import { replaceFile } from './replacement.ts';
import { directoryMissing } from './sidecar-file.ts';

const PROBE_BYTES = 64;

/**
 * Resolves where the directory can replace a file durably. Leaves no file behind.
 * @throws RAFTSEAL_SIDECAR_DIRECTORY_MISSING; RAFTSEAL_SIDECAR_UNSUPPORTED_FILESYSTEM
 */
export async function probeDirectory(
  directory: string,
  fileSystem: SidecarFileSystem = nodeFileSystem,
): Promise<void> {
  const absolute = resolve(directory);
  if (!(await fileSystem.isDirectory(absolute))) throw directoryMissing(absolute);
  const stem = join(absolute, `.raftseal-probe-${randomBytes(8).toString('hex')}`);
  try {
    await replaceFile(fileSystem, {
      path: `${stem}.final`,
      temporaryPath: `${stem}.tmp`,
      bytes: randomBytes(PROBE_BYTES),
    });
    await fileSystem.remove(`${stem}.final`);
    await fileSystem.syncDirectory(absolute);
  } catch (cause) {
    await fileSystem.remove(`${stem}.final`).catch(() => undefined);
    throw new RaftsealError(
      'RAFTSEAL_SIDECAR_UNSUPPORTED_FILESYSTEM',
      `expected ${absolute} to replace a file durably; failed with ${codeOf(cause) ?? 'an error'}` +
        '. Use a local file system that is writable and supports fsync of files and directories.',
      { cause },
    );
  }
}
