/** What a log is opened with. */
import type { LogFiles } from './log-files.ts';

/** Largest payload: length fields are 32 bits wide, and a Buffer ends at 4 GiB on Node 20. */
export const PAYLOAD_BYTES_MAX: number = 1024 * 1024 * 1024;
const SEGMENT_BYTES = 64 * 1024 * 1024;
const SEGMENT_BYTES_MIN = 16 * 1024;
const SEGMENT_BYTES_MAX = 1024 * 1024 * 1024;

export interface EmbeddedLogOptions {
  /** Holds nothing but the log; made, with mode 0700, where it does not exist. */
  readonly directory: string;
  /** The only member of every group. */
  readonly nodeId: string;
  /** Every shard that the log holds, or is to hold. */
  readonly shardIds: readonly number[];
  /** Length of a new segment file; default 64 MiB, from 16 KiB to 1 GiB. */
  readonly segmentBytes?: number;
  /** Default and highest: 1 GiB. */
  readonly payloadBytesMax?: number;
  /** Appends of one shard under way at once; default 3. */
  readonly appendsInFlightMax?: number;
  /**
   * An empty group follows the last one after so long without an append; default 20. Until it
   * stands, a damaged last group cannot be told from a torn one.
   */
  readonly confirmAfterMs?: number;
  /** How files are reached; for tests. */
  readonly files?: LogFiles;
}

/** @throws RangeError, TypeError for what no log can be opened with. */
export function checkOptions(
  options: EmbeddedLogOptions,
): Required<Omit<EmbeddedLogOptions, 'files'>> {
  const checked = {
    directory: options.directory,
    nodeId: options.nodeId,
    shardIds: options.shardIds,
    segmentBytes: options.segmentBytes ?? SEGMENT_BYTES,
    payloadBytesMax: options.payloadBytesMax ?? PAYLOAD_BYTES_MAX,
    appendsInFlightMax: options.appendsInFlightMax ?? 3,
    confirmAfterMs: options.confirmAfterMs ?? 20,
  };
  if (checked.directory === '') throw new TypeError('a log needs a directory');
  if (new Set(checked.shardIds).size !== checked.shardIds.length) {
    throw new TypeError('a shard is named twice');
  }
  for (const shardId of checked.shardIds) checkRange('a shard id', shardId, 0, 0xffffffff);
  checkRange('segmentBytes', checked.segmentBytes, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
  checkRange('payloadBytesMax', checked.payloadBytesMax, 1, PAYLOAD_BYTES_MAX);
  checkRange('appendsInFlightMax', checked.appendsInFlightMax, 1, 1024);
  checkRange('confirmAfterMs', checked.confirmAfterMs, 1, 60_000);
  return checked;
}

function checkRange(what: string, value: number, lowest: number, highest: number): void {
  if (Number.isInteger(value) && value >= lowest && value <= highest) return;
  throw new RangeError(`${what} must be a whole number from ${lowest} to ${highest}, not ${value}`);
}
