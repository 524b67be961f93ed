/**
 * The environment of a shard, in a directory of its own. It can be rewritten while it is used: a
 * copy without free pages takes the place of the file, so that nothing of what was deleted is left
 * in it. The rename of the copy is the point at which it counts; before that a crash leaves the
 * old file, after it the new one.
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
import { type ConnectionOptions, LmdbConnection, type TableRow } from './lmdb-connection.ts';
import type { WriteBatch } from './write-batch.ts';

const DATA_FILE = 'data.mdb';
const LOCK_FILE = 'lock.mdb';
const COPY_DIRECTORY = 'copy';

export class LmdbEnvironment {
  readonly #options: ConnectionOptions;
  #connection: LmdbConnection;

  private constructor(options: ConnectionOptions, connection: LmdbConnection) {
    this.#options = options;
    this.#connection = connection;
  }

  /** @param options `path` is made if it does not exist. */
  static async open(options: ConnectionOptions): Promise<LmdbEnvironment> {
    mkdirSync(options.path, { recursive: true, mode: 0o700 });
    rmSync(join(options.path, COPY_DIRECTORY), { recursive: true, force: true });
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
    const { path } = this.#options;
    const copyDirectory = join(path, COPY_DIRECTORY);
    const copy = join(copyDirectory, DATA_FILE);
    mkdirSync(copyDirectory, { recursive: true, mode: 0o700 });
    const old = this.#connection;
    const problem = await old.copy(copyDirectory);
    if (problem !== undefined) {
      rmSync(copyDirectory, { recursive: true, force: true });
      return problem;
    }
    chmodSync(copy, 0o600);
    flushPath(copy);
    renameSync(copy, join(path, DATA_FILE));
    // The lock file holds the number of the old file's last transaction: it goes with that file.
    rmSync(join(path, LOCK_FILE), { force: true });
    rmSync(copyDirectory, { recursive: true, force: true });
    flushPath(path);
    this.#connection = await LmdbConnection.open(this.#options);
    await old.close();
    return undefined;
  }

  /** Idempotent. */
  async close(): Promise<void> {
    await this.#connection.close();
  }
}

function flushPath(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
