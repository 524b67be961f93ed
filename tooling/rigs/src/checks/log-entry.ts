/**
 * An entry of a log as it stands in etcd, at `<prefix>/logs/<shard>/<index as 16 hex digits>`:
 *
 * | offset | bytes | field |
 * | --- | --- | --- |
 * | 0 | 1 | version |
 * | 1 | 8 | term |
 * | 9 | 4 | CRC-32 |
 * | 13 | 1 | payload tag: 0x43 in the clear, 0x53 sealed |
 * | 14 | n | body, or its envelope: version, flag, dekId u32, nonce(12), ciphertext, tag |
 *
 * Read by own code, so that the rig does not see the log with the eyes of what it tests.
 */
export interface StoredEntry {
  readonly shardId: number;
  readonly index: bigint;
  readonly term: bigint;
  readonly isSealed: boolean;
  /** The body in the clear, or the envelope. */
  readonly body: Buffer;
}

/** What an envelope says of how it was sealed. */
export interface Seal {
  readonly dekId: number;
  /** 24 hex digits. */
  readonly nonce: string;
}

const TAG_OFFSET = 13;
const TAG_CLEARTEXT = 0x43;
const TAG_SEALED = 0x53;
const ENVELOPE_VERSION = 2;
const ENVELOPE_BYTES_MIN = 34;

/** @returns undefined for a key that is not of a log */
export function logPlaceOf(
  key: string,
  prefix: string,
): { readonly shardId: number; readonly index: bigint } | undefined {
  if (!key.startsWith(`${prefix}/logs/`)) return undefined;
  const found = /^(\d+)\/([0-9a-f]{16})$/.exec(key.slice(prefix.length + '/logs/'.length));
  if (found?.[1] === undefined) throw new Error(`expected the key of a log entry, found ${key}`);
  return { shardId: Number(found[1]), index: BigInt(`0x${found[2]}`) };
}

export function readEntry(
  { shardId, index }: Pick<StoredEntry, 'shardId' | 'index'>,
  value: Buffer,
): StoredEntry {
  const tag = value[TAG_OFFSET];
  if (tag !== TAG_CLEARTEXT && tag !== TAG_SEALED) {
    throw new Error(`entry ${index} of shard ${shardId} has the payload tag ${tag}`);
  }
  const isSealed = tag === TAG_SEALED;
  const body = value.subarray(TAG_OFFSET + 1);
  return { shardId, index, term: value.readBigUInt64BE(1), isSealed, body };
}

export function readSeal(envelope: Buffer): Seal {
  if (envelope.length < ENVELOPE_BYTES_MIN || envelope[0] !== ENVELOPE_VERSION) {
    throw new Error(`expected an envelope, found ${envelope.length} bytes of another kind`);
  }
  return { dekId: envelope.readUInt32BE(2), nonce: envelope.toString('hex', 6, 18) };
}
