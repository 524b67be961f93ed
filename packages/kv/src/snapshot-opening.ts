/**
 * Opens every row of a sealed snapshot, and installs none: for who checks a snapshot, or puts what
 * it holds elsewhere. Nothing is written, and what is in memory at a time is what has come.
 */
import type { RowSeal } from '@raftseal/interface';
import type { SnapshotExpectation } from './options.ts';
import { Pace } from './pace.ts';
import {
  decodeContent,
  decodeHeader,
  KEY_ROW_FLAGS,
  type KeyRecord,
  ROW_HEADER_BYTES,
} from './row-codec.ts';
import type { RowFormat } from './row-table.ts';
import { sealedFormat } from './sealed-store.ts';
import { refused, SnapshotContents, type SnapshotRow } from './snapshot-contents.ts';
import { snapshotInvalid } from './snapshot-format.ts';
import { SnapshotReader } from './snapshot-reader.ts';

export interface OpenedSnapshotRow {
  readonly record: KeyRecord;
  /** `expireAtMs u64 | content` in the clear, as `ContentDigest` takes it; the caller's to keep. */
  readonly row: Buffer;
  /** What the content was sealed as. Valid until the next rows are asked for. */
  readonly envelope: Buffer;
}

export interface SnapshotOpeningParts {
  readonly shardId: number;
  readonly seal: RowSeal;
  readonly expected: Pick<SnapshotExpectation, 'index' | 'timestampMs'>;
}

/**
 * The rows of a snapshot as they come, many at a time. Each is authentic; that they are all there
 * is, and the snapshot is whole, is known when the iteration ends without an error.
 * @param chunks what `KvSnapshot.chunks` gave, cut anywhere
 * @throws RAFTSEAL_KV_SNAPSHOT_INVALID, also for a row in the clear; what the chunks throw
 */
export async function* openSnapshotRows(
  chunks: AsyncIterable<Uint8Array>,
  parts: SnapshotOpeningParts,
): AsyncGenerator<readonly OpenedSnapshotRow[], void> {
  const reader = new SnapshotReader(chunks);
  try {
    const expected = { ...parts.expected, mustBeSealed: true };
    const contents = new SnapshotContents({ ...parts, reader, expected, sealedOnly: false });
    const format = sealedFormat(parts.seal, parts.shardId);
    await contents.begin();
    const pace = new Pace();
    for (;;) {
      const first = contents.rowAtHand() ?? (await contents.more());
      if (first === undefined) return;
      const rows = [opened(first, format)];
      for (let row = contents.rowAtHand(); row; row = contents.rowAtHand()) {
        rows.push(opened(row, format));
        if (pace.due) break;
      }
      yield rows;
      if (pace.due) await pace.rest();
    }
  } finally {
    reader.abandon();
  }
}

function opened({ sealed, rowKey, row }: SnapshotRow, format: RowFormat): OpenedSnapshotRow {
  if (!sealed) throw snapshotInvalid('it has a row in the clear, where sealed ones were asked for');
  const header = row.subarray(0, ROW_HEADER_BYTES);
  const envelope = row.subarray(ROW_HEADER_BYTES);
  return refused('a row', () => {
    const expireAtMs = decodeHeader(row, KEY_ROW_FLAGS);
    const content = format.open(rowKey, header, envelope);
    const record = decodeContent(content, expireAtMs);
    if (!format.rowKey(Buffer.from(record.key, 'latin1')).equals(rowKey)) {
      throw snapshotInvalid('a row has the name of another key');
    }
    return { record, row: Buffer.concat([header.subarray(1), content]), envelope };
  });
}
