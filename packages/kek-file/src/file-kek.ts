/**
 * Reads a KEK file. Every check is on the open descriptor, so that nothing changes places between
 * a check and the read. Symbolic links are followed: mounted secrets are links, and what they lead
 * to is what is checked. The file is opened without waiting: a FIFO is refused, not hung on.
 */
import { constants, type FileHandle, open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { codeOf, type KekProvider, RaftsealError } from '@raftseal/interface';
import { KEK_BYTES, kekInMemory } from '@raftseal/kek-memory';
import { describeContent } from './content.ts';

// Windows has neither: the constants are undefined there.
const withoutWaiting = (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);

const GROUP_AND_OTHERS = 0o077;

/** One more than a KEK has, so that a longer file shows. */
const READ_BYTES_MAX = KEK_BYTES + 1;

/**
 * A provider over the KEK in a file: regular, readable by its owner only (`mode & 077 == 0`), owned
 * by this process's effective user or root, exactly 32 bytes. Mode and owner are not checked on
 * Windows, which has neither. The file is read once; its later content has no effect.
 * `kekUri` is `file:` and the absolute path, links not resolved.
 * @throws RAFTSEAL_KEK_FILE_MISSING, RAFTSEAL_KEK_FILE_UNREADABLE,
 *   RAFTSEAL_KEK_FILE_NOT_REGULAR, RAFTSEAL_KEK_FILE_OWNER, RAFTSEAL_KEK_FILE_MODE,
 *   RAFTSEAL_KEK_FILE_LENGTH; RAFTSEAL_KEK_ZERO
 */
export async function kekFromFile(path: string): Promise<KekProvider> {
  const absolute = resolve(path);
  const content = Buffer.alloc(READ_BYTES_MAX);
  try {
    await readKek(absolute, content);
    return kekInMemory({ kek: content.subarray(0, KEK_BYTES), kekUri: `file:${absolute}` });
  } finally {
    content.fill(0);
  }
}

/** Fills `into` with the KEK of a file that passed every check. */
async function readKek(path: string, into: Buffer): Promise<void> {
  const handle = await openFile(path);
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw notRegular(path);
    checkAccess(path, stats);
    const bytesRead = await fill(handle, into);
    if (bytesRead !== KEK_BYTES) {
      const found = describeContent(into.subarray(0, bytesRead), stats.size);
      throw new RaftsealError(
        'RAFTSEAL_KEK_FILE_LENGTH',
        `expected ${path} to hold exactly ${KEK_BYTES} raw bytes; ${found}`,
      );
    }
  } catch (error) {
    throw error instanceof RaftsealError ? error : unreadable(path, error);
  } finally {
    await handle.close();
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | withoutWaiting);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new RaftsealError(
        'RAFTSEAL_KEK_FILE_MISSING',
        `expected a KEK file at ${path}; found none. Mount it, correct the path, or create one.`,
        { cause: error },
      );
    }
    // A socket cannot be opened; some platforms refuse a directory here already.
    if (code === 'ENXIO' || code === 'EISDIR') throw notRegular(path);
    throw unreadable(path, error);
  }
}

function checkAccess(path: string, { mode, uid }: { mode: number; uid: number }): void {
  const effectiveUser = process.geteuid?.();
  if (effectiveUser === undefined) return;
  if (uid !== effectiveUser && uid !== 0) {
    throw new RaftsealError(
      'RAFTSEAL_KEK_FILE_OWNER',
      `expected ${path} to belong to user ${effectiveUser} or root; it belongs to user ${uid}, ` +
        'who can change it. Change its owner.',
    );
  }
  if ((mode & GROUP_AND_OTHERS) !== 0) {
    throw new RaftsealError(
      'RAFTSEAL_KEK_FILE_MODE',
      `expected ${path} to have mode 0600 or 0400; found 0${(mode & 0o777).toString(8)}. Others ` +
        'may have read the KEK: consider a new one, and run chmod 600.',
    );
  }
}

/** Reads until `into` is full or the file ends; resolves to the count. */
async function fill(handle: FileHandle, into: Buffer): Promise<number> {
  let position = 0;
  while (position < into.length) {
    const { bytesRead } = await handle.read(into, position, into.length - position, position);
    if (bytesRead === 0) break;
    position += bytesRead;
  }
  return position;
}

function notRegular(path: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_FILE_NOT_REGULAR',
    `expected ${path} to be a regular file; found a directory or a special file. ` +
      'Name the file that holds the KEK.',
  );
}

function unreadable(path: string, cause: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_FILE_UNREADABLE',
    `expected to read ${path}; failed with ${codeOf(cause) ?? 'an error'}. ` +
      'Check that the user of this process may read it.',
    { cause },
  );
}
