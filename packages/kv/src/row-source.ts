/** Tables of binary rows that can be read: as of the latest commit, or as of one that is held. */
export interface TableRow {
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface RowSource {
  /** How many rows a table has. */
  count(table: number): number;

  /** The value, copied: the caller's to keep. */
  get(table: number, key: Buffer): Buffer | undefined;

  /** Rows in key order from `start` on, at most `limit`; to be read in the same turn. */
  range(table: number, start: Buffer, limit: number): Iterable<TableRow>;
}

/** Sorts before every key. */
export const FIRST_KEY: Buffer = Buffer.alloc(1);

/** The first key that sorts after this one. */
export function keyAfter(key: Buffer): Buffer {
  return Buffer.concat([key, FIRST_KEY]);
}

const PAGE_ROWS = 256;
const PAGE_BYTES = 1 << 18;

/**
 * Every row of a table, in pages of about so many bytes. Each page is read in one turn, so that
 * others may write, or the source may be closed, between two of them.
 */
export function* pagesOf(source: RowSource, table: number): Generator<readonly TableRow[]> {
  for (let start = FIRST_KEY; ; ) {
    const page: TableRow[] = [];
    let bytes = 0;
    for (const row of source.range(table, start, PAGE_ROWS)) {
      page.push(row);
      bytes += row.value.length;
      if (bytes >= PAGE_BYTES) break;
    }
    const last = page.at(-1);
    if (last === undefined) return;
    yield page;
    start = keyAfter(last.key);
  }
}
