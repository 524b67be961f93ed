/**
 * Replaces a file so that a crash or a power cut at any instant leaves the old content or the new
 * one, whole, and so that the new one stays once the promise resolves.
 *
 * Fault model: any call may fail, write less than asked, or be the last one before the process or
 * the machine stops. Data reaches the disk by fsync only, names by fsync of the directory only,
 * in any order before that. After a failed fsync the kernel may have dropped the dirty pages and
 * report success the next time (fsyncgate; Rebello et al., "Can Applications Recover from fsync
 * Failures?", USENIX ATC 2020), so such a failure is fatal and never retried.
 */
import { dirname } from 'node:path';
import { codeOf, fatalError, RaftsealError } from '@raftseal/interface';
import type { SidecarFileHandle, SidecarFileSystem } from './file-system.ts';

export interface Replacement {
  readonly path: string;
  /** In the same directory; whatever has that name is removed first. */
  readonly temporaryPath: string;
  readonly bytes: Uint8Array;
}

/**
 * Steps: remove a stale temporary file, create it, write every byte, fsync, read back and compare,
 * close, rename, fsync the directory. After a failure the temporary file is removed, where the
 * disk still lets it.
 * @throws RAFTSEAL_SIDECAR_WRITE_FAILED; RAFTSEAL_SIDECAR_FLUSH_FAILED (fatal);
 *   RAFTSEAL_SIDECAR_READBACK (fatal).
 */
export async function replaceFile(
  fileSystem: SidecarFileSystem,
  { path, temporaryPath, bytes }: Replacement,
): Promise<void> {
  try {
    await fileSystem.remove(temporaryPath);
    await withHandle(await fileSystem.create(temporaryPath), async (handle) => {
      await writeWhole(handle, bytes);
      await flush(temporaryPath, () => handle.sync());
      await compareWithDisk(handle, { path: temporaryPath, bytes });
    });
    await fileSystem.rename(temporaryPath, path);
  } catch (error) {
    await fileSystem.remove(temporaryPath).catch(() => undefined);
    throw error instanceof RaftsealError ? error : writeFailed(path, error);
  }
  // The new content may be seen from here on, but a power cut can still bring the old one back.
  await flush(path, () => fileSystem.syncDirectory(dirname(path)));
}

/** Runs `body` and closes the handle after it; the first error of the two is thrown. */
export async function withHandle<Result>(
  handle: SidecarFileHandle,
  body: (handle: SidecarFileHandle) => Promise<Result>,
): Promise<Result> {
  let result: Result;
  try {
    result = await body(handle);
  } catch (error) {
    await handle.close().catch(() => undefined);
    throw error;
  }
  await handle.close();
  return result;
}

/** A write may take fewer bytes than given, and says so only by the count it returns. */
async function writeWhole(handle: SidecarFileHandle, bytes: Uint8Array): Promise<void> {
  let position = 0;
  while (position < bytes.length) {
    const written = await handle.write(bytes.subarray(position), position);
    if (written <= 0) throw new Error(`the disk took ${position} of ${bytes.length} bytes`);
    position += written;
  }
}

/** Reads until the end of the file or `bytesMax`, whichever comes first. */
export async function readBounded(handle: SidecarFileHandle, bytesMax: number): Promise<Buffer> {
  const { sizeBytes } = await handle.stat();
  let into = Buffer.alloc(Math.min(sizeBytes + 1, bytesMax));
  let position = 0;
  while (position < bytesMax) {
    if (position === into.length) into = Buffer.concat([into], Math.min(2 * position, bytesMax));
    const count = await handle.read(into.subarray(position), position);
    if (count === 0) break;
    position += count;
  }
  return into.subarray(0, position);
}

async function flush(path: string, sync: () => Promise<void>): Promise<void> {
  try {
    await sync();
  } catch (cause) {
    throw fatalError(
      'RAFTSEAL_SIDECAR_FLUSH_FAILED',
      `expected the fsync for ${path} to succeed; it failed with ${codeOf(cause) ?? 'an error'}. ` +
        'What is on the disk is unknown: check the disk, then restart the node.',
      cause,
    );
  }
}

async function compareWithDisk(
  handle: SidecarFileHandle,
  { path, bytes }: { path: string; bytes: Uint8Array },
): Promise<void> {
  const found = await readBounded(handle, bytes.length + 1);
  if (found.equals(bytes)) return;
  throw fatalError(
    'RAFTSEAL_SIDECAR_READBACK',
    `expected ${path} to hold the ${bytes.length} bytes just flushed; read ${found.length} bytes ` +
      'that differ. The disk is not to be trusted: replace it, then restart the node.',
  );
}

function writeFailed(path: string, cause: unknown): RaftsealError {
  const reason = codeOf(cause) ?? (cause instanceof Error ? cause.message : 'an unknown error');
  return new RaftsealError(
    'RAFTSEAL_SIDECAR_WRITE_FAILED',
    `expected to replace ${path}; failed with ${reason}. The file stands as it was: ` +
      'make room or repair the directory, then write again.',
    { cause },
  );
}
