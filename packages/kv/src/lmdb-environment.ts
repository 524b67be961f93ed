/**
 * The environment of a shard, in a directory of its own. Its file can be replaced while it is used,
 * by a copy of itself without free pages (nothing of what was deleted is left in it then), or by
 * another one that was filled beside it. The rename of the new file is the point at which it
 * counts; before that a crash leaves the old file, after it the new one.
 *
 * A view that is open stays one of the file that it was opened on.
 */
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { codeOf, fatalError } from '@raftseal/interface';
import { type ConnectionOptions, LmdbConnection } from './lmdb-connection.ts';
import type { LmdbView } from './lmdb-view.ts';
import { openedIn } from './opened-in.ts';
import type { TableRow } from './row-source.ts';
import type { StoreEnvironment } from './store-environment.ts';
import type { WriteBatch } from './write-batch.ts';

const DATA_FILE = 'data.mdb';
const LOCK_FILE = 'lock.mdb';
const COPY_DIRECTORY = 'copy';
const REPLACEMENT_DIRECTORY = 'replacement';

export class LmdbEnvironment implements StoreEnvironment {
  readonly #options: ConnectionOptions;
  /** Of files that were replaced: closed, or waiting for their last view. */
  readonly #retired: LmdbConnection[] = [];
  #connection: LmdbConnection;

  private constructor(options: ConnectionOptions, connection: LmdbConnection) {
    this.#options = options;
    this.#connection = connection;
  }

  /** @param options `path` is made if it does not exist. */
  static async open(options: ConnectionOptions): Promise<LmdbEnvironment> {
    openedIn(options.path, () => {
      mkdirSync(options.path, { recursive: true, mode: 0o700 });
      removeDirectory(join(options.path, COPY_DIRECTORY));
      removeDirectory(join(options.path, REPLACEMENT_DIRECTORY));
    });
    return new LmdbEnvironment(options, await LmdbConnection.open(options));
  }

  get fileBytes(): number {
    return statSync(join(this.#options.path, DATA_FILE)).size;
  }

  /** How many rows a table has, as of the latest commit. */
  count(table: number): number {
    return this.#connection.count(table);
  }

  /** The value, copied: the caller's to keep. */
  get(table: number, key: Buffer): Buffer | undefined {
    return this.#connection.get(table, key);
  }

  /** Rows in key order from `start` on, at most `limit`; to be read in the same turn. */
  range(table: number, start: Buffer, limit: number): Iterable<TableRow> {
    return this.#connection.range(table, start, limit);
  }

  /** What the tables hold as of the latest commit; to be called while none is under way. */
  openView(): LmdbView {
    return this.#connection.openView();
  }

  /** A batch whose chunks go to the store's thread as they fill; `commit` writes them. */
  startBatch(): WriteBatch {
    return this.#connection.startBatch();
  }

  /**
   * Writes everything that was batched since the last commit in one transaction.
   * @throws RAFTSEAL_KV_COMMIT_FAILED: fatal, and so is every later call.
   */
  async commit(): Promise<void> {
    await this.#connection.commit();
  }

  /**
   * Replaces the file by a copy without free pages. Nothing may be batched meanwhile; reads go on.
   * @returns undefined, or why it was not done: the file is the old one then.
   * @throws RAFTSEAL_KV_COMMIT_FAILED where the directory could not be flushed.
   */
  async rewrite(): Promise<string | undefined> {
    try {
      return await this.#replaceByCopy(join(this.#options.path, COPY_DIRECTORY));
    } catch (error) {
      // A copy that could not be made or flushed counts for nothing.
      if (codeOf(error) === 'RAFTSEAL_KV_OPEN_FAILED') return String(error);
      throw error;
    }
  }

  /** A new and empty environment beside this one, to be given to `replace` or `discard`. */
  async startReplacement(): Promise<LmdbConnection> {
    const path = join(this.#options.path, REPLACEMENT_DIRECTORY);
    openedIn(path, () => {
      removeDirectory(path);
      mkdirSync(path, { mode: 0o700 });
    });
    return LmdbConnection.open({ ...this.#options, path });
  }

  /** Removes what is left of a replacement, as far as the disk lets it. Idempotent. */
  async discard(replacement: LmdbConnection): Promise<void> {
    await replacement.close();
    try {
      removeDirectory(join(this.#options.path, REPLACEMENT_DIRECTORY));
    } catch {
      // Nothing in it counts, and the next start removes it.
    }
  }

  /**
   * Puts what was committed to the replacement in the place of the file. Nothing may be batched or
   * committed meanwhile.
   * @returns what has to be called for reads to see it; until then they see the old file.
   * @throws RAFTSEAL_KV_COMMIT_FAILED, fatal, where it is not known which file a start would find.
   *   After any other error the file is the old one.
   */
  async replace(replacement: LmdbConnection): Promise<() => void> {
    await replacement.close();
    return this.#takePlace(join(this.#options.path, REPLACEMENT_DIRECTORY));
  }

  /** Idempotent. */
  async close(): Promise<void> {
    await Promise.all([...this.#retired, this.#connection].map((each) => each.close()));
  }

  async #replaceByCopy(directory: string): Promise<string | undefined> {
    openedIn(directory, () => mkdirSync(directory, { recursive: true, mode: 0o700 }));
    const problem = await this.#connection.copy(directory);
    if (problem !== undefined) {
      openedIn(directory, () => removeDirectory(directory));
      return problem;
    }
    const switchOver = await this.#takePlace(directory);
    switchOver();
    return undefined;
  }

  async #takePlace(directory: string): Promise<() => void> {
    const { path } = this.#options;
    const file = join(directory, DATA_FILE);
    openedIn(directory, () => {
      chmodSync(file, 0o600);
      flushPath(file);
    });
    let connection: LmdbConnection;
    try {
      // Even where the rename reports an error it may have happened.
      renameSync(file, join(path, DATA_FILE));
      // The lock file holds the number of the old file's last transaction: it goes with that file.
      rmSync(join(path, LOCK_FILE), { force: true });
      removeDirectory(directory);
      flushPath(path);
      connection = await LmdbConnection.open(this.#options);
    } catch (error) {
      throw fatalError(
        'RAFTSEAL_KV_COMMIT_FAILED',
        'the file of the store was expected to be replaced, flushed and opened, and it is not ' +
          'known whether it was; check the disk, then start the shard again',
        error,
      );
    }
    return () => {
      this.#retired.push(this.#connection);
      this.#connection.retire();
      this.#connection = connection;
    };
  }
}

function removeDirectory(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

function flushPath(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
