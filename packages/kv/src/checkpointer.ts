/**
 * Brings the changes of a shard to disk: the state as of one applied index, and that index, in ONE
 * transaction, after which the log up to it is not needed any more.
 *
 * A checkpoint is gathered in slices between which the event loop does other work, and written and
 * flushed by the store's thread, so that clients see neither. It starts when the changes are many
 * (`dirtyBytesMax`), old (`checkpointAgeMs`) or have come to rest (`checkpointIdleMs`). Random keys
 * touch every page of a tree, so few large checkpoints cost much less than many small ones.
 *
 * Beside its own rows it seals older ones: those in the clear once storage is enabled, and those
 * under another DEK after a rotation ({@link RowRewriter}). For these a checkpoint is also taken
 * where nothing changes.
 *
 * After a failure there is no further checkpoint: the shard goes on from its log when it is started
 * again.
 */
import type { ByteString, RowSeal } from '@raftseal/interface';
import type { CheckpointSet, Keyspace } from './keyspace.ts';
import type { RewriteProgress } from './options.ts';
import { RowRewriter } from './row-rewriter.ts';
import { checkNothingClear } from './sealed-only.ts';
import type { SealedStore } from './sealed-store.ts';
import type { Sealing } from './sealing.ts';
import type { Store } from './store.ts';
import type { StoreEnvironment } from './store-environment.ts';
import { type StoreMeta, writeMeta } from './store-meta.ts';
import { CLEAR_ROWS_TABLE, SEALED_ROWS_TABLE } from './tables.ts';
import type { WriteBatch } from './write-batch.ts';

/** Work between two turns of the event loop, and the rest after it: a fifth of the time. */
const SLICE_MS = 0.5;
const REST_MS = 2;
const HURRIED_SLICE_MS = 4;
const TICK_MS = 100;
const SETTLE_COUNT = 2_000;
/** Rows in the clear that one checkpoint seals beside its own. */
const MIGRATED_ROWS_MAX = 50_000;
const MIGRATED_ROWS_SLICE = 64;
/** No checkpoint is taken while the file is rewritten: a larger one waits for the next start. */
const REWRITTEN_FILE_BYTES_MAX = 2 ** 30;
const FILE_REWRITE_RETRY_MS = 60_000;

export interface CheckpointerOptions {
  readonly environment: StoreEnvironment;
  readonly keyspace: Keyspace;
  readonly shardId: number;
  readonly dirtyBytesMax: number;
  readonly checkpointAgeMs: number;
  readonly checkpointIdleMs: number;
  readonly holdCheckpoints: boolean;
  readonly rewriteBytesPerSecond: number;
  readonly sealedOnly: boolean;
  readonly onFatal: (error: unknown) => void;
}

export class Checkpointer {
  appliedIndex: bigint;
  durableIndex: bigint;
  /** Of the last data entry at or below `durableIndex`; 0 where there was none. */
  durableTimestampMs: number;
  checkpoints = 0;
  lastMs = 0;
  lastKeys = 0;
  /** Whether the file may hold, in free pages, what was once written in the clear. */
  cleartextLeft: boolean;
  /** See `refuseCleartext`. */
  sealedOnly: boolean;
  readonly #options: CheckpointerOptions;
  readonly #rewriter: RowRewriter;
  /** Of the last data entry at or below `appliedIndex`. */
  #timestampMs: number;
  #sealing: Sealing;
  #held: boolean;
  /** Whether there is something in the clear that is to be sealed. */
  #unsealed = false;
  /** When the file may be rewritten again, after an attempt that failed. */
  #fileRewriteAtMs = 0;
  /** Whether the meta row is to say that the store is sealed-only, and does not yet. */
  #metaDue = false;
  /** Whether the store has a meta row. */
  #committed: boolean;
  #running: Promise<unknown> | undefined;
  /** How many wait for what runs. */
  #hurried = 0;
  /** Whether the last checkpoint has left rows to the next one, for somebody waited for it. */
  #cutShort = false;
  #failure: unknown;
  #timer: NodeJS.Timeout | undefined;
  #ticks = { dirty: 0, idle: 0, index: 0n };

  constructor(options: CheckpointerOptions, sealing: Sealing, meta: StoreMeta) {
    this.#options = options;
    this.#held = options.holdCheckpoints;
    this.#sealing = sealing;
    this.appliedIndex = meta.appliedIndex;
    this.durableIndex = meta.appliedIndex;
    this.#timestampMs = meta.timestampMs;
    this.durableTimestampMs = meta.timestampMs;
    this.cleartextLeft = meta.cleartextLeft;
    this.sealedOnly = options.sealedOnly;
    this.#committed = meta.name !== 'none';
    this.#rewriter = new RowRewriter(options.rewriteBytesPerSecond, meta.rewrite);
    this.#goOnSealing(meta);
    this.rewriteRows();
  }

  /** Whether checkpoints wait: for `release`, or for a key that is good for them. */
  get held(): boolean {
    const { seal } = this.#sealing;
    if (this.#held || seal === 'cleartext') return this.#held;
    return seal.isUsedUp === true || seal.activeDekId === undefined;
  }

  release(): void {
    this.#held = false;
    if (this.#due) this.#startTimer();
  }

  get seal(): RowSeal | 'cleartext' {
    return this.#sealing.seal;
  }

  /** The store of sealed rows, once there is one. */
  get sealedStore(): SealedStore | undefined {
    return this.#sealing.seal === 'cleartext' ? undefined : this.#sealing.store;
  }

  /** What ended the shard, if anything did. */
  get failure(): unknown {
    return this.#failure;
  }

  get pressure(): number {
    const { keyspace, dirtyBytesMax } = this.#options;
    return Math.min(1, Math.max(0, keyspace.dirtyBytes / dirtyBytesMax - 1));
  }

  /** From the next checkpoint on, rows are written to this store. */
  reseal(sealing: Sealing): void {
    this.#sealing = sealing;
    this.#unsealed = true;
    this.#startTimer();
    // Not when it is due: until then no other node takes a snapshot of what is in the clear.
    this.#ticks.dirty = Number.POSITIVE_INFINITY;
  }

  /** To be called when another DEK has become the active one: the rows follow. */
  rewriteRows(): void {
    if (!this.#held && this.#isRewriting) this.#startTimer();
  }

  /** The DEK that every sealed row on disk is under; undefined where that is not certain. */
  get onlyDekId(): number | undefined {
    return this.#rewriter.onlyDekId;
  }

  get rewriteProgress(): RewriteProgress | null {
    if (!this.#committed) return null;
    const rows = this.#options.environment.count(SEALED_ROWS_TABLE);
    return this.#rewriter.progress(this.#sealing.seal, rows);
  }

  /**
   * One way: nothing in the clear is read or written any more, and the meta row is to say so.
   * @throws fatal RAFTSEAL_KV_CLEARTEXT_REFUSED where there is something: that ends the shard
   */
  refuseCleartext(): void {
    if (this.sealedOnly) return;
    try {
      checkNothingClear(this.#options.environment, this.cleartextLeft);
    } catch (error) {
      this.fail(error);
      throw error;
    }
    this.sealedOnly = true;
    this.sealedStore?.refuseCleartext();
    this.#metaDue = true;
    this.#startTimer();
  }

  /**
   * To be called after each entry.
   * @param timestampMs that of a data entry.
   */
  applied(index: bigint, timestampMs = 0): void {
    this.appliedIndex = index;
    this.#timestampMs = Math.max(this.#timestampMs, timestampMs);
    if (this.#timer === undefined) this.#startTimer();
    const { keyspace, dirtyBytesMax } = this.#options;
    if (this.#running === undefined && keyspace.dirtyBytes >= dirtyBytesMax) this.#start();
  }

  /** Records that the shard's state is no longer that of an index. */
  fail(error: unknown): void {
    this.#failure ??= error;
    this.#stopTimer();
  }

  /** Does nothing while checkpoints are held. @throws what made the shard fail */
  async flush(): Promise<bigint> {
    const wanted = this.appliedIndex;
    while (!this.held) {
      if (this.#running !== undefined) await this.#idle();
      this.#checkFailure();
      // The applied index falls where a snapshot was installed meanwhile.
      const behind = this.durableIndex < wanted && this.durableIndex < this.appliedIndex;
      if (!behind && !this.#unsealed && !this.#metaDue && !this.#fileRewriteDue) break;
      this.#start();
    }
    return this.durableIndex;
  }

  /** Makes the first commit, if only of index 0. @throws what made the shard fail */
  async commitOnce(): Promise<void> {
    while (!this.#committed && !this.held) {
      await this.#idle();
      this.#checkFailure();
      if (!this.#committed) this.#start();
    }
  }

  /**
   * Runs a task while no checkpoint does: meanwhile the file is as of `durableIndex`, and nobody
   * else writes to it.
   * @throws what made the shard fail, and what the task throws
   */
  async alone<Result>(task: () => Promise<Result>): Promise<Result> {
    // Of several that have waited only the first finds nothing running.
    while (this.#running !== undefined) await this.#idle();
    this.#checkFailure();
    const running = task();
    this.#running = running
      .catch(() => undefined)
      .finally(() => {
        this.#running = undefined;
      });
    return running;
  }

  /** From now on the store is that of a snapshot. To be called when nothing runs, or alone. */
  restart(meta: StoreMeta, sealing: Sealing): void {
    this.appliedIndex = meta.appliedIndex;
    this.durableIndex = meta.appliedIndex;
    this.#timestampMs = meta.timestampMs;
    this.durableTimestampMs = meta.timestampMs;
    this.cleartextLeft = meta.cleartextLeft;
    this.#committed = true;
    this.#sealing = sealing;
    this.#unsealed = false;
    this.#fileRewriteAtMs = 0;
    this.#rewriter.restart(meta.rewrite);
    this.#goOnSealing(meta);
    this.rewriteRows();
  }

  /** Where the store was in the clear when it was last written, or left half sealed. */
  #goOnSealing(meta: StoreMeta): void {
    const sealing = this.#sealing;
    this.#metaDue = this.sealedOnly && !meta.sealedOnly && meta.name !== 'none';
    if (this.#metaDue) this.#startTimer();
    if (sealing.seal === 'cleartext') return;
    const unsealed = meta.name === 'clear' || this.#options.environment.count(CLEAR_ROWS_TABLE) > 0;
    if (unsealed) this.reseal(sealing);
    else if (!meta.cleartextLeft) sealing.store.refuseCleartext();
  }

  #checkFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Waits until nothing runs, and has it hurry. */
  async #idle(): Promise<void> {
    this.#hurried++;
    try {
      while (this.#running !== undefined) await this.#running;
    } finally {
      this.#hurried--;
    }
  }

  /** Waits for what runs, and starts nothing any more. */
  async stop(): Promise<void> {
    this.#stopTimer();
    await this.#running;
  }

  get #due(): boolean {
    return this.#isChanged || this.#isRewriting;
  }

  get #isChanged(): boolean {
    const { keyspace } = this.#options;
    const behind = this.appliedIndex > this.durableIndex;
    const { dirty } = keyspace;
    return dirty || behind || this.#unsealed || this.#metaDue || this.#fileRewriteDue;
  }

  /** Whether rows are to be sealed again. A store without a meta row has none. */
  get #isRewriting(): boolean {
    return this.#committed && this.#rewriter.isDue(this.#sealing.seal);
  }

  /** Whether every row is sealed, and the file can be rid of what was not. */
  get #fileRewriteDue(): boolean {
    if (!this.cleartextLeft || this.#unsealed || this.#sealing.seal === 'cleartext') return false;
    const { environment } = this.#options;
    return environment.count(CLEAR_ROWS_TABLE) === 0 && performance.now() >= this.#fileRewriteAtMs;
  }

  #startTimer(): void {
    if (this.#timer !== undefined || this.#failure !== undefined) return;
    this.#ticks = { dirty: 0, idle: 0, index: this.appliedIndex };
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  #stopTimer(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    if (this.#running !== undefined) return;
    if (!this.#due) {
      this.#stopTimer();
      return;
    }
    const ticks = this.#ticks;
    ticks.dirty++;
    ticks.idle = ticks.index === this.appliedIndex ? ticks.idle + 1 : 0;
    ticks.index = this.appliedIndex;
    const { checkpointAgeMs, checkpointIdleMs } = this.#options;
    const old = ticks.dirty * TICK_MS >= checkpointAgeMs;
    // Whoever asks for checkpoints again and again makes each of them a young one.
    const resumes = this.#cutShort && this.#isRewriting && this.#rewriter.hasBudget();
    if (!old && !resumes && ticks.idle * TICK_MS < checkpointIdleMs) return;
    if (this.#isChanged || this.#rewriter.hasBudget()) this.#start();
  }

  #start(): void {
    if (this.held || this.#running !== undefined || this.#failure !== undefined) return;
    this.#ticks = { dirty: 0, idle: 0, index: this.appliedIndex };
    this.#running = this.#run()
      .catch((error: unknown) => {
        this.fail(error);
        this.#options.onFatal(error);
      })
      .finally(() => {
        this.#running = undefined;
      });
  }

  async #run(): Promise<void> {
    const { environment, keyspace } = this.#options;
    const startedAt = performance.now();
    const index = this.appliedIndex;
    const timestampMs = this.#timestampMs;
    const sealing = this.#sealing;
    const rewriting = this.#rewriter.begin(sealing.seal);
    this.#cutShort = false;
    const running = keyspace.beginCheckpoint();
    const keys = running.entries.length;
    const batch = environment.startBatch();
    if (running.wipe) sealing.store.clear(batch);
    const remember = rewriting || this.#unsealed;
    const written = await this.#gather(batch, running, { ...sealing, remember });
    const unsealed = running.wipe ? false : await this.#migrate(batch, sealing, written);
    if (rewriting && !running.wipe) await this.#rewriteSome(batch, running, { sealing, written });
    await this.#commit(batch, sealing, { appliedIndex: index, timestampMs });
    if (sealing === this.#sealing) this.#unsealed = unsealed;
    keyspace.endCheckpoint(running);
    this.durableIndex = index;
    this.durableTimestampMs = timestampMs;
    this.checkpoints++;
    this.lastMs = performance.now() - startedAt;
    this.lastKeys = keys;
    while (keyspace.settle(running, SETTLE_COUNT)) await this.#rest();
    if (this.#fileRewriteDue) await this.#rewriteFile(sealing);
  }

  async #commit(
    batch: WriteBatch,
    sealing: Sealing,
    applied: Pick<StoreMeta, 'appliedIndex' | 'timestampMs'>,
  ): Promise<void> {
    const { environment, shardId } = this.#options;
    const { seal } = sealing;
    const { sealedOnly } = this;
    if (seal === 'cleartext') this.cleartextLeft = true;
    const { cleartextLeft } = this;
    const rewrite = this.#rewriter.state(seal);
    writeMeta(batch, { ...applied, rewrite, seal, shardId, cleartextLeft, sealedOnly });
    batch.finish();
    await environment.commit();
    this.#committed = true;
    if (sealing.seal !== 'cleartext') this.#rewriter.committed(rewrite, sealing.store);
    if (!sealedOnly) return;
    this.#metaDue = false;
    // What something else has put into the file shows in the counts of a commit.
    checkNothingClear(environment, cleartextLeft);
  }

  async #rewriteFile(sealing: Sealing): Promise<void> {
    const { environment } = this.#options;
    const starting = this.checkpoints === 1;
    if (environment.fileBytes > REWRITTEN_FILE_BYTES_MAX && !starting) {
      this.#fileRewriteAtMs = Number.POSITIVE_INFINITY;
      return;
    }
    const problem = await environment.rewrite();
    if (problem !== undefined) {
      this.#fileRewriteAtMs = performance.now() + FILE_REWRITE_RETRY_MS;
      return;
    }
    this.cleartextLeft = false;
    if (sealing.seal !== 'cleartext') sealing.store.refuseCleartext();
    const { durableIndex: appliedIndex, durableTimestampMs: timestampMs } = this;
    await this.#commit(environment.startBatch(), sealing, { appliedIndex, timestampMs });
  }

  /** Puts every change into the batch; returns the keys where they are to be remembered. */
  async #gather(
    batch: WriteBatch,
    running: CheckpointSet,
    { store, remember }: { readonly store: Store; readonly remember: boolean },
  ): Promise<Set<ByteString>> {
    const { keyspace } = this.#options;
    const written = new Set<ByteString>();
    let deadline = performance.now() + this.#sliceMs;
    for (let count = 1; ; count++) {
      const captured = keyspace.capture(running);
      if (captured === undefined) return written;
      const { key, record, stored } = captured;
      if (remember) written.add(key);
      if (record === undefined) store.remove(batch, key, stored);
      else store.put(batch, record, stored);
      if (count % 8 === 0 && performance.now() >= deadline) {
        await this.#rest();
        deadline = performance.now() + this.#sliceMs;
      }
    }
  }

  /** Seals rows that are in the clear; returns whether some are left for the next checkpoint. */
  async #migrate(
    batch: WriteBatch,
    sealing: Sealing,
    written: ReadonlySet<ByteString>,
  ): Promise<boolean> {
    if (!this.#unsealed || sealing.seal === 'cleartext') return this.#unsealed;
    let from: number | undefined = 0;
    let moved = 0;
    while (from !== undefined && moved < MIGRATED_ROWS_MAX) {
      const page: { moved: number; next: number | undefined } = sealing.store.migrate(batch, {
        from,
        count: MIGRATED_ROWS_SLICE,
        skip: (key) => written.has(key),
      });
      moved += page.moved;
      from = page.next;
      await this.#rest();
    }
    return from !== undefined;
  }

  /** Seals rows again that are under another DEK, as long as nobody waits for the checkpoint. */
  async #rewriteSome(
    batch: WriteBatch,
    running: CheckpointSet,
    { sealing, written }: { readonly sealing: Sealing; readonly written: ReadonlySet<ByteString> },
  ): Promise<void> {
    if (sealing.seal === 'cleartext') return;
    const { keyspace, dirtyBytesMax } = this.#options;
    const { seal, store } = sealing;
    let more = true;
    while (more) {
      more = this.#rewriter.step({ batch, store, seal, written, sliceMs: SLICE_MS });
      await this.#rest();
      // The next checkpoint has changes to write; this one is not to keep it waiting.
      const crowded = keyspace.dirtyBytes - running.bytes > dirtyBytesMax / 2;
      this.#cutShort = more && this.#hurried > 0;
      if (this.#cutShort || crowded) return;
    }
  }

  get #sliceMs(): number {
    return this.#hurried > 0 || this.pressure > 0 ? HURRIED_SLICE_MS : SLICE_MS;
  }

  async #rest(): Promise<void> {
    const hurried = this.#hurried > 0 || this.pressure > 0;
    await new Promise<void>((resolve) => {
      if (hurried) setImmediate(resolve);
      else setTimeout(resolve, REST_MS);
    });
  }
}
