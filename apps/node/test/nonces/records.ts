/** Envelopes made by hand, and the records of them. */
import { type NoncePart, type Place, RecordWriter } from '../../src/nonces/nonce-record.ts';

export interface MadeEnvelope {
  readonly dekId?: number;
  readonly writerId?: number;
  readonly nonceEpoch?: number;
  readonly counter: bigint;
  /** Tells two envelopes with one nonce apart. */
  readonly tag?: number;
}

const HEADER_BYTES = 18;
const TAG_BYTES = 16;

export function madeEnvelope(made: MadeEnvelope): Buffer {
  const { dekId = 7, writerId = 1, nonceEpoch = 1, counter, tag = 0 } = made;
  const bytes = Buffer.alloc(HEADER_BYTES + TAG_BYTES);
  bytes[0] = 2;
  bytes.writeUInt32BE(dekId, 2);
  bytes.writeUInt16BE(writerId, 6);
  bytes.writeUInt16BE(nonceEpoch, 8);
  bytes.writeBigUInt64BE(counter, 10);
  bytes.writeUInt32BE(tag, HEADER_BYTES + 4);
  return bytes;
}

const somewhere: Place = { kind: 'store', shardId: 3 };

export function recordsOf(
  envelopes: readonly MadeEnvelope[],
  { part = { part: 0, of: 1 }, place = somewhere }: { part?: NoncePart; place?: Place } = {},
): readonly Buffer[] {
  const writer = new RecordWriter(part);
  const chunks: Buffer[] = [];
  for (const envelope of envelopes) {
    writer.add(place, madeEnvelope(envelope));
    if (writer.isFull) chunks.push(writer.take());
  }
  chunks.push(writer.take());
  return chunks;
}
