/**
 * Runs transitions and their effects on one node: the only writer of its key state.
 *
 * Invariants:
 * - One serial queue per process: applying, claiming an epoch and installing at start-up never
 *   interleave, whichever shards they are for.
 * - The state that others see is on disk. A failed effect is fatal for the entry's shard; before
 *   the sidecar is durable it leaves the state unchanged, after it the state follows the disk.
 * - No clock is read. Timers only bound waits.
 */
import type { ClusterKeys } from '@raftseal/envelope';
import {
  assert,
  CONTROL_SHARD,
  codeOf,
  fatalError,
  type KeyPurpose,
  type KeyState,
  RaftsealError,
  type WriterRegistry,
} from '@raftseal/interface';
import type { SidecarMac } from '@raftseal/sidecar';
import { adoption, raisedTo } from './adoption.ts';
import type { NoteEntry } from './applied-entry.ts';
import type { UnwrapDek } from './dek-unwrap.ts';
import { DerivedKeys } from './derived-keys.ts';
import { type Effect, type Install, installsOf, type Outcome } from './effect.ts';
import { failed, failingWith } from './effect-failure.ts';
import { decodeEntry, type KeyLifecycleEntry } from './entry.ts';
import { KekWait, type OnKekAway } from './kek-wait.ts';
import { type NonceClaim, NonceClaims } from './nonce-claims.ts';
import { encodeReplicatedKeyState } from './replicated-codec.ts';
import { type ReplicatedKeyState, replicatedKeyState } from './replicated-key-state.ts';
import { checkNode } from './startup-checks.ts';
import { type StartTimer, StateWaits, startTimer } from './state-waits.ts';
import { transition } from './transition.ts';

/** Where unwrapped DEKs go. */
export interface KeyringPort {
  /** Adding a key that is there is a no-op. `dek` is copied: it is wiped after the call. */
  add(dekId: number, purpose: KeyPurpose, dek: Uint8Array): void;
  /** Forgets a key, if it is there. */
  delete(dekId: number): void;
}

export interface SidecarPort {
  /** Resolves once the state is durable. */
  write(state: KeyState, mac: SidecarMac): Promise<void>;
}

/**
 * Makes this node's wrap of one shard active. Called in the serial queue: it must not wait for
 * `apply` or `claimNonceEpoch` of the same object. Idempotent.
 */
export type Installer = (install: Install) => void | Promise<void>;

export interface KeyLifecycleParts {
  readonly nodeId: string;
  /** From the verified sidecar, or `initialKeyState`. */
  readonly state: KeyState;
  readonly unwrapDek: UnwrapDek;
  readonly keyring: KeyringPort;
  readonly registry: WriterRegistry;
  readonly sidecar: SidecarPort;
  readonly installer: Installer;
  /** How long a marker waits for the control shard before it halts its shard. */
  readonly controlWaitMs: number;
  /** Default: the timers of the platform. */
  readonly startTimer?: StartTimer;
  /** 16 bytes that no other claim has. Default: random ones. */
  readonly drawClaimId?: () => Uint8Array;
  /** Default: nobody keeps a record of entries. */
  readonly note?: NoteEntry;
  /** Told when an entry begins to wait, because every KEK of a key is out of reach. */
  readonly onKekAway?: OnKekAway;
}

export interface PlacedEntry {
  readonly shardId: number;
  readonly index: bigint;
  /** An encoded key-lifecycle entry; read before the call returns. */
  readonly body: Uint8Array;
  /** Ends the wait of a marker for the control shard, and of an entry for a KEK; nothing else. */
  readonly signal?: AbortSignal | undefined;
}

export class KeyLifecycle {
  readonly #parts: KeyLifecycleParts;
  readonly #waits: StateWaits;
  readonly #kekWait: KekWait;
  readonly #listeners = new Set<(state: KeyState) => void>();
  readonly #loaded = new Set<number>();
  readonly #claims: NonceClaims;
  readonly #claiming = new Map<number, Promise<NonceClaim>>();
  readonly #applying = new Set<number>();
  readonly #haltedAt = new Map<number, bigint>();
  #state: KeyState;
  readonly #derived = new DerivedKeys();
  #controlHeadIndex: bigint | undefined;
  #closed = false;
  /** Settles, never rejects, once the calls so far are done. */
  #queue: Promise<unknown> = Promise.resolve();

  /** @throws RAFTSEAL_APPLIER_NODE_MISMATCH where the state is another node's. */
  constructor(parts: KeyLifecycleParts) {
    checkNode(parts.state, parts.nodeId);
    this.#parts = parts;
    this.#state = parts.state;
    this.#waits = new StateWaits(parts.startTimer ?? startTimer);
    this.#kekWait = new KekWait(this.#waits, parts.onKekAway);
    this.#claims = new NonceClaims({
      nodeId: parts.nodeId,
      registry: parts.registry,
      state: () => this.#state,
      write: (state) => this.#writeClaim(state),
      drawClaimId: parts.drawClaimId,
    });
  }

  /** As the sidecar holds it. */
  get state(): KeyState {
    return this.#state;
  }

  /** Whether an entry waits for a KEK to be back in reach: its keys come later. */
  get awaitsKek(): boolean {
    return this.#kekWait.isWaiting;
  }

  /** What rows are named with; stays the same. Undefined before there are keys. */
  get clusterKeys(): ClusterKeys | undefined {
    return this.#derived.clusterKeys;
  }

  /**
   * Calls `listener` with every new state, after it is durable and before wraps are installed. A
   * listener that throws fails the effect that called it.
   * @returns ends the subscription.
   */
  onChange(listener: (state: KeyState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Unwraps and loads every DEK, then installs the wrap of every shard that is cut over. Once per
   * process, before anything is applied.
   * @throws fatal RAFTSEAL_APPLIER_LOAD_FAILED, _INSTALL_FAILED
   */
  startupInstall(): Promise<void> {
    return this.#enqueue(async () => {
      const { clusterId, keys, retired } = this.#state;
      if (clusterId === undefined) return;
      const step = { state: this.#state };
      // A crash may have left rows of a key that the sidecar does not have any more.
      const gone = this.#parts.registry.rows().filter(({ dekId }) => retired.has(dekId));
      const dekIds = [...new Set(gone.map(({ dekId }) => dekId))];
      if (dekIds.length > 0) await this.#perform({ kind: 'unload-deks', dekIds }, step);
      await this.#perform({ kind: 'load-deks', clusterId, keys }, step);
      for (const install of installsOf(this.#state)) {
        await this.#perform({ kind: 'install', ...install }, step);
      }
    });
  }

  /**
   * Says how far the control log reached when this process opened it, read linearizably. Keys made
   * by entries above may be used at epoch 1 by this process, without a claim: no earlier process of
   * this node can have applied those entries. For a rotation that takes a registered claim of this
   * process as well, the latest of the node: so no other process on a copy of the data directory
   * can have the epoch. Without this call every key is claimed.
   */
  noteControlHead(headIndex: bigint): void {
    assert(this.#controlHeadIndex === undefined, 'the head of the control log is noted once');
    this.#controlHeadIndex = headIndex;
  }

  /**
   * Applies one entry; resolves once its state is durable and its wrap is installed. Entries of
   * one shard come one at a time and in order; entries at or below the recorded applied index
   * only make the installed wrap converge. A marker waits for the control shard before it enters
   * the queue, so that it never blocks what it waits for. An entry whose keys no KEK in reach opens
   * waits until one is back: that an outage falls on a rotation must halt nothing.
   * @throws fatal RAFTSEAL_APPLIER_*: nothing after this entry may be applied, and a repetition of
   *   this entry is the only one accepted; the signal's reason: nothing was changed.
   */
  async apply({ shardId, index, body, signal }: PlacedEntry): Promise<Outcome> {
    assert(!this.#applying.has(shardId), `one entry of shard ${shardId} is applied at a time`);
    this.#applying.add(shardId);
    try {
      this.#checkOpen();
      this.#checkNotHalted(shardId, index);
      const entry = decodeEntry(body);
      await this.#controlReached(entry, { shardId, index, signal });
      const outcome = await this.#kekWait.during(signal, () =>
        this.#enqueue(() => this.#run(entry, { shardId, index })),
      );
      this.#haltedAt.delete(shardId);
      return outcome;
    } catch (error) {
      const isEnd = codeOf(error) === 'RAFTSEAL_APPLIER_CLOSED' || error === signal?.reason;
      if (!isEnd && !this.#haltedAt.has(shardId)) this.#haltedAt.set(shardId, index);
      throw error;
    } finally {
      this.#applying.delete(shardId);
    }
  }

  /**
   * The part of the durable state that all replicas share, for another node to adopt: encoded and
   * authenticated, see `openReplicatedKeyState`. Undefined before `Bootstrap`.
   */
  exportKeyState(): Promise<Buffer | undefined> {
    return this.#enqueue(async () => {
      this.#checkStarted();
      const replicated = replicatedKeyState(this.#state, this.#parts.registry.rows());
      const macKeys = this.#derived.macKeys(this.#state);
      if (replicated === undefined || macKeys === undefined) return undefined;
      return encodeReplicatedKeyState(replicated, macKeys.replicated);
    });
  }

  /**
   * Takes over what another node had that this one has not, and what a snapshot relies on: keys,
   * writers, registrations, cutovers. Nothing is taken back, whichever of the two is ahead; entries
   * that the adopted state covers are replays from here on. Resolves once the state is durable and
   * the wrap of every shard that is cut over is installed. After a crash it is called again.
   *
   * This process holds none of the adopted keys at epoch 1: it claims an epoch, and a claim of which
   * it cannot tell whether it or another process registered it ends.
   * @param replicated from `openReplicatedKeyState`.
   * @throws RAFTSEAL_APPLIER_KEY_STATE_INVALID, _FOREIGN_KEY_STATE, _KEY_STATE_CONFLICT, not fatal:
   *   nothing was changed; fatal _LOAD_FAILED, _REGISTRY_FAILED, _SIDECAR_FAILED, _INSTALL_FAILED.
   */
  adopt(replicated: ReplicatedKeyState): Promise<void> {
    return this.#enqueue(async () => {
      this.#checkStarted();
      const { state, raised, effects } = adoption(this.#state, this.#parts, replicated);
      for (const effect of effects) {
        const isRows = effect.kind === 'writer-rows';
        if (isRows && raised) await this.#perform({ kind: 'sidecar' }, { state: raised });
        await this.#perform(effect, { state });
        if (isRows || effect.kind === 'sidecar') this.#claims.followUnseen();
      }
      for (const [shardId, index] of this.#haltedAt) {
        if (index <= (state.appliedIndex.get(shardId) ?? 0n)) this.#haltedAt.delete(shardId);
      }
    });
  }

  /**
   * Resolves once the DEK is loaded and part of the durable state.
   * @throws fatal RAFTSEAL_APPLIER_DEK_UNKNOWN after `timeoutMs`; RAFTSEAL_APPLIER_CLOSED.
   */
  async waitForDek(dekId: number, timeoutMs: number): Promise<void> {
    this.#checkOpen();
    await this.#waits.wait({
      until: () => this.#loaded.has(dekId) && this.#state.keys.has(dekId),
      timeoutMs,
      late: () =>
        fatalError(
          'RAFTSEAL_APPLIER_DEK_UNKNOWN',
          `expected the control shard to bring DEK ${dekId} within ${timeoutMs} ms; it did not. ` +
            'Check that the control shard applies entries on this node.',
        ),
    });
  }

  /**
   * The epoch under which this process seals with a DEK. Made durable in the sidecar before it is
   * returned, except for a key that was made while this process ran, whose epoch 1 is durable
   * already. Repeated and concurrent calls give one claim, until the log shows a registration of
   * this node above it, or one of the same epoch with another claim id: then a copy of the data
   * directory is in use.
   *
   * Until {@link isRegistered}, the caller may seal nothing but the `Register` entry of the claim,
   * with its claim id.
   * @throws RAFTSEAL_APPLIER_DEK_UNKNOWN, _DEK_PURPOSE; _WRITER_UNKNOWN where a leader has to
   *   register this node first; _EPOCH_EXHAUSTED where the DEK has to be rotated;
   *   _EPOCH_ROLLBACK where the sidecar is an old copy; _SIDECAR_FAILED; _CLAIMS_ABANDONED.
   */
  claimNonceEpoch(dekId: number): Promise<NonceClaim> {
    const held = this.claimOf(dekId);
    if (held !== undefined) return Promise.resolve(held);
    const pending = this.#claiming.get(dekId);
    if (pending !== undefined) return pending;
    const claim = this.#enqueue(() => {
      this.#checkStarted();
      return this.#claims.claim(dekId);
    }).finally(() => {
      this.#claiming.delete(dekId);
    });
    this.#claiming.set(dekId, claim);
    return claim;
  }

  /** The claim that this process holds under a DEK, or undefined where it has to claim one. */
  claimOf(dekId: number): NonceClaim | undefined {
    return this.#claims.of(dekId);
  }

  /** True where the log has registered the claim of this process: it may seal under the DEK. */
  isRegistered(dekId: number): boolean {
    return this.#claims.isRegistered(dekId);
  }

  /**
   * Ends every claim of this process for good, at once: for a process that learns that another has
   * taken the place of its node. It goes on applying; it seals nothing any more.
   */
  abandonClaims(): void {
    this.#claims.abandon();
  }

  /** Ends waits, lets what runs finish, wipes what was derived. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#waits.abandon(closed());
    await this.#queue;
    this.#derived.wipe();
  }

  #enqueue<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = this.#queue.then(() => {
      this.#checkOpen();
      return task();
    });
    this.#queue = result.catch(() => undefined);
    return result;
  }

  #checkOpen(): void {
    if (this.#closed) throw closed();
  }

  #checkNotHalted(shardId: number, index: bigint): void {
    const haltedAt = this.#haltedAt.get(shardId);
    if (haltedAt === undefined || haltedAt === index) return;
    throw fatalError(
      'RAFTSEAL_APPLIER_HALTED',
      `expected entry ${haltedAt} of shard ${shardId}, which failed, to be applied first; found ` +
        `entry ${index}. Restart the node once the cause is gone.`,
    );
  }

  async #controlReached(
    entry: KeyLifecycleEntry,
    { shardId, index, signal }: Omit<PlacedEntry, 'body'>,
  ): Promise<void> {
    if (entry.kind !== 'enable-raft' || shardId === CONTROL_SHARD) return;
    if (index <= (this.#state.appliedIndex.get(shardId) ?? 0n)) return;
    const { controlIndex } = entry;
    const { controlWaitMs } = this.#parts;
    await this.#waits.wait({
      until: () => (this.#state.appliedIndex.get(CONTROL_SHARD) ?? 0n) >= controlIndex,
      timeoutMs: controlWaitMs,
      signal,
      late: () =>
        fatalError(
          'RAFTSEAL_APPLIER_CONTROL_BEHIND',
          `expected the control shard to apply index ${controlIndex} within ${controlWaitMs} ms, ` +
            `for the marker of shard ${shardId}; it did not. Check the control shard on this node.`,
        ),
    });
  }

  async #run(
    entry: KeyLifecycleEntry,
    place: { shardId: number; index: bigint },
  ): Promise<Outcome> {
    this.#checkStarted();
    const context = { ...place, registry: this.#parts.registry };
    const { state, effects, outcome } = transition(this.#state, context, entry);
    const isNew = this.#controlHeadIndex !== undefined && place.index > this.#controlHeadIndex;
    const onDurable: Step['onDurable'] = (before) => this.#claims.follow(entry, { before, isNew });
    for (const effect of effects) {
      if (effect.kind === 'sidecar') await this.#parts.note?.({ ...place, entry, outcome });
      const raised = effect.kind === 'writer-rows' ? raisedTo(this.#state, state) : undefined;
      if (raised) await this.#perform({ kind: 'sidecar' }, { state: raised });
      await this.#perform(effect, { state, onDurable });
    }
    return outcome;
  }

  #checkStarted(): void {
    const { clusterId } = this.#state;
    const started = clusterId === undefined || this.#derived.macKeys(this.#state) !== undefined;
    assert(started, 'startupInstall comes before anything is applied or claimed');
  }

  async #perform(effect: Effect, step: Step): Promise<void> {
    switch (effect.kind) {
      case 'load-deks':
        return await failingWith('RAFTSEAL_APPLIER_LOAD_FAILED', () =>
          this.#loadDeks(effect, step),
        );
      case 'writer-rows':
        return await failingWith('RAFTSEAL_APPLIER_REGISTRY_FAILED', () =>
          this.#parts.registry.put(effect.rows),
        );
      case 'sidecar':
        return await failingWith('RAFTSEAL_APPLIER_SIDECAR_FAILED', () => this.#write(step));
      case 'install': {
        const { shardId, cutoverIndex, dekId } = effect;
        return await failingWith('RAFTSEAL_APPLIER_INSTALL_FAILED', async () =>
          this.#parts.installer({ shardId, cutoverIndex, dekId }),
        );
      }
      case 'unload-deks':
        return await failingWith('RAFTSEAL_APPLIER_REGISTRY_FAILED', () =>
          this.#unloadDeks(effect.dekIds),
        );
    }
  }

  /** All are unwrapped before one is added: a KEK that fails leaves the keyring as it was. */
  async #loadDeks(
    { clusterId, keys }: Effect & { kind: 'load-deks' },
    { state }: Step,
  ): Promise<void> {
    const unwrapped: { dekId: number; purpose: KeyPurpose; dek: Uint8Array }[] = [];
    try {
      for (const [dekId, key] of keys) {
        const { purpose } = key;
        const dek = await this.#parts.unwrapDek(key, { clusterId, dekId, purpose });
        unwrapped.push({ dekId, purpose, dek });
        if (purpose === 'index') this.#derived.check(state, dekId, dek);
      }
      for (const { dekId, purpose, dek } of unwrapped) {
        if (purpose === 'index') this.#derived.add(state, dekId, dek);
        this.#parts.keyring.add(dekId, purpose, dek);
        this.#loaded.add(dekId);
      }
    } finally {
      for (const { dek } of unwrapped) dek.fill(0);
    }
  }

  async #unloadDeks(dekIds: readonly number[]): Promise<void> {
    for (const dekId of dekIds) {
      this.#parts.keyring.delete(dekId);
      this.#derived.delete(dekId);
      this.#loaded.delete(dekId);
    }
    this.#claims.forget(dekIds);
    await this.#parts.registry.forget(dekIds);
  }

  /**
   * The MAC is made under the index DEK that is active in the state itself: whoever reads the file
   * finds that DEK in it, whichever side of a rotation a crash has left it on.
   */
  async #write({ state, onDurable }: Step): Promise<void> {
    const before = this.#state;
    const next = { ...state, generation: before.generation + 1n };
    const macKeys = this.#derived.macKeys(next);
    assert(macKeys !== undefined, 'the index DEK is loaded before a state is written');
    await this.#parts.sidecar.write(next, {
      dekId: next.activeDekId.index,
      macKey: macKeys.sidecar,
    });
    this.#state = next;
    onDurable?.(before);
    this.#waits.check();
    for (const listener of this.#listeners) listener(next);
  }

  /** A claim halts no shard, unless the sidecar failed for good. */
  async #writeClaim(state: KeyState): Promise<void> {
    try {
      await this.#write({ state });
    } catch (cause) {
      const fatal = cause instanceof RaftsealError && cause.fatal;
      throw failed('RAFTSEAL_APPLIER_SIDECAR_FAILED', { cause, fatal });
    }
  }
}

/** What an effect is performed for. */
interface Step {
  readonly state: KeyState;
  /** Called once the state is durable, before others see it. */
  readonly onDurable?: (before: KeyState) => void;
}

function closed(): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_APPLIER_CLOSED',
    'expected the key lifecycle to be open; it was closed: the node is stopping.',
  );
}
