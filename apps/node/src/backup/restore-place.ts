/**
 * Where a restore is made until all of it is there: `DATA.restoring`, beside the data directory.
 *
 * | path | content |
 * | --- | --- |
 * | lock | which process restores |
 * | importing.json | of which backup, to which prefix of etcd; written before anything is made |
 * | complete.json | the same, once `data/` is whole and durable |
 * | data/ | what becomes the data directory |
 *
 * Order: `importing.json`, the data, `complete.json`; then the old data directory is renamed aside,
 * `data/` takes its place, and the rest goes. A crash before `complete.json` leaves the old data
 * directory, and the next restore begins again. A crash after it leaves the old one, the new one,
 * or for the moment between two renames neither under its name: the next restore goes on, and
 * until then no node starts with an empty directory in their place.
 */
import { lstat, readdir, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { codeOf, RaftsealError } from '@raftseal/interface';
import {
  dataDirectoryPaths,
  flushDirectory,
  makeDirectory,
  readIdentity,
  restoringPath,
  writeFlushed,
} from '../data-directory.ts';
import { type DirectoryLock, lockDirectory } from '../data-directory-lock.ts';

/** What a restore is of, and what it makes. */
export interface RestoreMark {
  readonly backupId: string;
  /** Null: the logs are on the node's own disk. */
  readonly etcdPrefix: string | null;
  readonly kekUris: readonly string[];
  readonly shardCount: number;
}

export function isSameMark(found: RestoreMark | undefined, mark: RestoreMark): boolean {
  return found !== undefined && markText(found) === markText(mark);
}

export class RestorePlace {
  /** Of the data directory. */
  readonly dataPath: string;
  /** Where the data directory is made. */
  readonly newPath: string;
  readonly #path: string;
  readonly #locks: DirectoryLock[] = [];

  private constructor(dataPath: string) {
    this.dataPath = dataPath;
    this.#path = restoringPath(dataPath);
    this.newPath = join(this.#path, 'data');
  }

  /**
   * Keeps other restores, and the node itself, away from the data directory.
   * @throws RAFTSEAL_NODE_DATA_DIR_LOCKED, RAFTSEAL_BACKUP_RESTORE_TARGET
   */
  static async open(path: string): Promise<RestorePlace> {
    const place = new RestorePlace(resolve(path));
    try {
      await makeDirectory(place.#path);
      place.#locks.push(await lockDirectory(join(place.#path, 'lock')));
      await place.#checkOneDisk();
      if (await readIdentity(place.dataPath)) {
        place.#locks.push(await lockDirectory(dataDirectoryPaths(place.dataPath).lock));
      }
      return place;
    } catch (error) {
      await place.close();
      throw error instanceof RaftsealError ? error : unusable(place.dataPath, error);
    }
  }

  /** What was begun here and has not ended. */
  begun(): Promise<RestoreMark | undefined> {
    return readMark(join(this.#path, 'importing.json'));
  }

  /** What is whole here and has not, or not wholly, taken its place. */
  completed(): Promise<RestoreMark | undefined> {
    return readMark(join(this.#path, 'complete.json'));
  }

  /** Whether the data that was completed stands where it belongs. */
  async hasTakenPlace(): Promise<boolean> {
    return (await entriesOf(this.newPath)) === undefined;
  }

  /**
   * Refuses a target that holds anything but, where it is to be replaced, a data directory.
   * @throws RAFTSEAL_BACKUP_RESTORE_TARGET
   */
  async checkTarget(replace: boolean): Promise<void> {
    const found = await entriesOf(this.dataPath);
    if (found === undefined || found.length === 0) return;
    if (!replace) {
      throw targetError(
        `${this.dataPath} was expected to be absent or empty, and holds data: give --replace to ` +
          'have it kept under another name, or another --data',
      );
    }
    if (await readIdentity(this.dataPath)) return;
    throw targetError(
      `${this.dataPath} was expected to be the data directory of a node, which --replace keeps ` +
        'under another name, and is something else: give another --data',
    );
  }

  /** Removes what is here of an earlier attempt, and notes what is begun. */
  async begin(mark: RestoreMark): Promise<void> {
    // Gone for good before what it vouches for is touched.
    await rm(join(this.#path, 'complete.json'), { force: true });
    await flushDirectory(this.#path);
    await rm(this.newPath, { recursive: true, force: true });
    await rm(join(this.#path, 'importing.json'), { force: true });
    await writeFlushed(join(this.#path, 'importing.json'), markText(mark));
  }

  /** The node has flushed every file in `newPath`; their names are flushed here. */
  async complete(mark: RestoreMark): Promise<void> {
    const entries = await readdir(this.newPath, { recursive: true, withFileTypes: true });
    for (const entry of entries) {
      if (entry.isDirectory()) await flushDirectory(join(entry.parentPath, entry.name));
    }
    await flushDirectory(this.newPath);
    await flushDirectory(this.#path);
    await writeFlushed(join(this.#path, 'complete.json'), markText(mark));
  }

  /** Renames the data directory aside; undefined where there is none. */
  async setAside(): Promise<string | undefined> {
    const found = await entriesOf(this.dataPath);
    if (found === undefined) return undefined;
    if (found.length === 0) {
      await rmdir(this.dataPath);
      return undefined;
    }
    const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
    const kept = `${this.dataPath}.replaced-${time}`;
    await this.#rename(this.dataPath, kept);
    // The lock went along, under a name that its owner does not know.
    await rm(dataDirectoryPaths(kept).lock, { force: true });
    return kept;
  }

  /** Puts the new data directory in its place, which is free. */
  async takePlace(): Promise<void> {
    await this.#rename(this.newPath, this.dataPath);
    await flushDirectory(this.#path);
  }

  /** Removes what is left here once the data directory is in its place. */
  async clear(): Promise<void> {
    await rm(join(this.#path, 'importing.json'), { force: true });
    await rm(join(this.#path, 'complete.json'), { force: true });
  }

  /** Gives the locks back; what is left stays, for the next restore. */
  async close(): Promise<void> {
    for (const lock of this.#locks.splice(0)) await lock.release().catch(() => undefined);
    // Fails where something is left.
    await rmdir(this.#path).catch(() => undefined);
  }

  async #rename(from: string, to: string): Promise<void> {
    try {
      await rename(from, to);
    } catch (error) {
      throw unusable(this.dataPath, error);
    }
    await flushDirectory(dirname(this.dataPath));
  }

  /** A mount point cannot be renamed: to know it late would cost the whole import. */
  async #checkOneDisk(): Promise<void> {
    const found = await lstat(this.dataPath).catch(() => undefined);
    if (found === undefined) return;
    const { dev } = await lstat(this.#path);
    if (found.isDirectory() && found.dev === dev) return;
    throw targetError(
      `${this.dataPath} was expected to be a directory that can be renamed, and is a mount point ` +
        'or a link: give a directory inside of it as --data',
    );
  }
}

function markText({ backupId, etcdPrefix, kekUris, shardCount }: RestoreMark): string {
  return `${JSON.stringify({ backupId, etcdPrefix, kekUris, shardCount }, null, 2)}\n`;
}

/** Undefined where there is none, or none that can be read: then nothing counts here. */
async function readMark(path: string): Promise<RestoreMark | undefined> {
  try {
    const text = await readFile(path, 'utf8');
    const mark = JSON.parse(text) as RestoreMark;
    return markText(mark) === text ? mark : undefined;
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Undefined where there is no such directory. */
async function entriesOf(path: string): Promise<readonly string[] | undefined> {
  try {
    // What file systems keep at the root of a volume.
    return (await readdir(path)).filter((name) => name !== 'lost+found');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw unusable(path, error);
  }
}

function targetError(message: string, cause?: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_BACKUP_RESTORE_TARGET',
    `${message}; nothing was changed there`,
    cause === undefined ? {} : { cause },
  );
}

function unusable(path: string, cause: unknown): RaftsealError {
  const code = codeOf(cause) ?? 'unexpected error';
  const message = `${path} was expected to be a directory that this user can make or rename (${code})`;
  return targetError(message, cause);
}
