/** Parts of entries as msgpack arrays, the same in entries and in the replicated key state. */
import {
  type KeyPurpose,
  purposeByte,
  type RegisteredBackup,
  type WrappedKey,
} from '@raftseal/interface';
import type { NewKey } from './entry.ts';
import {
  BACKUP_KEYS_MAX,
  keyPurposes,
  TEXT_LENGTH_MAX,
  U32_MAX,
  WRAP_BYTES_MAX,
  WRAPS_MAX,
} from './entry-rules.ts';
import type { PlainReader } from './plain-reader.ts';

/** [purpose byte, dekId, [[kekUri, bytes], ...], createdAtMs u64] */
export function keyFields({ purpose, dekId, wraps, createdAtMs }: NewKey): unknown[] {
  return [purposeByte[purpose], dekId, wrapPairs(wraps), BigInt(createdAtMs)];
}

/** [[kekUri, bytes], ...] */
export function wrapPairs(wraps: readonly WrappedKey[]): unknown[] {
  return wraps.map(({ kekUri, bytes }) => [kekUri, Buffer.from(bytes)]);
}

/** Reads the four fields of {@link keyFields}, without the head of their array. */
export function readKey(reader: PlainReader): NewKey {
  const purpose = readPurpose(reader);
  const dekId = readDekId(reader);
  return { dekId, purpose, wraps: readWraps(reader), createdAtMs: readTime(reader) };
}

export function readPurpose(reader: PlainReader): KeyPurpose {
  const byte = reader.integer('purpose', { min: 1, max: keyPurposes.length });
  return keyPurposes.find((candidate) => purposeByte[candidate] === byte) as KeyPurpose;
}

/** Reads the list of {@link wrapPairs}. */
export function readWraps(reader: PlainReader): WrappedKey[] {
  return reader.list('wraps', { min: 1, max: WRAPS_MAX }, () => {
    reader.tuple('wrap', 2);
    const kekUri = readText(reader, 'kekUri');
    return { kekUri, bytes: reader.byteString('wrap', { min: 1, max: WRAP_BYTES_MAX }) };
  });
}

/** createdAtMs u64, [dekId, ...] */
export function readBackup(reader: PlainReader): RegisteredBackup {
  const createdAtMs = readTime(reader);
  const bounds = { min: 0, max: BACKUP_KEYS_MAX };
  return { createdAtMs, dekIds: reader.list('dekIds', bounds, () => readDekId(reader)) };
}

function readTime(reader: PlainReader): number {
  return reader.integer('createdAtMs', { min: 0, max: Number.MAX_SAFE_INTEGER });
}

export function readDekId(reader: PlainReader): number {
  return reader.integer('dekId', { min: 1, max: U32_MAX });
}

/** A UTF-16 unit takes at most 3 bytes of UTF-8. */
export function readText(reader: PlainReader, what: string): string {
  return reader.text(what, 3 * TEXT_LENGTH_MAX);
}

/** Waves of shard ids: of a cutover request, and of its record. */
export function readWaves(reader: PlainReader, shardsMax: number): number[][] {
  const bounds = { min: 0, max: shardsMax };
  return reader.list('waves', bounds, () =>
    reader.list('wave', bounds, () => reader.integer('shardId', { min: 0, max: U32_MAX })),
  );
}
