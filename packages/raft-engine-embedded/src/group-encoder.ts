/**
 * Turns records into the bytes of one group. Small payloads are copied behind their headers into
 * one buffer that is used again for the next group; large ones are written from where they are.
 */
import {
  GROUP_HEADER_BYTES,
  RECORD_HEADER_BYTES,
  type RecordFields,
  writeGroupHeader,
  writeRecordHeader,
} from './format.ts';

/** Payloads from this size on are not copied. */
const COPY_BYTES_MAX = 64 * 1024;
const SCRATCH_BYTES = 256 * 1024;

export interface GroupRecord extends RecordFields {
  readonly payload: Uint8Array;
}

export interface EncodedGroup {
  /** Valid until the next group is encoded. */
  readonly buffers: readonly Uint8Array[];
  readonly byteLength: number;
}

/** Bytes that records take in a group, its header included. */
export function groupBytes(records: readonly GroupRecord[]): number {
  let byteLength = GROUP_HEADER_BYTES;
  for (const { payload } of records) byteLength += RECORD_HEADER_BYTES + payload.byteLength;
  return byteLength;
}

export class GroupEncoder {
  #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);

  encode(records: readonly GroupRecord[], sequence: number, seed: number): EncodedGroup {
    const byteLength = groupBytes(records);
    this.#reserve(records);
    const scratch = this.#scratch;
    const buffers: Uint8Array[] = [];
    writeGroupHeader(scratch, 0, seed, {
      recordCount: records.length,
      bodyBytes: byteLength - GROUP_HEADER_BYTES,
      sequence,
    });
    let start = 0;
    let at = GROUP_HEADER_BYTES;
    for (const record of records) {
      const { payload } = record;
      const copied = payload.byteLength < COPY_BYTES_MAX;
      if (copied) scratch.set(payload, at + RECORD_HEADER_BYTES);
      writeRecordHeader(scratch, at, seed, record, payload, copied);
      at += RECORD_HEADER_BYTES + (copied ? payload.byteLength : 0);
      if (copied) continue;
      buffers.push(scratch.subarray(start, at), payload);
      start = at;
    }
    if (at > start) buffers.push(scratch.subarray(start, at));
    return { buffers, byteLength };
  }

  #reserve(records: readonly GroupRecord[]): void {
    let needed = GROUP_HEADER_BYTES;
    for (const { payload } of records) {
      needed += RECORD_HEADER_BYTES;
      if (payload.byteLength < COPY_BYTES_MAX) needed += payload.byteLength;
    }
    if (needed > this.#scratch.length) this.#scratch = Buffer.allocUnsafeSlow(needed * 2);
  }
}
