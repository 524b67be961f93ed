/**
 * An open LMDB environment: tables of binary keys and values, read on this thread and written by
 * the store's thread, one transaction per checkpoint.
 *
 * - `overlappingSync: false`: a commit is durable when it is reported (lmdb-js documents no flush
 *   promise otherwise).
 * - Unused parts of pages are initialised (no `noMemInit`), so that no stray memory gets into the
 *   file, and LMDB's own `encryptionKey` is never used: it does not authenticate.
 * - After a failed commit nothing is committed any more: pages that failed to be written count as
 *   clean to the kernel, so a later success would prove nothing.
 */
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { fatalError, type RaftsealError } from '@raftseal/interface';
import { type Database, open, type RootDatabase } from 'lmdb';
import { checkLmdbFile } from './lmdb-file-check.ts';
import { prepareLockFile } from './lmdb-lock-file.ts';
import { LmdbView } from './lmdb-view.ts';
import { openedIn } from './opened-in.ts';
import type { TableRow } from './row-source.ts';
import type { StoreReplacement } from './store-environment.ts';
import {
  type StoreRequest,
  type StoreResponse,
  type StoreThreadData,
  storeThread,
  type TableDefinition,
} from './store-thread.ts';
import { CHUNK_BYTES, type Chunk, WriteBatch } from './write-batch.ts';

const MAP_BYTES_MIN = 1 << 20;
const MAP_BYTES_MAX = 2 ** 46;
const COMMIT_TIMEOUT_MS = 120_000;
/** Buffers of written chunks that wait for the next batch. */
const BUFFERS_KEPT_MAX = 16;

export interface ConnectionOptions {
  /** A directory that exists. */
  readonly path: string;
  readonly tables: readonly TableDefinition[];
  readonly mapBytes: number;
}

/** Options that lmdb-js takes and does not declare. */
interface UndeclaredOptions {
  readonly permissionsMode: number;
}

interface Waiter {
  readonly resolve: (response: StoreResponse) => void;
  readonly reject: (error: RaftsealError) => void;
}

export class LmdbConnection implements StoreReplacement {
  readonly #database: RootDatabase<Buffer, Buffer>;
  readonly #tables: readonly Database<Buffer, Buffer>[];
  readonly #thread: Worker;
  readonly #counts: number[];
  readonly #buffers: ArrayBuffer[] = [];
  #waiter: Waiter | undefined;
  #failure: RaftsealError | undefined;
  readonly #views = new Set<LmdbView>();
  #retired = false;
  #closing: Promise<void> | undefined;

  private constructor(options: ConnectionOptions) {
    const openOptions = {
      overlappingSync: false,
      keyEncoding: 'binary',
      encoding: 'binary',
      mapSize: options.mapBytes,
      maxDbs: options.tables.length + 1,
      permissionsMode: 0o600,
    } as const;
    const rootOptions: typeof openOptions & UndeclaredOptions = openOptions;
    this.#database = open<Buffer, Buffer>({ ...rootOptions, path: options.path });
    this.#tables = options.tables.map((table) =>
      this.#database.openDB<Buffer, Buffer>({
        name: table.name,
        keyEncoding: 'binary',
        encoding: 'binary',
      }),
    );
    this.#counts = this.#tables.map((table) => entryCount(table));
    const workerData: StoreThreadData = {
      lmdb: createRequire(import.meta.url).resolve('lmdb'),
      path: options.path,
      openOptions: rootOptions,
      tables: options.tables,
    };
    this.#thread = new Worker(`(${storeThread.toString()})(require)`, { eval: true, workerData });
    this.#thread.on('message', (response: StoreResponse) => this.#answered(response));
    this.#thread.on('error', (error) => this.#fail(error.message));
    this.#thread.on('exit', () => {
      if (this.#closing === undefined) this.#fail('its thread ended');
    });
  }

  /**
   * @throws RAFTSEAL_KV_STORE_CORRUPT, RAFTSEAL_KV_OPEN_FAILED; RangeError where `mapBytes` is no size
   *   that LMDB can map.
   */
  static async open(options: ConnectionOptions): Promise<LmdbConnection> {
    const { mapBytes } = options;
    // LMDB takes a negative or fractional size for an address and crashes the process.
    if (
      !Number.isSafeInteger(mapBytes) ||
      mapBytes < MAP_BYTES_MIN ||
      mapBytes > MAP_BYTES_MAX ||
      mapBytes % 4096 !== 0
    ) {
      throw new RangeError(
        `mapBytes must be a multiple of 4096 from ${MAP_BYTES_MIN} to ${MAP_BYTES_MAX}`,
      );
    }
    const connection = openedIn(options.path, () => {
      checkLmdbFile(options.path);
      prepareLockFile(options.path);
      return new LmdbConnection(options);
    });
    await connection.#next(() => undefined);
    return connection;
  }

  /** How many rows a table has, as of the latest commit. */
  count(table: number): number {
    return this.#counts[table] ?? 0;
  }

  /** The value, copied: the caller's to keep. */
  get(table: number, key: Buffer): Buffer | undefined {
    return this.#tables[table]?.getBinary(key);
  }

  /** Rows in key order from `start` on, at most `limit`; to be read in the same turn. */
  range(table: number, start: Buffer, limit: number): Iterable<TableRow> {
    return this.#tables[table]?.getRange({ start, limit }) ?? [];
  }

  /**
   * What the tables hold as of the latest commit. To be called while none is under way: the counts
   * of rows are those of the last one reported.
   */
  openView(): LmdbView {
    // The transaction that reads share may be older; and the one of the view is not to be shared.
    this.#database.resetReadTxn();
    const transaction = this.#database.useReadTransaction();
    this.#database.resetReadTxn();
    const storedBytes = this.#tables.reduce((sum, table) => sum + pageBytes(table), 0);
    const view = new LmdbView(
      { tables: this.#tables, counts: [...this.#counts], storedBytes, transaction },
      (released) => {
        this.#views.delete(released);
        if (this.#retired && this.#views.size === 0) void this.close();
      },
    );
    this.#views.add(view);
    return view;
  }

  /** A batch whose chunks go to the thread as they fill; `commit` writes them. */
  startBatch(): WriteBatch {
    return new WriteBatch({
      allocate: () => this.#buffers.pop() ?? new ArrayBuffer(CHUNK_BYTES),
      filled: (chunk) => this.add(chunk),
    });
  }

  /** Gives the thread a chunk of a batch, for the next commit. */
  add(chunk: Chunk): void {
    this.#send({ kind: 'chunk', chunk }, [chunk.buffer]);
  }

  /**
   * Writes everything that was batched since the last commit in one transaction.
   * @throws RAFTSEAL_KV_COMMIT_FAILED: fatal, and so is every later call.
   */
  async commit(): Promise<void> {
    const response = await this.#next(() => this.#send({ kind: 'commit' }));
    if (response.kind !== 'committed') throw this.#fail('it answered out of turn');
    response.counts.forEach((count, table) => {
      this.#counts[table] = count;
    });
    for (const buffer of response.buffers) {
      if (this.#buffers.length === BUFFERS_KEPT_MAX) break;
      if (buffer.byteLength === CHUNK_BYTES) this.#buffers.push(buffer);
    }
    // The read transaction of this turn began before the commit.
    this.#database.resetReadTxn();
  }

  /**
   * Writes a copy without free pages to the directory `path`, which exists.
   * @returns undefined, or why there is no copy: the environment itself is unharmed then.
   */
  async copy(path: string): Promise<string | undefined> {
    const response = await this.#next(() => this.#send({ kind: 'copy', path }));
    if (response.kind !== 'copied') throw this.#fail('it answered out of turn');
    return response.problem;
  }

  /** Closes as soon as no view is open. To be called when nothing else is read or written. */
  retire(): void {
    this.#retired = true;
    if (this.#views.size === 0) void this.close();
  }

  /** Revokes the open views. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= Promise.resolve().then(() => this.#close());
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const view of this.#views) view.revoke();
    const ended = new Promise<void>((resolve) => this.#thread.once('exit', () => resolve()));
    this.#thread.ref();
    this.#send({ kind: 'close' });
    await ended;
    await this.#database.close();
  }

  #send(request: StoreRequest, transfer: ArrayBuffer[] = []): void {
    this.#thread.postMessage(request, transfer);
  }

  /** Waits for the next response to what `ask` sends. */
  async #next(ask: () => void): Promise<StoreResponse> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#waiter !== undefined) throw new Error('one request at a time');
    // An unreferenced thread would let the process end in the middle of a commit.
    this.#thread.ref();
    const timer = setTimeout(() => {
      this.#fail(`no answer within ${COMMIT_TIMEOUT_MS / 1000} s`);
    }, COMMIT_TIMEOUT_MS);
    try {
      return await new Promise<StoreResponse>((resolve, reject) => {
        this.#waiter = { resolve, reject };
        ask();
      });
    } finally {
      clearTimeout(timer);
      if (this.#closing === undefined) this.#thread.unref();
    }
  }

  #answered(response: StoreResponse): void {
    if (response.kind === 'failed') {
      this.#fail(response.message);
      return;
    }
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.resolve(response);
  }

  #fail(found: string): RaftsealError {
    this.#failure ??= fatalError(
      'RAFTSEAL_KV_COMMIT_FAILED',
      `the store was expected to commit, and did not: ${found}; check the disk, then start the ` +
        'shard again: it replays its log from the last durable index',
    );
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.reject(this.#failure);
    return this.#failure;
  }
}

function entryCount(table: Database<Buffer, Buffer>): number {
  const stats: { entryCount?: number } = table.getStats();
  return stats.entryCount ?? 0;
}

function pageBytes(table: Database<Buffer, Buffer>): number {
  const stats: Readonly<Record<string, number | undefined>> = table.getStats();
  const { treeBranchPageCount = 0, treeLeafPageCount = 0, overflowPages = 0 } = stats;
  return (treeBranchPageCount + treeLeafPageCount + overflowPages) * (stats.pageSize ?? 0);
}
