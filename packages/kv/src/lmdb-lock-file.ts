/**
 * The lock file of an LMDB environment, with room on the disk for all of it. LMDB makes it longer
 * without writing to it and maps it into memory: on a full disk the first access to it ends the
 * process, and so does a length that is refused. What a file held that was there is kept.
 */
import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const LOCK_FILE = 'lock.mdb';
const { O_CREAT, O_RDWR } = constants;
/** Of LMDB's header and of 128 readers, its default: a longer file is taken for more readers. */
const LOCK_BYTES = 8_272;

/**
 * To be called before the environment in a directory is opened.
 * @throws what the file system throws
 */
export function prepareLockFile(directory: string): void {
  const descriptor = openSync(join(directory, LOCK_FILE), O_RDWR | O_CREAT, 0o600);
  try {
    const zeros = Buffer.alloc(LOCK_BYTES);
    for (let at = fstatSync(descriptor).size; at < LOCK_BYTES; ) {
      const written = writeSync(descriptor, zeros, at, LOCK_BYTES - at, at);
      if (written <= 0) throw new Error(`the disk took ${at} of ${LOCK_BYTES} bytes`);
      at += written;
    }
  } finally {
    closeSync(descriptor);
  }
}
