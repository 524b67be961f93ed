/**
 * The KEKs of a node. A new key is wrapped under each of them, and any one of them opens it: the
 * second may be of another region, or a recovery key.
 *
 * A KEK that is out of reach keeps no key from being opened as long as another one is there. It
 * keeps new keys from being made: without all its wraps, a key might not open on the day when the
 * missing one is the only KEK left.
 */
import { timingSafeEqual } from 'node:crypto';
import type { ReplicatedKeyRecord, UnwrapDek } from '@raftseal/applier';
import {
  codeOf,
  type KekProvider,
  type KeyState,
  RaftsealError,
  type WrapBinding,
  type WrappedKey,
} from '@raftseal/interface';
import { kekFromUri } from './kek-from-uri.ts';

/** Opens the KEK that a URI names, and shows that it works. */
export type OpenKek = (uri: string) => Promise<KekProvider>;

interface Slot {
  readonly uri: string;
  provider: KekProvider | undefined;
  /** Why there is no provider. */
  failure: unknown;
}

export class KekSet {
  #slots: readonly Slot[];
  readonly #open: OpenKek;

  /**
   * Opens every KEK, at least one of which has to be in reach; the others are opened when they are
   * needed. Without a URI, the set is empty, and no key can be made or opened.
   * @throws RAFTSEAL_KEK_UNAVAILABLE where none is in reach; RAFTSEAL_NODE_KEK_TWICE; what `open`
   *   throws for a KEK that is in reach and cannot be used
   */
  static async open(uris: readonly string[], open: OpenKek = kekFromUri): Promise<KekSet> {
    const slots = uris.map(closedSlot);
    const set = new KekSet(slots, open);
    try {
      for (const slot of slots) await set.#tryOpen(slot);
      set.#checkDistinct();
      const [first] = slots;
      if (first && slots.every(({ provider }) => !provider)) throw first.failure;
      return set;
    } catch (error) {
      await set.close();
      throw error;
    }
  }

  /** Of KEKs that are open; they are closed with the set. */
  static of(...providers: readonly KekProvider[]): KekSet {
    const slots = providers.map((provider) => ({
      uri: provider.kekUri,
      provider,
      failure: undefined,
    }));
    return new KekSet(slots, kekFromUri);
  }

  private constructor(slots: readonly Slot[], open: OpenKek) {
    this.#slots = slots;
    this.#open = open;
  }

  get isEmpty(): boolean {
    return this.#slots.length === 0;
  }

  /** As they were given, in that order. */
  get uris(): readonly string[] {
    return this.#slots.map(({ uri }) => uri);
  }

  /** The KEKs that could not be opened yet, with the reason. */
  get outOfReach(): readonly { readonly uri: string; readonly code: string | undefined }[] {
    return this.#slots
      .filter(({ provider }) => !provider)
      .map(({ uri, failure }) => ({ uri, code: codeOf(failure) }));
  }

  /**
   * Wraps a key under every KEK.
   * @param dek 32 bytes; stays the caller's, who wipes it
   * @throws RAFTSEAL_NODE_KEK_REQUIRED for an empty set; what the first KEK that fails throws
   */
  async wrap(dek: Uint8Array, binding: WrapBinding): Promise<readonly WrappedKey[]> {
    if (this.isEmpty) throw kekRequired('can make no keys');
    const providers = await Promise.all(this.#slots.map((slot) => this.#opened(slot)));
    return Promise.all(
      providers.map(async (provider) => ({
        kekUri: provider.kekUri,
        bytes: await provider.wrapKey(dek, binding),
      })),
    );
  }

  /**
   * Unwraps a key with whichever KEK made one of its wraps: the wraps that bear the URI of a KEK
   * first, then the others, since a key file may have moved. A KEK that is out of reach leaves it
   * to the next one, and is not waited for a second time; one that was so before comes last.
   * @returns 32 bytes that the caller owns and wipes
   * @throws RAFTSEAL_NODE_KEK_REQUIRED for an empty set; what a KEK that made a wrap and is out of
   *   reach throws; RAFTSEAL_KEK_MISMATCH where no wrap opens
   */
  readonly unwrap: UnwrapDek = async ({ wraps }, binding) => {
    if (this.isEmpty) throw kekRequired('has keys to unwrap');
    const away = new Map<Slot, unknown>();
    let mismatch: unknown;
    for (const { kek, wrap } of this.#attempts(wraps)) {
      if (away.has(kek)) continue;
      try {
        return await (await this.#opened(kek)).unwrapKey(wrap.bytes, binding);
      } catch (error) {
        if (codeOf(error) === 'RAFTSEAL_KEK_MISMATCH') mismatch ??= error;
        else away.set(kek, error);
      }
    }
    const [failure] = away.values();
    throw failure ?? this.#mismatch(wraps, binding, mismatch);
  };

  /**
   * The wraps that a key has from now on: one for each KEK. One that is there and opens stays as it
   * is; every other is made, and opened once more before it counts.
   * @throws as {@link unwrap} and {@link wrap}; RAFTSEAL_KEK_MISMATCH where a new wrap does not open
   */
  async rewrap(key: ReplicatedKeyRecord, binding: WrapBinding): Promise<readonly WrappedKey[]> {
    const dek = await this.unwrap(key, binding);
    try {
      const wraps: WrappedKey[] = [];
      for (const slot of this.#slots) {
        const provider = await this.#opened(slot);
        const { kekUri } = provider;
        const found = key.wraps.find((wrap) => wrap.kekUri === kekUri);
        const isGood = found && (await opens(provider, found.bytes, { dek, binding }));
        const bytes = isGood ? found.bytes : await provider.wrapKey(dek, binding);
        if (!isGood && !(await opens(provider, bytes, { dek, binding }))) {
          throw this.#mismatch([{ kekUri, bytes }], binding, undefined);
        }
        wraps.push({ kekUri, bytes });
      }
      return wraps;
    } finally {
      dek.fill(0);
    }
  }

  /**
   * Goes over to other KEKs, all of which have to be in reach; those that are in both sets stay
   * open. Where `check` refuses the new set, the old one stays.
   * @throws what opening throws; RAFTSEAL_NODE_KEK_TWICE; what `check` throws
   */
  async use(uris: readonly string[], check: (next: KekSet) => Promise<void>): Promise<void> {
    const before = this.#slots;
    const slots = uris.map((uri) => before.find((slot) => slot.uri === uri) ?? closedSlot(uri));
    const next = new KekSet(slots, this.#open);
    const added = slots.filter((slot) => !before.includes(slot));
    try {
      for (const slot of slots) await next.#opened(slot);
      next.#checkDistinct();
      await check(next);
    } catch (error) {
      await closeAll(added);
      throw error;
    }
    this.#slots = slots;
    await closeAll(before.filter((slot) => !slots.includes(slot)));
  }

  close(): Promise<void> {
    return closeAll(this.#slots);
  }

  /**
   * Each KEK with each wrap: the KEKs that are open before those that are not, and of each the wraps
   * that belong to it by their URI first.
   */
  #attempts(wraps: readonly WrappedKey[]): { readonly kek: Slot; readonly wrap: WrappedKey }[] {
    const all = this.#slots.flatMap((kek) => wraps.map((wrap) => ({ kek, wrap })));
    const rank = ({ kek, wrap }: (typeof all)[number]): number =>
      (kek.provider ? 0 : 2) + (wrap.kekUri === (kek.provider?.kekUri ?? kek.uri) ? 0 : 1);
    return all.toSorted((a, b) => rank(a) - rank(b));
  }

  async #opened(slot: Slot): Promise<KekProvider> {
    slot.provider ??= await this.#open(slot.uri);
    return slot.provider;
  }

  async #tryOpen(slot: Slot): Promise<void> {
    try {
      await this.#opened(slot);
    } catch (error) {
      if (codeOf(error) !== 'RAFTSEAL_KEK_UNAVAILABLE') throw error;
      slot.failure = error;
    }
  }

  /** Two wraps under one KEK would not be worth more than one. */
  #checkDistinct(): void {
    const names = this.#slots.map(({ uri, provider }) => provider?.kekUri ?? uri);
    const twice = names.find((name, at) => names.indexOf(name) !== at);
    if (twice === undefined) return;
    throw new RaftsealError(
      'RAFTSEAL_NODE_KEK_TWICE',
      `expected KEKs that are different ones, found ${twice} twice: give each --kek once`,
    );
  }

  #mismatch(wraps: readonly WrappedKey[], binding: WrapBinding, cause: unknown): RaftsealError {
    const made = wraps.map(({ kekUri }) => kekUri).join(', ');
    const given = this.#slots.map(({ uri }) => uri).join(', ');
    return new RaftsealError(
      'RAFTSEAL_KEK_MISMATCH',
      `${given} opens no wrap of ${binding.purpose} DEK ${binding.dekId} (wrapped under ${made}): ` +
        'give the KEK that made them; nothing was changed',
      { cause },
    );
  }
}

function closedSlot(uri: string): Slot {
  return { uri, provider: undefined, failure: undefined };
}

async function closeAll(slots: readonly Slot[]): Promise<void> {
  await Promise.all(slots.flatMap(({ provider }) => (provider ? [provider.close()] : [])));
}

/** Whether a KEK makes this very key of a wrap. @throws where the KEK is out of reach */
async function opens(
  provider: KekProvider,
  wrapped: Uint8Array,
  { dek, binding }: { readonly dek: Uint8Array; readonly binding: WrapBinding },
): Promise<boolean> {
  let found: Uint8Array;
  try {
    found = await provider.unwrapKey(wrapped, binding);
  } catch (error) {
    if (codeOf(error) === 'RAFTSEAL_KEK_MISMATCH') return false;
    throw error;
  }
  try {
    return timingSafeEqual(found, dek);
  } finally {
    found.fill(0);
  }
}

/** @throws RAFTSEAL_KEK_* where a set of KEKs does not open every key of a state */
export async function checkOpensAll(
  keks: KekSet,
  { clusterId, keys }: Pick<KeyState, 'clusterId' | 'keys'>,
): Promise<void> {
  if (clusterId === undefined) return;
  for (const [dekId, key] of keys) {
    const dek = await keks.unwrap(key, { clusterId, dekId, purpose: key.purpose });
    dek.fill(0);
  }
}

function kekRequired(what: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_KEK_REQUIRED',
    `this node ${what} and was started without a KEK: start it with --kek, the one that the keys ` +
      'were made with if there are any',
  );
}
