/**
 * The key operations that an operator asks for: enable encryption, rotate a key. Each is checked
 * against the key state before anything is proposed, so that no request can halt a shard, and each
 * is idempotent. One at a time per process, whoever asks.
 */
import { randomBytes, randomInt } from 'node:crypto';
import {
  type KeyLifecycle,
  type KeyLifecycleEntry,
  type NewKey,
  type Precheck,
  precheck,
  type RegisterEntry,
  type RewrappedKey,
  type RotateDekEntry,
} from '@raftseal/applier';
import {
  assert,
  CLUSTER_ID_BYTES,
  CONTROL_SHARD,
  DEK_BYTES,
  type KeyPurpose,
  type KeyState,
  RaftsealError,
  type WrapBinding,
  type WriterRegistry,
} from '@raftseal/interface';
import { neededKeys } from './backup/needed-keys.ts';
import type { KekSet } from './kek-set.ts';

/** What the operations need of the control shard. */
export interface ControlGroup {
  proposeKeyLifecycle(body: Uint8Array): Promise<bigint>;
  cutOver(marker: Uint8Array): Promise<void>;
}

export interface KeyOperationsParts {
  readonly nodeId: string;
  readonly keks: KekSet;
  readonly keyLifecycle: KeyLifecycle;
  readonly registry: WriterRegistry;
  readonly controlGroup: ControlGroup;
  /** The other nodes of the cluster; they are first writers too. Default: none. */
  readonly otherMembers?: () => readonly string[];
  /** Asks each of them afresh whether it can do its part. @throws where one cannot */
  readonly checkMembers?: () => Promise<void>;
  readonly shardIds: readonly number[];
  readonly clock: () => number;
}

/** A key-state change between check and apply is met by a new attempt, so many times. */
const ATTEMPTS_MAX = 5;

const DEK_ID_MAX = 0xffff_ffff;
/** 16 keys with 2 wraps of 16 KiB are half an entry. */
const REWRAPPED_AT_ONCE = 16;

export class KeyOperations {
  readonly #parts: KeyOperationsParts;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(parts: KeyOperationsParts) {
    this.#parts = parts;
  }

  /**
   * Makes the keys where there are none, turns value sealing on, and records the request to cut
   * every shard over. Resolves when the control shard is cut over; the others follow by themselves.
   * @param waves order of the shards, those of one wave together; shards left out come last. The
   *   control shard carries the request and always is the first.
   */
  enableEncryption(waves?: readonly (readonly number[])[]): Promise<void> {
    return this.#oneAtATime(async () => {
      const order = this.#wholeOrder(waves);
      if (!isCutOver(this.#parts.keyLifecycle.state)) await this.#parts.checkMembers?.();
      await this.#bootstrap();
      await this.#registerWriter();
      await this.#enableStorage();
      await this.#enableRaft(order);
    });
  }

  /** Makes a new active DEK of a purpose; resolves to its id once applied here. */
  rotate(purpose: KeyPurpose): Promise<number> {
    return this.#oneAtATime(async () => {
      const rotation = await this.#newRotation(purpose);
      await this.#propose(rotation);
      return rotation.dekId;
    });
  }

  /**
   * The same for as long as there is a cause. The key is made before the turn of the rotation has
   * come: a KEK that is out of reach keeps no other operation waiting.
   * @param due.sinceMs ms since the Unix epoch: the key counts as made then or later, whatever the
   *   clock does meanwhile.
   * @param due.isStill asked before anything is done, and right before the entry is proposed.
   * @returns undefined where the cause was gone, and nothing was done.
   */
  async rotateIf(
    purpose: KeyPurpose,
    due: { readonly sinceMs: number; readonly isStill: () => boolean },
  ): Promise<number | undefined> {
    if (!due.isStill()) return undefined;
    const rotation = await this.#newRotation(purpose, due.sinceMs);
    return await this.#oneAtATime(async () => {
      const { body } = await this.#checked(rotation);
      if (!due.isStill()) return undefined;
      await this.#parts.controlGroup.proposeKeyLifecycle(body);
      return rotation.dekId;
    });
  }

  /**
   * Wraps every key under the KEKs that this node has, each of them and no other, once every member
   * has shown that it can open what they wrap. Resolves to the URIs of the KEKs. Idempotent.
   */
  rewrap(): Promise<readonly string[]> {
    return this.#oneAtATime(async () => {
      const { keyLifecycle, keks, checkMembers } = this.#parts;
      if (!keyLifecycle.state.clusterId) throw nothingToRewrap();
      await checkMembers?.();
      // Few at a time: each entry has room for the longest wraps.
      const dekIds = [...keyLifecycle.state.keys.keys()].sort((a, b) => a - b);
      for (const group of inGroups(dekIds, REWRAPPED_AT_ONCE)) {
        await this.#rewrap(group);
      }
      return keks.uris;
    });
  }

  /**
   * Has every replica forget a DEK, once `check` has found that nothing needs it. Nothing else
   * changes keys or members from the check to the entry.
   * @param check throws where something needs the DEK
   */
  retire(dekId: number, check: () => Promise<void>): Promise<void> {
    return this.#oneAtATime(async () => {
      if (this.#parts.keyLifecycle.state.retired.has(dekId)) return;
      await check();
      await this.#propose({ kind: 'retire-dek', dekId });
    });
  }

  /**
   * Has nothing but what is sealed read from now on, once `check` has found nothing else; nobody is
   * admitted meanwhile. One-way; idempotent.
   */
  enableSealedOnly(check: () => Promise<void>): Promise<void> {
    return this.#oneAtATime(async () => {
      if (this.#parts.keyLifecycle.state.sealedOnlyIndex !== undefined) return;
      await check();
      await this.#propose({ kind: 'enable-sealed-only' });
    });
  }

  /**
   * Keeps every key that stored values are sealed or named under from being retired, until the
   * backup is forgotten; resolves to their ids. Idempotent.
   */
  registerBackup(backupId: string): Promise<readonly number[]> {
    return this.#oneAtATime(async () => {
      const { keyLifecycle, clock } = this.#parts;
      const { backups } = keyLifecycle.state;
      const known = backups.get(backupId);
      if (known) return known.dekIds;
      const dekIds = neededKeys(keyLifecycle.state).map(({ dekId }) => dekId);
      if (dekIds.length === 0) throw nothingToBackUp();
      await this.#propose({ kind: 'register-backup', backupId, createdAtMs: clock(), dekIds });
      return dekIds;
    });
  }

  /** @throws RAFTSEAL_BACKUP_UNKNOWN */
  forgetBackup(backupId: string): Promise<void> {
    return this.#oneAtATime(async () => {
      if (!this.#parts.keyLifecycle.state.backups.has(backupId)) throw unknownBackup(backupId);
      await this.#propose({ kind: 'forget-backup', backupId });
    });
  }

  /**
   * Claims a nonce epoch under the active keys and has the log record it: what a process does
   * before it seals anything. The raft key comes first: the other registration is sealed under it.
   */
  registerWriter(): Promise<void> {
    return this.#oneAtATime(() => this.#registerWriter());
  }

  /** Puts the claim of a node in the log; the node may be this one. Idempotent. */
  recordRegistration(registration: Omit<RegisterEntry, 'kind'>): Promise<void> {
    return this.#oneAtATime(() => this.#propose({ kind: 'register', ...registration }));
  }

  /**
   * Runs a change of membership while no key operation runs: nobody is admitted between the
   * question whether all members can seal and the request to do so.
   */
  exclusively<T>(change: () => Promise<T>): Promise<T> {
    return this.#oneAtATime(change);
  }

  /** Again where another process of this node was faster: its claim counts, and ours has ended. */
  async #registerWriter(): Promise<void> {
    const { nodeId, keyLifecycle } = this.#parts;
    for (const purpose of ['raft', 'storage'] as const) {
      const dekId = keyLifecycle.state.activeDekId[purpose];
      while (!keyLifecycle.isRegistered(dekId)) {
        const { nonceEpoch, claimId } = await keyLifecycle.claimNonceEpoch(dekId);
        if (keyLifecycle.isRegistered(dekId)) break;
        await this.#propose({ kind: 'register', nodeId, dekId, epoch: nonceEpoch, claimId });
      }
    }
  }

  async #bootstrap(): Promise<void> {
    const { keyLifecycle, nodeId, otherMembers } = this.#parts;
    if (keyLifecycle.state.clusterId) return;
    const clusterId = randomBytes(CLUSTER_ID_BYTES);
    const keys = new Map<number, NewKey>();
    for (const purpose of ['storage', 'raft', 'index'] as const) {
      const dekId = freshDekId(keys);
      const binding = { clusterId, dekId, purpose };
      keys.set(dekId, await this.#withNewDek((dek) => this.#newKey(binding, dek)));
    }
    await this.#propose({
      kind: 'bootstrap',
      clusterId,
      keys: [...keys.values()],
      writers: [nodeId, ...(otherMembers?.() ?? [])],
    });
  }

  async #enableStorage(): Promise<void> {
    const { keyLifecycle } = this.#parts;
    for (let attempt = 0; keyLifecycle.state.storageIndex === undefined; attempt++) {
      if (attempt === ATTEMPTS_MAX) throw overtaken('value sealing');
      await this.#propose({
        kind: 'enable-storage',
        dekId: keyLifecycle.state.activeDekId.storage,
      });
    }
  }

  async #enableRaft(waves: readonly (readonly number[])[]): Promise<void> {
    const { keyLifecycle, controlGroup } = this.#parts;
    for (let attempt = 0; !isCutOver(keyLifecycle.state); attempt++) {
      if (attempt === ATTEMPTS_MAX) throw overtaken('the cutover');
      const dekId = keyLifecycle.state.activeDekId.raft;
      const entry = { kind: 'enable-raft', dekId, controlIndex: 0n, waves } as const;
      await controlGroup.cutOver((await this.#checked(entry)).body);
    }
  }

  async #rewrap(dekIds: readonly number[]): Promise<void> {
    const { keyLifecycle, keks } = this.#parts;
    const keys: RewrappedKey[] = [];
    for (const dekId of dekIds) {
      const { clusterId, keys: known } = keyLifecycle.state;
      const key = known.get(dekId);
      if (!clusterId || !key) continue;
      const binding = { clusterId, dekId, purpose: key.purpose };
      keys.push({ dekId, wraps: await keks.rewrap(key, binding) });
    }
    const entry = { kind: 'rewrap-deks', keys } as const;
    const { body, outcome } = await this.#checked(entry);
    if (outcome.kind === 'no-op') return;
    await this.#parts.controlGroup.proposeKeyLifecycle(body);
  }

  async #propose(entry: KeyLifecycleEntry): Promise<void> {
    const { body } = await this.#checked(entry);
    await this.#parts.controlGroup.proposeKeyLifecycle(body);
  }

  /** The entry's bytes, if applying it would not halt anything, and how it would end now. */
  async #checked(entry: KeyLifecycleEntry): Promise<Precheck> {
    const { keyLifecycle, registry, keks } = this.#parts;
    const { state } = keyLifecycle;
    const proposed = { shardId: CONTROL_SHARD, entry };
    return await precheck({ state, registry, unwrapDek: keks.unwrap }, proposed);
  }

  async #newRotation(purpose: KeyPurpose, sinceMs = 0): Promise<RotateDekEntry> {
    const { clusterId, keys } = this.#parts.keyLifecycle.state;
    if (!clusterId) throw notBootstrapped(purpose);
    const binding = { clusterId, dekId: freshDekId(keys), purpose };
    return await this.#withNewDek(async (dek) => {
      const key = await this.#newKey(binding, dek);
      const createdAtMs = Math.max(key.createdAtMs, sinceMs);
      const clusterKeys = this.#clusterKeysFor(binding, dek);
      return { kind: 'rotate-dek', ...key, createdAtMs, ...clusterKeys };
    });
  }

  /** Gives a fresh DEK, and wipes it before anything is proposed. */
  async #withNewDek<T>(use: (dek: Uint8Array) => Promise<T>): Promise<T> {
    const dek = randomBytes(DEK_BYTES);
    try {
      return await use(dek);
    } finally {
      dek.fill(0);
    }
  }

  async #newKey(binding: WrapBinding, dek: Uint8Array): Promise<NewKey> {
    const { keks, clock } = this.#parts;
    const wraps = await keks.wrap(dek, binding);
    const { dekId, purpose } = binding;
    return { dekId, purpose, wraps, createdAtMs: clock() };
  }

  /** What a new index DEK brings along. */
  #clusterKeysFor({ clusterId, dekId, purpose }: WrapBinding, dek: Uint8Array) {
    if (purpose !== 'index') return {};
    const { clusterKeys } = this.#parts.keyLifecycle;
    assert(clusterKeys, 'a cluster with keys has cluster keys');
    return { sealedClusterKeys: clusterKeys.seal({ clusterId, dekId, dek }) };
  }

  #wholeOrder(waves: readonly (readonly number[])[] | undefined): readonly (readonly number[])[] {
    const { shardIds } = this.#parts;
    const named = (waves ?? []).flat();
    const unknown = named.find((shardId) => !shardIds.includes(shardId));
    if (unknown !== undefined || new Set(named).size !== named.length) {
      throw new RaftsealError(
        'RAFTSEAL_NODE_BAD_REQUEST',
        `expected waves that name each of the shards ${shardIds.join(', ')} at most once, found ` +
          JSON.stringify(waves),
      );
    }
    const rest = shardIds.filter((shardId) => !named.includes(shardId));
    return [...(waves ?? []), rest]
      .map((wave) => wave.filter((shardId) => shardId !== CONTROL_SHARD))
      .filter((wave) => wave.length > 0);
  }

  #oneAtATime<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(operation);
    this.#queue = result.catch(() => undefined);
    return result;
  }
}

function isCutOver({ cutoverIndex }: KeyState): boolean {
  return cutoverIndex.has(CONTROL_SHARD);
}

/** Random, so that two clusters made from one backup do not share ids; never 0. */
function freshDekId(taken: ReadonlyMap<number, unknown>): number {
  for (;;) {
    const dekId = randomInt(1, DEK_ID_MAX);
    if (!taken.has(dekId)) return dekId;
  }
}

function* inGroups<Item>(items: readonly Item[], size: number): Iterable<readonly Item[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}

function nothingToRewrap(): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_NOT_BOOTSTRAPPED',
    'there are no keys to wrap yet: run `raftseal encryption enable` first',
  );
}

function nothingToBackUp(): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_NOT_BOOTSTRAPPED',
    'there are no keys, and no sealed values to back up: run `raftseal encryption enable` first',
  );
}

function unknownBackup(backupId: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_BACKUP_UNKNOWN',
    `no backup ${backupId} is registered: \`raftseal backup list\` names those that are`,
  );
}

function notBootstrapped(purpose: KeyPurpose): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_NOT_BOOTSTRAPPED',
    `there is no ${purpose} key to rotate yet: run \`raftseal encryption enable\` first`,
  );
}

function overtaken(what: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_NOT_READY',
    `${what} was overtaken by key rotations ${ATTEMPTS_MAX} times: ask again`,
  );
}
