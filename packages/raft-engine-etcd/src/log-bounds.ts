/**
 * Where a log begins and ends, at one revision of etcd.
 *
 * The revision is that of a write, and every read names it. A member that does not have it yet
 * refuses, so nothing here can be out of date, whatever a member takes itself for: a plain read of
 * etcd 3.4.20 to 3.4.41 can be, after the member was stopped (etcd-io/etcd 20418). The write
 * deletes a key that does not exist. Unlike a transaction, a full etcd takes it.
 */
import { kindOf } from './call-error.ts';
import type { EtcdClient, PersistOptions } from './client.ts';
import { corruptError } from './errors.ts';
import type { Keys } from './keys.ts';

export interface BoundsAtRevision {
  readonly revision: bigint;
  /** Index through which the log was truncated; 0 for none. */
  readonly floor: bigint;
  readonly head: bigint;
}

export interface BoundsParts {
  readonly client: EtcdClient;
  readonly keys: Keys;
  readonly shardId: number;
  /** Where bounds are looked for, if no revision is given; default: `syncRevision`. */
  readonly latest?: (options: PersistOptions) => Promise<bigint>;
}

export interface BoundsOptions extends PersistOptions {
  /** A guess at the head, from below; 0 for none. */
  readonly hint: bigint;
  /** Where to look, if it is known. */
  readonly revision?: bigint;
}

const PAGE_KEYS = 1_000;

/** The revision that a member has at the moment; it may be out of date. Needs no write. */
export async function readRevision(
  { client, keys }: Pick<BoundsParts, 'client' | 'keys'>,
  options: PersistOptions,
): Promise<bigint> {
  const { header } = await client.persist('KV.Range', { key: keys.sync }, options);
  return BigInt(header.revision);
}

/** Makes a write that changes nothing; resolves with the revision that it was agreed at. */
export async function syncRevision(
  { client, keys }: Pick<BoundsParts, 'client' | 'keys'>,
  options: PersistOptions,
): Promise<bigint> {
  const { header } = await client.persist('KV.DeleteRange', { key: keys.sync }, options);
  return BigInt(header.revision);
}

/** @throws RAFTSEAL_ENGINE_CORRUPT (fatal); what `EtcdClient.persist` throws. */
export async function findBounds(
  parts: BoundsParts,
  options: BoundsOptions,
): Promise<BoundsAtRevision> {
  let { revision } = options;
  for (;;) {
    revision ??= await (parts.latest?.(options) ?? syncRevision(parts, options));
    try {
      const floor = await readFloor(parts, revision, options);
      const head = await findHead(parts, revision, floor, options);
      return { revision, floor, head };
    } catch (error) {
      if (kindOf(error) !== 'compacted') throw error;
      revision = undefined;
    }
  }
}

/**
 * The index through which the log was truncated, at a revision. A truncation takes entries away as
 * it says so: a floor that has entries below it was put there by somebody else.
 */
export async function readFloor(
  { client, keys, shardId }: BoundsParts,
  revision: bigint,
  options: PersistOptions,
): Promise<bigint> {
  const at = { revision: revision.toString() };
  const found = await client.persist('KV.Range', { key: keys.floor(shardId), ...at }, options);
  const text = found.kvs[0]?.value.toString('latin1') ?? '0';
  if (!/^\d{1,19}$/.test(text)) {
    throw corruptError(shardId, 'the index through which it was truncated is not a number');
  }
  const floor = BigInt(text);
  if (floor === 0n) return floor;
  const below = { key: keys.entry(shardId, 0n), rangeEnd: keys.entry(shardId, floor + 1n), ...at };
  const request = { ...below, keysOnly: true, limit: 1 };
  const { kvs } = await client.persist('KV.Range', request, options);
  const [entry] = kvs;
  if (entry === undefined) return floor;
  const index = indexOf(keys, shardId, entry.key);
  throw corruptError(shardId, `it was truncated through ${floor}, and entry ${index} is there`);
}

async function findHead(
  { client, keys, shardId }: BoundsParts,
  revision: bigint,
  floor: bigint,
  options: BoundsOptions,
): Promise<bigint> {
  const at = { rangeEnd: keys.entriesEnd(shardId), revision: revision.toString() };
  const first = floor + 1n;
  let from = options.hint;
  if (from < first) {
    const request = { key: keys.entry(shardId, first), ...at, countOnly: true };
    const { count } = await client.persist('KV.Range', request, options);
    from = floor + BigInt(count);
  }
  for (;;) {
    const start = from < first ? first : from;
    const request = { key: keys.entry(shardId, start), ...at, keysOnly: true, limit: PAGE_KEYS };
    const { kvs, more } = await client.persist('KV.Range', request, options);
    const last = kvs.at(-1);
    if (last === undefined && start === first) return floor;
    // Nothing at the guess: entries are gone that were there. The others tell the head.
    from = last === undefined ? first : indexOf(keys, shardId, last.key);
    if (last !== undefined && !more) return from;
  }
}

function indexOf(keys: Keys, shardId: number, key: Buffer): bigint {
  const index = keys.indexOf(key);
  if (index !== undefined) return index;
  throw corruptError(shardId, `${keys.nameOf(key)} stands among its entries and is none`);
}
