/**
 * The store of one shard on a simulated disk. A commit takes effect in one step and is answered in a
 * later one: a process that ends before the first has committed nothing, one that ends between the
 * two has committed all of it.
 */
import {
  CHUNK_BYTES,
  type Chunk,
  operationsOf,
  type StoreEnvironment,
  type StoreReplacement,
  type StoreView,
  type TableRow,
  WriteBatch,
} from '@raftseal/kv';
import type { Life } from './life.ts';

/** Keys and values as of one commit; never changed. Keys are latin1, so that they sort as bytes. */
class Tables {
  readonly #tables: readonly ReadonlyMap<string, Buffer>[];
  readonly #sorted: (readonly string[])[] = [];

  constructor(tables: readonly ReadonlyMap<string, Buffer>[] = []) {
    this.#tables = tables;
  }

  get bytes(): number {
    let bytes = 0;
    for (const table of this.#tables) for (const row of table.values()) bytes += row.length;
    return bytes;
  }

  count(table: number): number {
    return this.#tables[table]?.size ?? 0;
  }

  get(table: number, key: Buffer): Buffer | undefined {
    const value = this.#tables[table]?.get(key.toString('latin1'));
    return value && Buffer.from(value);
  }

  *range(table: number, start: Buffer, limit: number): Generator<TableRow> {
    const rows = this.#tables[table];
    if (rows === undefined) return;
    this.#sorted[table] ??= [...rows.keys()].sort();
    const keys = this.#sorted[table] ?? [];
    const from = start.toString('latin1');
    let at = 0;
    for (let high = keys.length; at < high; ) {
      const middle = (at + high) >> 1;
      if ((keys[middle] ?? '') < from) at = middle + 1;
      else high = middle;
    }
    for (const key of keys.slice(at, at + limit)) {
      const value = rows.get(key);
      if (value) yield { key: Buffer.from(key, 'latin1'), value: Buffer.from(value) };
    }
  }

  /** Clears take effect before everything else. */
  with(chunks: readonly Chunk[]): Tables {
    const tables = [...this.#tables];
    const changed = new Map<number, Map<string, Buffer>>();
    const change = (table: number): Map<string, Buffer> => {
      const known = changed.get(table);
      if (known) return known;
      const copy = new Map(this.#tables[table]);
      changed.set(table, copy);
      return copy;
    };
    const operations = chunks.flatMap((chunk) => [...operationsOf(chunk)]);
    for (const { kind, table } of operations) if (kind === 'clear') change(table).clear();
    for (const operation of operations) {
      if (operation.kind === 'clear') continue;
      const key = operation.key.toString('latin1');
      if (operation.kind === 'put') change(operation.table).set(key, Buffer.from(operation.value));
      else change(operation.table).delete(key);
    }
    for (const [table, rows] of changed) {
      while (tables.length <= table) tables.push(new Map());
      tables[table] = rows;
    }
    return new Tables(tables);
  }
}

/** What is on the disk. */
export class StoreDisk {
  tables: Tables = new Tables();

  copy(): StoreDisk {
    return Object.assign(new StoreDisk(), { tables: this.tables });
  }

  /** For one process. */
  open(life: Life): StoreEnvironment {
    return new SimulatedEnvironment(this, life);
  }
}

/** Freed chunks, for the next batch: a run makes thousands. */
const freeChunks: ArrayBuffer[] = [];

class SimulatedEnvironment implements StoreEnvironment {
  readonly #disk: StoreDisk;
  readonly #life: Life;
  #tables: Tables;
  #chunks: Chunk[] = [];

  constructor(disk: StoreDisk, life: Life) {
    this.#disk = disk;
    this.#life = life;
    this.#tables = disk.tables;
  }

  get fileBytes(): number {
    return this.#tables.bytes;
  }

  count(table: number): number {
    return this.#tables.count(table);
  }

  get(table: number, key: Buffer): Buffer | undefined {
    return this.#tables.get(table, key);
  }

  range(table: number, start: Buffer, limit: number): Iterable<TableRow> {
    return this.#tables.range(table, start, limit);
  }

  openView(): StoreView {
    const tables = this.#tables;
    return {
      storedBytes: tables.bytes,
      count: (table) => tables.count(table),
      get: (table, key) => tables.get(table, key),
      range: (table, start, limit) => tables.range(table, start, limit),
      release: () => undefined,
    };
  }

  startBatch(): WriteBatch {
    if (this.#life.isOver) throw new Error('the process is gone');
    return new WriteBatch({
      allocate: () => freeChunks.pop() ?? new ArrayBuffer(CHUNK_BYTES),
      filled: (chunk) => this.add(chunk),
    });
  }

  add(chunk: Chunk): void {
    this.#chunks.push(chunk);
  }

  async commit(): Promise<void> {
    const chunks = this.#chunks;
    this.#chunks = [];
    const next = this.#tables.with(chunks);
    for (const { buffer } of chunks) if (buffer.byteLength === CHUNK_BYTES) freeChunks.push(buffer);
    await this.#life.transaction(() => {
      this.#disk.tables = next;
    });
    this.#tables = next;
  }

  async rewrite(): Promise<undefined> {
    await this.#life.transaction(() => undefined);
  }

  async startReplacement(): Promise<StoreReplacement> {
    return this.#life.io(() => new SimulatedEnvironment(new StoreDisk(), this.#life));
  }

  async discard(): Promise<void> {
    await this.#life.io(() => undefined);
  }

  async replace(replacement: StoreReplacement): Promise<() => void> {
    if (!(replacement instanceof SimulatedEnvironment)) throw new TypeError('of another disk');
    const next = replacement.#tables;
    await this.#life.transaction(() => {
      this.#disk.tables = next;
    });
    return () => {
      this.#tables = next;
    };
  }

  async close(): Promise<void> {
    this.#chunks = [];
  }
}
