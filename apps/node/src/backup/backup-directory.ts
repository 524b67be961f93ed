/**
 * The directory of a backup while it is written. Its files are 0600, in a directory 0700.
 *
 * Order: every file is flushed, then their names (the directory), then the manifest is written
 * aside, flushed and renamed, then its name is flushed. So where there is a manifest, there is all
 * that it names: a crash before the rename leaves a directory that no reader takes for a backup.
 */
import { createHash } from 'node:crypto';
import { chmod, open, readdir, rename, rm, rmdir, statfs } from 'node:fs/promises';
import { constants } from 'node:os';
import { join, resolve, sep } from 'node:path';
import { codeOf, RaftsealError } from '@raftseal/interface';
import { flushDirectory, makeDirectory } from '../data-directory.ts';
import { type BackupFile, MANIFEST_NAME } from './manifest.ts';

const MANIFEST_ASIDE = `${MANIFEST_NAME}.tmp`;

export class BackupDirectory {
  readonly path: string;
  readonly #made: string[] = [];

  private constructor(path: string) {
    this.path = path;
  }

  /**
   * Makes it, or takes an empty one.
   * @param dataPath of the node: what is inside of it is lost with it
   * @throws RAFTSEAL_BACKUP_DIRECTORY
   */
  static async make(path: string, dataPath: string): Promise<BackupDirectory> {
    const absolute = resolve(path);
    if (`${absolute}${sep}`.startsWith(`${resolve(dataPath)}${sep}`)) {
      throw directoryError(
        absolute,
        'it is inside of the data directory, and would be lost with it',
      );
    }
    return inDirectory(absolute, async () => {
      await makeDirectory(absolute);
      const [found] = await readdir(absolute);
      if (found !== undefined) throw directoryError(absolute, `it holds ${found}`);
      await chmod(absolute, 0o700);
      return new BackupDirectory(absolute);
    });
  }

  /** @throws RAFTSEAL_BACKUP_NO_SPACE where the disk has less room than this */
  checkRoom(bytes: number): Promise<void> {
    return checkRoom(this.path, bytes);
  }

  /** Writes one file and flushes it. @throws what the chunks throw, and as `make` */
  async write(name: string, chunks: AsyncIterable<Uint8Array>): Promise<BackupFile> {
    const hash = createHash('sha256');
    let bytes = 0;
    await inDirectory(this.path, async () => {
      const handle = await open(join(this.path, name), 'wx', 0o600);
      this.#made.push(name);
      try {
        for await (const chunk of chunks) {
          hash.update(chunk);
          bytes += chunk.length;
          await handle.writeFile(chunk);
        }
        await handle.sync();
      } finally {
        await handle.close();
      }
    });
    return { name, bytes, sha256: hash.digest('hex') };
  }

  /** Makes the backup whole: everything else is written. */
  async finish(manifest: Uint8Array): Promise<void> {
    await inDirectory(this.path, async () => {
      await flushDirectory(this.path);
      await this.write(MANIFEST_ASIDE, once(manifest));
      await rename(join(this.path, MANIFEST_ASIDE), join(this.path, MANIFEST_NAME));
      this.#made.push(MANIFEST_NAME);
      await flushDirectory(this.path);
    });
  }

  /** Removes what was written, the manifest first, as far as the disk lets it. */
  async abandon(): Promise<void> {
    for (const name of this.#made.toReversed()) {
      await rm(join(this.path, name), { force: true }).catch(() => undefined);
    }
    await rmdir(this.path).catch(() => undefined);
  }
}

/** @throws RAFTSEAL_BACKUP_NO_SPACE where the disk of a directory has less room than this */
export async function checkRoom(path: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(path);
  const free = bavail * bsize;
  if (free >= bytes) return;
  throw new RaftsealError(
    'RAFTSEAL_BACKUP_NO_SPACE',
    `${path} was expected to have room for ${bytes} bytes, and has ${free}: use another disk`,
  );
}

/** Bytes that are there already, as one chunk. */
export async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}

async function inDirectory<T>(path: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof RaftsealError) throw error;
    const code = codeOf(error) ?? 'unexpected error';
    if (!isDiskFull(error)) throw directoryError(path, code, error);
    const message = `the disk of ${path} is full: use another one`;
    throw new RaftsealError('RAFTSEAL_BACKUP_NO_SPACE', message, { cause: error });
  }
}

function isDiskFull(error: unknown): boolean {
  const { errno } = error as { errno?: unknown };
  // Node has a number for a quota that is used up, and no name: its code is of no use.
  return codeOf(error) === 'ENOSPC' || errno === -constants.errno.EDQUOT;
}

function directoryError(path: string, found: string, cause?: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_BACKUP_DIRECTORY',
    `expected ${path} to be a new or empty directory outside of the data directory that the user ` +
      `running the node can write to (${found}): use another one`,
    cause === undefined ? {} : { cause },
  );
}
