/** Counts the rows of a store by the DEK that has to be there to open them. */
import type { RowSeal } from '@raftseal/interface';
import type { KvCensus } from './options.ts';
import { Pace } from './pace.ts';
import { pagesOf, type RowSource } from './row-source.ts';
import { dekIdOf } from './sealed-store.ts';
import { findMetaRow } from './store-meta.ts';
import { CLEAR_ROWS_TABLE, SEALED_ROWS_TABLE } from './tables.ts';

/** Stands for rows in the clear. */
const NO_DEK = 0;

class RowCount {
  readonly rowsByDekId = new Map<number, number>();
  rowsUnreadable = 0;
  readonly #seal: RowSeal | 'cleartext';

  constructor(seal: RowSeal | 'cleartext') {
    this.#seal = seal;
  }

  addClear(rows: number): void {
    if (rows > 0) this.#add(NO_DEK, rows);
  }

  addSealed(row: Buffer): void {
    const dekId = this.#dekIdOf(row);
    if (dekId === undefined) this.rowsUnreadable++;
    else this.#add(dekId, 1);
  }

  #add(dekId: number, rows: number): void {
    this.rowsByDekId.set(dekId, (this.rowsByDekId.get(dekId) ?? 0) + rows);
  }

  #dekIdOf(row: Buffer): number | undefined {
    if (this.#seal === 'cleartext') return undefined;
    try {
      return dekIdOf(this.#seal, row);
    } catch {
      return undefined;
    }
  }
}

/** @throws what `signal` is aborted with */
export async function rowCensusOf(
  source: RowSource,
  seal: RowSeal | 'cleartext',
  signal: AbortSignal | undefined,
): Promise<Pick<KvCensus, 'rowsByDekId' | 'rowsUnreadable'>> {
  const count = new RowCount(seal);
  const pace = new Pace();
  count.addClear(source.count(CLEAR_ROWS_TABLE));
  const meta = findMetaRow(source);
  if (meta?.name === 'clear') count.addClear(1);
  if (meta?.name === 'sealed') count.addSealed(meta.row);
  for (const page of pagesOf(source, SEALED_ROWS_TABLE)) {
    for (const { value } of page) count.addSealed(value);
    if (!pace.due) continue;
    await pace.rest();
    signal?.throwIfAborted();
  }
  const { rowsByDekId, rowsUnreadable } = count;
  return { rowsByDekId, rowsUnreadable };
}
