/** What the log of a shard needs a DEK for: entries under it, and entries that carry its wraps. */
import { decodeEntry, type KeyLifecycleEntry } from '@raftseal/applier';
import { CONTROL_SHARD, codeOf, type LogEntry, type RaftEngine } from '@raftseal/interface';
import { KIND_KEY_LIFECYCLE, TAG_BYTES, TAG_CLEARTEXT, TAG_SEALED } from '@raftseal/shard-group';
import { DEK_ID_OFFSET } from '../verify/log-walk.ts';

export interface LogNeeds {
  readonly shardId: number;
  readonly firstIndex: bigint;
  readonly headIndex: bigint;
  /** Indexes of entries that are sealed under the DEK. */
  readonly sealed: IndexTally;
  /** Indexes of key-lifecycle entries that hold wraps of the DEK. */
  readonly wraps: IndexTally;
}

export interface IndexTally {
  readonly count: number;
  /** 0 where there is none. */
  readonly last: bigint;
}

export interface LogNeedsParts {
  readonly shardId: number;
  readonly engine: RaftEngine;
  /** Opens an envelope. @throws where it does not open */
  readonly open: (envelope: Uint8Array, index: bigint) => Uint8Array;
}

/** @throws RAFTSEAL_ENGINE_*; RAFTSEAL_ENVELOPE_* for an entry that does not open */
export async function logNeeds(parts: LogNeedsParts, dekId: number): Promise<LogNeeds> {
  const { shardId, engine } = parts;
  for (;;) {
    const { firstIndex, headIndex } = await engine.bounds();
    const sealed = { count: 0, last: 0n };
    const wraps = { count: 0, last: 0n };
    try {
      for await (const chunk of engine.read({ from: firstIndex, follow: false })) {
        for (const entry of chunk) {
          if (dekIdOf(entry) === dekId) note(sealed, entry.index);
          if (holdsWraps(keyLifecycleEntry(parts, entry), dekId)) note(wraps, entry.index);
        }
      }
      return { shardId, firstIndex, headIndex, sealed, wraps };
    } catch (error) {
      // It was truncated while it was read: so much the better.
      if (codeOf(error) !== 'RAFTSEAL_ENGINE_TRUNCATED') throw error;
    }
  }
}

function note(tally: { count: number; last: bigint }, index: bigint): void {
  tally.count++;
  tally.last = index;
}

function bytesOf({ payload }: LogEntry): Buffer {
  return Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
}

function dekIdOf(entry: LogEntry): number | undefined {
  const bytes = bytesOf(entry);
  const isEnvelope = bytes[0] === TAG_SEALED && bytes.length >= TAG_BYTES + DEK_ID_OFFSET + 4;
  return isEnvelope ? bytes.readUInt32BE(TAG_BYTES + DEK_ID_OFFSET) : undefined;
}

/** Only the control shard has entries with wraps; the others are not opened for nothing. */
function keyLifecycleEntry(
  { shardId, open }: LogNeedsParts,
  entry: LogEntry,
): KeyLifecycleEntry | undefined {
  if (shardId !== CONTROL_SHARD) return undefined;
  const bytes = bytesOf(entry).subarray(TAG_BYTES);
  const body = bytesOf(entry)[0] === TAG_CLEARTEXT ? bytes : open(bytes, entry.index);
  return body[0] === KIND_KEY_LIFECYCLE ? decodeEntry(body.subarray(1)) : undefined;
}

function holdsWraps(entry: KeyLifecycleEntry | undefined, dekId: number): boolean {
  if (entry?.kind === 'rotate-dek') return entry.dekId === dekId;
  if (entry?.kind !== 'bootstrap' && entry?.kind !== 'rewrap-deks') return false;
  return entry.keys.some((key) => key.dekId === dekId);
}
