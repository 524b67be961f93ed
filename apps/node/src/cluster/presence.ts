/**
 * What a live node tells the others, in a document that ends with its lease: where it is reached,
 * whether it stands for election, how far the store of each shard has come, and how often it has
 * sealed under each DEK. JSON, read with checks: a document that does not have the form is of a
 * release that this one does not know, and its node counts as not in reach.
 */
import type { Address } from '../config.ts';
import type { NodeKeys } from '../node-keys.ts';
import type { NodeShard } from '../node-shard.ts';

export interface Presence {
  /** Undefined while the node takes no clients yet. */
  readonly redis: Address | undefined;
  /** Undefined while the node takes no calls of others yet. */
  readonly peer: Address | undefined;
  /** Whether it stands for election on every shard. */
  readonly stands: boolean;
  /** By shard: what the node has applied. */
  readonly appliedIndexes: readonly bigint[];
  /** By shard: what its store has made durable. */
  readonly durableIndexes: readonly bigint[];
  /** By DEK: how often the node has sealed under it. */
  readonly seals: ReadonlyMap<number, bigint>;
}

const REPORTED_KEYS_MAX = 1024;
const DEK_ID_MAX = 0xffff_ffff;

/** The presence of a node that can be reached nowhere yet. */
export const nowhere: Presence = {
  redis: undefined,
  peer: undefined,
  stands: false,
  appliedIndexes: [],
  durableIndexes: [],
  seals: new Map(),
};

/** What a node tells the others now. */
export function presenceOf(
  own: Pick<Presence, 'redis' | 'peer' | 'stands'>,
  { shards, keys }: { readonly shards: readonly NodeShard[]; readonly keys: NodeKeys },
): Presence {
  const { storage, raft } = keys.state.activeDekId;
  return {
    ...own,
    appliedIndexes: shards.map(({ group }) => group.appliedIndex),
    durableIndexes: shards.map(({ kv }) => kv.durableIndex),
    seals: keys.ledger.report([storage, raft]),
  };
}

export function encodePresence(presence: Presence): Buffer {
  const document = {
    redis: presence.redis ?? null,
    peer: presence.peer ?? null,
    stands: presence.stands,
    appliedIndexes: presence.appliedIndexes.map(String),
    durableIndexes: presence.durableIndexes.map(String),
    seals: Object.fromEntries([...presence.seals].map(([dekId, seals]) => [dekId, `${seals}`])),
  };
  return Buffer.from(JSON.stringify(document));
}

export function decodePresence(bytes: Uint8Array): Presence | undefined {
  const value = parsed(bytes);
  if (value === undefined) return undefined;
  const { redis, peer, stands, appliedIndexes, durableIndexes, seals = {} } = value;
  if (!isAddressOrNull(redis) || !isAddressOrNull(peer) || !areCounts(seals)) return undefined;
  if (typeof stands !== 'boolean') return undefined;
  if (!areIndexes(appliedIndexes) || !areIndexes(durableIndexes)) return undefined;
  return {
    redis: redis ?? undefined,
    peer: peer ?? undefined,
    stands,
    appliedIndexes: appliedIndexes.map(BigInt),
    durableIndexes: durableIndexes.map(BigInt),
    seals: new Map(Object.entries(seals).map(([dekId, count]) => [Number(dekId), BigInt(count)])),
  };
}

/** The JSON object that a document holds, if it does. */
export function parsed(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return value as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

function isAddressOrNull(value: unknown): value is Address | null {
  if (value === null) return true;
  if (typeof value !== 'object') return false;
  const { host, port } = value as Record<string, unknown>;
  if (typeof host !== 'string' || host.length === 0 || host.length > 253) return false;
  return Number.isInteger(port) && Number(port) > 0 && Number(port) <= 65_535;
}

function areCounts(value: unknown): value is Readonly<Record<string, string>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const counts: readonly [string, unknown][] = Object.entries(value);
  return (
    counts.length <= REPORTED_KEYS_MAX &&
    counts.every(([dekId, count]) => {
      const isKey = /^[1-9]\d{0,9}$/.test(dekId) && Number(dekId) <= DEK_ID_MAX;
      return isKey && typeof count === 'string' && /^\d{1,19}$/.test(count);
    })
  );
}

function areIndexes(value: unknown): value is readonly string[] {
  const isIndex = (each: unknown): boolean => typeof each === 'string' && /^\d{1,19}$/.test(each);
  return Array.isArray(value) && value.every(isIndex);
}
