/** Walks logs and stores for the records of their envelopes. Nothing is opened, nothing changed. */
import { TAG_BYTES, TAG_CLEARTEXT, TAG_SEALED } from '@raftseal/shard-group';
import type { LogFinding } from '../verify/log-walk.ts';
import { type NoncePart, RecordWriter } from './nonce-record.ts';

/** Rows read per turn of the event loop, so that a node goes on serving meanwhile. */
const ROWS_PER_TURN = 512;

/** Records of the sealed entries, and of whatever is damaged, in chunks. */
export async function* logRecords(
  findings: AsyncIterable<LogFinding>,
  { part, shardCount }: { readonly part: NoncePart; readonly shardCount: number },
): AsyncGenerator<Buffer> {
  const writer = new RecordWriter(part);
  for await (const finding of findings) {
    if (finding.kind === 'problem' || finding.entry.shardId >= shardCount) {
      writer.addUnreadable({ kind: 'log damage', shardId: 0 });
    } else {
      const { shardId, payload } = finding.entry;
      const place = { kind: 'log', shardId } as const;
      if (payload[0] === TAG_SEALED) writer.add(place, payload.subarray(TAG_BYTES));
      else if (payload[0] !== TAG_CLEARTEXT) writer.addUnreadable(place);
    }
    if (writer.isFull) yield writer.take();
  }
  yield writer.take();
}

/** Records of the meta row and the sealed rows of a shard's store, in chunks. */
export async function* storeRecords(
  envelopes: Iterable<Buffer> | AsyncIterable<Buffer>,
  { part, shardId }: { readonly part: NoncePart; readonly shardId: number },
): AsyncGenerator<Buffer> {
  const writer = new RecordWriter(part);
  let rows = 0;
  for await (const envelope of envelopes) {
    writer.add({ kind: 'store', shardId }, envelope);
    if (writer.isFull) yield writer.take();
    rows++;
    if (rows % ROWS_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  yield writer.take();
}
