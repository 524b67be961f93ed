/**
 * Who may seal under which DEK, from which nonce epoch: the rules, without storage, and a registry
 * in memory for those who need no durable one (tests, tools, a simulated node).
 *
 * A row says which epochs of a (DEK, writer) pair have been registered. Rows only grow: an epoch
 * that was registered once may have sealed something, and (DEK, writer, epoch) is the part of the
 * nonce that keeps processes apart (NIST SP 800-38D section 8.2.1, the fixed field).
 */
import type { KeyState, WriterRegistry, WriterRow } from '@raftseal/interface';

/** Highest writer id: a u16, and 0 is none. */
export const WRITER_ID_MAX = 0xffff;

/** What a transition may ask the registry. */
export type WriterRowView = Pick<WriterRegistry, 'row'>;

/** The writer id of a node, or undefined where it is no writer. */
export function writerIdOf(writers: KeyState['writers'], nodeId: string): number | undefined {
  for (const [writerId, owner] of writers) if (owner === nodeId) return writerId;
  return undefined;
}

/** The id that the next new writer gets, or undefined where none is left. */
export function nextWriterId(writers: KeyState['writers']): number | undefined {
  let highest = 0;
  for (const writerId of writers.keys()) highest = Math.max(highest, writerId);
  return highest < WRITER_ID_MAX ? highest + 1 : undefined;
}

export interface EpochClaim {
  readonly dekId: number;
  readonly writerId: number;
  readonly epoch: number;
}

export type RowChange =
  | { readonly kind: 'insert' | 'advance'; readonly row: WriterRow }
  | { readonly kind: 'same' }
  /** A process with the epoch `lastEpoch` has registered already. */
  | { readonly kind: 'lower'; readonly lastEpoch: number };

/** What registering `claim` does to the row of its DEK and writer. */
export function registerEpoch(view: WriterRowView, claim: EpochClaim): RowChange {
  const { dekId, writerId, epoch } = claim;
  const row = view.row(dekId, writerId);
  if (row === undefined) {
    return { kind: 'insert', row: { dekId, writerId, firstEpoch: epoch, lastEpoch: epoch } };
  }
  if (row.lastEpoch === epoch) return { kind: 'same' };
  if (row.lastEpoch > epoch) return { kind: 'lower', lastEpoch: row.lastEpoch };
  return { kind: 'advance', row: { ...row, lastEpoch: epoch } };
}

/**
 * The rows that let every writer seal under a new DEK, at epoch 1. Rows that are there already
 * (the entry is applied again after a crash, or the sidecar was lost) stay as they are.
 */
export function firstRows(
  view: WriterRowView,
  keys: { readonly dekId: number; readonly writerIds: Iterable<number> },
): WriterRow[] {
  const rows: WriterRow[] = [];
  for (const writerId of keys.writerIds) {
    const change = registerEpoch(view, { dekId: keys.dekId, writerId, epoch: 1 });
    if (change.kind === 'insert') rows.push(change.row);
  }
  return rows;
}

/** A registry that lives as long as the process. */
export class MemoryWriterRegistry implements WriterRegistry {
  readonly #rows = new Map<string, WriterRow>();

  constructor(rows: Iterable<WriterRow> = []) {
    for (const row of rows) this.#set(row);
  }

  rows(): readonly WriterRow[] {
    return [...this.#rows.values()];
  }

  row(dekId: number, writerId: number): WriterRow | undefined {
    return this.#rows.get(rowId({ dekId, writerId }));
  }

  async put(rows: readonly WriterRow[]): Promise<void> {
    for (const row of rows) this.#set(row);
  }

  async forget(dekIds: readonly number[]): Promise<void> {
    for (const [id, { dekId }] of this.#rows) if (dekIds.includes(dekId)) this.#rows.delete(id);
  }

  #set(row: WriterRow): void {
    this.#rows.set(rowId(row), { ...row });
  }
}

function rowId({ dekId, writerId }: { dekId: number; writerId: number }): string {
  return `${dekId}/${writerId}`;
}
