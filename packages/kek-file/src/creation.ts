/** Makes a KEK file. It never takes the place of another one: a lost KEK is lost data. */
import { randomFillSync } from 'node:crypto';
import { constants, type FileHandle, open, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { codeOf, RaftsealError } from '@raftseal/interface';
import { KEK_BYTES } from '@raftseal/kek-memory';

/**
 * Creates a file of 32 random bytes and mode 0600, and resolves once it and its name are on
 * stable storage. After a failure no file is left.
 * @throws RAFTSEAL_KEK_FILE_EXISTS where anything has that name; RAFTSEAL_KEK_FILE_UNWRITABLE
 */
export async function createKekFile(path: string): Promise<void> {
  const absolute = resolve(path);
  const handle = await createFile(absolute);
  const kek = Buffer.alloc(KEK_BYTES);
  try {
    randomFillSync(kek);
    try {
      await writeWhole(handle, kek);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await syncDirectory(dirname(absolute));
  } catch (error) {
    await rm(absolute, { force: true }).catch(() => undefined);
    throw unwritable(absolute, error);
  } finally {
    kek.fill(0);
  }
}

async function createFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx', 0o600);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw unwritable(path, error);
    throw new RaftsealError(
      'RAFTSEAL_KEK_FILE_EXISTS',
      `expected no file at ${path}; found one. Use it, or choose another path: data sealed under ` +
        'a KEK that is overwritten cannot be opened again.',
      { cause: error },
    );
  }
}

/** A write may take fewer bytes than given, and says so only by the count it returns. */
async function writeWhole(handle: FileHandle, bytes: Buffer): Promise<void> {
  let position = 0;
  while (position < bytes.length) {
    const left = bytes.length - position;
    const { bytesWritten } = await handle.write(bytes, position, left, position);
    if (bytesWritten === 0) throw new Error(`the disk took ${position} of ${bytes.length} bytes`);
    position += bytesWritten;
  }
}

async function syncDirectory(path: string): Promise<void> {
  // Windows has no flush of a directory: NTFS journals the creation itself.
  if (process.platform === 'win32') return;
  const handle = await open(path, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function unwritable(path: string, cause: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_FILE_UNWRITABLE',
    `expected to create ${path}; failed with ${codeOf(cause) ?? 'an error'}. ` +
      'Check that its directory exists, is writable and has room.',
    { cause },
  );
}
