/**
 * What runs in the store's thread: it collects the chunks of a checkpoint and writes them in ONE
 * synchronous LMDB transaction, so that neither the writing nor the flush stops the event loop of
 * the shard.
 *
 * The thread is started from the text of {@link storeThread} (a package that is run from source has
 * no JavaScript file to start it from), so the function uses nothing but its parameters.
 *
 * Rows are written in the order of their keys: a random order would touch, and so copy, the pages
 * of the tree again and again.
 */
import type { Chunk } from './write-batch.ts';

export interface TableDefinition {
  readonly name: string;
  /** Where in the key the four bytes start that tell keys apart. */
  readonly prefixOffset: number;
}

export interface StoreThreadData {
  /** Path of the lmdb module. */
  readonly lmdb: string;
  readonly path: string;
  readonly openOptions: object;
  readonly tables: readonly TableDefinition[];
}

export type StoreRequest =
  | { readonly kind: 'chunk'; readonly chunk: Chunk }
  | { readonly kind: 'commit' }
  | { readonly kind: 'copy'; readonly path: string }
  | { readonly kind: 'close' };

export type StoreResponse =
  | { readonly kind: 'opened' }
  /** `counts` are the rows of each table; the chunks' buffers come back to be used again. */
  | {
      readonly kind: 'committed';
      readonly counts: readonly number[];
      readonly buffers: readonly ArrayBuffer[];
    }
  | { readonly kind: 'copied'; readonly problem: string | undefined }
  | { readonly kind: 'failed'; readonly message: string };

/** Runs in the thread. */
export function storeThread(require: NodeJS.Require): void {
  const { parentPort, workerData } = require('node:worker_threads') as {
    parentPort: import('node:worker_threads').MessagePort;
    workerData: StoreThreadData;
  };
  const lmdb = require(workerData.lmdb) as typeof import('lmdb');
  const environment = lmdb.open({ ...workerData.openOptions, path: workerData.path });
  const tables = workerData.tables.map((table) =>
    environment.openDB<Buffer, Buffer>({
      name: table.name,
      keyEncoding: 'binary',
      encoding: 'binary',
    }),
  );
  let chunks: Buffer<ArrayBuffer>[] = [];
  let failed = false;

  /** The offsets of a table's puts and deletes: `chunk * 2 ** 32 + offset`. */
  const collect = (): { clears: number[]; operations: number[][] } => {
    const clears: number[] = [];
    const operations: number[][] = tables.map(() => []);
    chunks.forEach((chunk, number) => {
      let at = 0;
      while (at < chunk.length) {
        const table = chunk[at + 1] ?? 0;
        if (chunk[at] === 3) clears.push(table);
        else operations[table]?.push(number * 2 ** 32 + at);
        at += 8 + chunk.readUInt16BE(at + 2) + chunk.readUInt32BE(at + 4);
      }
    });
    return { clears, operations };
  };

  /** Positions in `operations` in the order of four bytes of their keys. */
  const ordered = (operations: readonly number[], prefixOffset: number): Float64Array => {
    const order = new Float64Array(operations.length);
    for (let i = 0; i < operations.length; i++) {
      const operation = operations[i] ?? 0;
      const chunk = chunks[Math.floor(operation / 2 ** 32)];
      const at = (operation % 2 ** 32) + 8 + prefixOffset;
      const prefix = chunk !== undefined && at + 4 <= chunk.length ? chunk.readUInt32BE(at) : 0;
      order[i] = (prefix >>> 5) * 2 ** 26 + i;
    }
    return order.sort();
  };

  const write = (table: (typeof tables)[number], operation: number): void => {
    const chunk = chunks[Math.floor(operation / 2 ** 32)];
    if (chunk === undefined) return;
    const at = operation % 2 ** 32;
    const keyEnd = at + 8 + chunk.readUInt16BE(at + 2);
    const key = chunk.subarray(at + 8, keyEnd);
    if (chunk[at] === 1) {
      table.putSync(key, chunk.subarray(keyEnd, keyEnd + chunk.readUInt32BE(at + 4)));
    } else {
      table.removeSync(key);
    }
  };

  const commit = (): readonly number[] => {
    const { clears, operations } = collect();
    const orders = operations.map((list, i) =>
      ordered(list, workerData.tables[i]?.prefixOffset ?? 0),
    );
    environment.transactionSync(() => {
      for (const table of clears) tables[table]?.clearSync();
      tables.forEach((table, number) => {
        const list = operations[number] ?? [];
        for (const position of orders[number] ?? []) write(table, list[position % 2 ** 26] ?? 0);
      });
    });
    return tables.map((table) => (table.getStats() as { entryCount: number }).entryCount);
  };

  const answer = (response: StoreResponse): void => parentPort.postMessage(response);
  const fail = (error: unknown): void => {
    failed = true;
    const message = error instanceof Error ? error.message : String(error);
    answer({ kind: 'failed', message });
  };

  parentPort.on('message', (request: StoreRequest) => {
    if (request.kind === 'close') {
      environment.close().then(
        () => parentPort.close(),
        () => parentPort.close(),
      );
      return;
    }
    if (failed) return;
    try {
      if (request.kind === 'chunk') {
        const { buffer, byteOffset, length } = request.chunk;
        chunks.push(Buffer.from(buffer, byteOffset, length));
      } else if (request.kind === 'commit') {
        const counts = commit();
        const buffers = chunks.map((chunk) => chunk.buffer);
        chunks = [];
        parentPort.postMessage({ kind: 'committed', counts, buffers }, buffers);
      } else {
        environment.backup(request.path, true).then(
          () => answer({ kind: 'copied', problem: undefined }),
          (error: unknown) => answer({ kind: 'copied', problem: String(error) }),
        );
      }
    } catch (error) {
      fail(error);
    }
  });
  answer({ kind: 'opened' });
}
