/**
 * The tables of an environment as of one commit, however many commits follow: a read transaction
 * of its own. While it is open the file cannot use again what it has freed since, so it grows.
 */
import { RaftsealError } from '@raftseal/interface';
import type { Database, Transaction } from 'lmdb';
import type { TableRow } from './row-source.ts';
import type { StoreView } from './store-environment.ts';

export interface ViewParts {
  readonly tables: readonly Database<Buffer, Buffer>[];
  /** Rows of each table, as of the transaction. */
  readonly counts: readonly number[];
  /** Pages of all tables, in bytes. */
  readonly storedBytes: number;
  readonly transaction: Transaction;
}

type State = 'open' | 'released' | 'revoked';

export class LmdbView implements StoreView {
  readonly #parts: ViewParts;
  readonly #onReleased: (view: LmdbView) => void;
  #state: State = 'open';

  constructor(parts: ViewParts, onReleased: (view: LmdbView) => void) {
    this.#parts = parts;
    this.#onReleased = onReleased;
  }

  /** What the tables take in the file. */
  get storedBytes(): number {
    return this.#parts.storedBytes;
  }

  count(table: number): number {
    return this.#parts.counts[table] ?? 0;
  }

  get(table: number, key: Buffer): Buffer | undefined {
    for (const row of this.range(table, key, 1)) if (row.key.equals(key)) return row.value;
    return undefined;
  }

  /** @throws RAFTSEAL_KV_CLOSED after `revoke` */
  range(table: number, start: Buffer, limit: number): Iterable<TableRow> {
    if (this.#state === 'revoked') {
      throw new RaftsealError(
        'RAFTSEAL_KV_CLOSED',
        'the shard was closed while its store was read: open it again, and begin again',
      );
    }
    if (this.#state === 'released') throw new Error('the view is released');
    const { tables, transaction } = this.#parts;
    return tables[table]?.getRange({ start, limit, transaction }) ?? [];
  }

  /** Idempotent. */
  release(): void {
    this.#end('released');
  }

  /** Ends the view because the environment closes: whoever reads on is told. */
  revoke(): void {
    this.#end('revoked');
  }

  #end(state: State): void {
    if (this.#state !== 'open') return;
    this.#state = state;
    this.#parts.transaction.done();
    this.#onReleased(this);
  }
}
