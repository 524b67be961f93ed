/**
 * One shard of the key space as a state machine: commands come from the log, reads from clients.
 *
 * Invariants: the state after an index follows from the entries up to it (time is the entry's, and
 * what is random follows from its index); an entry is applied wholly before anything else is read;
 * what is on disk is the state of exactly one index. A row that does not open is an error to who
 * reads its key or proposes a command that needs it, and ends the shard when it is needed to apply
 * an entry.
 */
import {
  assert,
  type ByteString,
  type CommandBatch,
  errorReply,
  fatalError,
  RaftsealError,
  type Reply,
  type RowSeal,
  type StateMachine,
} from '@raftseal/interface';
import { Checkpointer } from './checkpointer.ts';
import { applyCommand } from './command-application.ts';
import { type ExpiredKey, encodeExpiry } from './command-codec.ts';
import { arityMatches, commandTable } from './command-table.ts';
import { commandsByOpcode } from './commands/handlers.ts';
import type { ContentDigest } from './content-digest.ts';
import { envelopesOf } from './envelopes.ts';
import { Installer } from './installer.ts';
import { GENERATION_LIMIT, KeyWalk } from './key-walk.ts';
import { Keyspace } from './keyspace.ts';
import { LmdbEnvironment } from './lmdb-environment.ts';
import { LmdbStore } from './lmdb-store.ts';
import type {
  KvCensus,
  KvDigest,
  KvOptions,
  KvSnapshot,
  KvStatistics,
  ScanOptions,
  ScanPage,
  SnapshotExpectation,
} from './options.ts';
import { seededRandom } from './random.ts';
import { wrongArguments } from './replies.ts';
import { rowCorrupt } from './row-codec.ts';
import type { RowInspection } from './row-table.ts';
import { visitRowsNeeded } from './rows-needed.ts';
import { checkSealedOnly } from './sealed-only.ts';
import { readCheckedMeta, sealingOf } from './sealing.ts';
import type { StoreEnvironment } from './store-environment.ts';
import { StoreViews } from './store-views.ts';
import { CLEAR_ROWS_TABLE, SEALED_ROWS_TABLE, tables } from './tables.ts';

const MIB = 2 ** 20;
const defaults = {
  cacheBytesMax: 256 * MIB,
  dirtyBytesMax: 64 * MIB,
  checkpointAgeMs: 15_000,
  checkpointIdleMs: 1_000,
  holdCheckpoints: false,
  rewriteBytesPerSecond: 4 * MIB,
  sealedOnly: false,
  mapBytes: 64 * 1024 * MIB,
};

interface Parts {
  readonly shardId: number;
  readonly environment: StoreEnvironment;
  readonly cleartext: LmdbStore;
  readonly keyspace: Keyspace;
  readonly checkpointer: Checkpointer;
  readonly installer: Installer;
}

export class KvStateMachine implements StateMachine<Reply> {
  readonly #parts: Parts;
  readonly #walk: KeyWalk;
  readonly #views: StoreViews;
  #expiryAfter: Buffer | undefined;
  #expiryCheckpoints = 0;
  #closing: Promise<void> | undefined;
  readonly #prepare = (key: ByteString): void => this.#parts.keyspace.prepare(key);

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.#walk = new KeyWalk(parts.keyspace);
    this.#views = new StoreViews(parts);
  }

  /**
   * Opens, or makes, the store of a shard; its log is to be replayed from `durableIndex + 1`.
   * @throws RAFTSEAL_KV_SEAL_REQUIRED, RAFTSEAL_KV_STORE_MISMATCH, RAFTSEAL_KV_STORE_VERSION,
   *   RAFTSEAL_KV_STORE_CORRUPT, RAFTSEAL_KV_ROW_CORRUPT, RAFTSEAL_KV_ROW_FORGED,
   *   RAFTSEAL_KV_STORE_SEALED_ONLY, RAFTSEAL_KV_CLEARTEXT_REFUSED, RAFTSEAL_KV_OPEN_FAILED;
   *   RangeError for a bad `mapBytes`.
   */
  static async open(options: KvOptions): Promise<KvStateMachine> {
    const { directory, shardId, seal } = options;
    const limits = { ...defaults, ...options };
    const { mapBytes, openEnvironment } = limits;
    const environment = openEnvironment
      ? await openEnvironment()
      : await LmdbEnvironment.open({ path: directory, tables, mapBytes });
    try {
      const meta = readCheckedMeta(environment, shardId, seal);
      checkSealedOnly(environment, meta, limits.sealedOnly);
      const cleartext = new LmdbStore(environment);
      const sealing = sealingOf({ source: environment, cleartext, shardId }, seal);
      const keyspace = new Keyspace({
        store: sealing.store,
        cacheBytesMax: limits.cacheBytesMax,
        firstGeneration: 1 + Math.floor(Math.random() * (GENERATION_LIMIT - 1)),
      });
      const onFatal = options.onFatal ?? ((): void => undefined);
      const checkpointer = new Checkpointer(
        { ...limits, environment, keyspace, onFatal },
        sealing,
        meta,
      );
      const parts = { shardId, environment, cleartext, keyspace, checkpointer };
      return new KvStateMachine({ ...parts, installer: new Installer({ ...parts, onFatal }) });
    } catch (error) {
      await environment.close();
      throw error;
    }
  }

  get durableIndex(): bigint {
    return this.#parts.checkpointer.durableIndex;
  }

  get durableTimestampMs(): number {
    return this.#parts.checkpointer.durableTimestampMs;
  }

  get appliedIndex(): bigint {
    return this.#parts.checkpointer.appliedIndex;
  }

  /** 0 while intake may run free, up to 1 where it should stop for the disk. */
  get pressure(): number {
    return this.#parts.checkpointer.pressure;
  }

  /**
   * As {@link StateMachine.apply}; each reply is what its command answers.
   * @throws RAFTSEAL_KV_COMMAND_MALFORMED, RAFTSEAL_KV_ROW_CORRUPT (fatal), and on every later call
   *   what was thrown first; RAFTSEAL_KV_COMMIT_FAILED where a checkpoint has failed.
   */
  apply(batch: CommandBatch): Reply[] {
    const { keyspace, checkpointer } = this.#parts;
    this.#checkUsable();
    assert(batch.index > checkpointer.appliedIndex, 'entries are applied in order');
    keyspace.nowMs = batch.timestampMs;
    keyspace.index = batch.index;
    keyspace.random = seededRandom(batch.index);
    const replies: Reply[] = [];
    try {
      while (batch.next()) {
        replies.push(applyCommand(this.#parts.keyspace, batch.bytes, batch.start, batch.end));
        keyspace.trim();
      }
    } catch (error) {
      const fatal = asFatal(error);
      checkpointer.fail(fatal);
      throw fatal;
    }
    checkpointer.applied(batch.index, batch.timestampMs);
    return replies;
  }

  /**
   * As {@link StateMachine.refusal}: RAFTSEAL_KV_ROW_CORRUPT where the command needs a row that does
   * not open; what made the shard fail.
   */
  refusal(command: Uint8Array): RaftsealError | undefined {
    try {
      this.#checkUsable();
      visitRowsNeeded(asBuffer(command), this.#prepare);
      this.#parts.keyspace.trim();
      return undefined;
    } catch (error) {
      return error instanceof RaftsealError ? error : rowCorrupt('it cannot be read', error);
    }
  }

  skip(index: bigint): void {
    const { checkpointer } = this.#parts;
    this.#checkUsable();
    assert(index > checkpointer.appliedIndex, 'entries are applied in order');
    checkpointer.applied(index);
  }

  /** @throws what made the shard fail. */
  async flush(): Promise<bigint> {
    this.#checkUsable();
    return this.#parts.checkpointer.flush();
  }

  /**
   * Answers a read command.
   * @param args the name first, in any case.
   * @param nowMs the reader's clock: keys that expire before it are absent.
   * @throws TypeError where the command is not a read command of the table.
   */
  query(args: readonly ByteString[], nowMs: number): Reply {
    const name = args[0] ?? '';
    const spec = commandTable.get(name) ?? commandTable.get(name.toLowerCase());
    const command = spec === undefined ? undefined : commandsByOpcode[spec.opcode];
    if (command === undefined || command.spec.kind !== 'read') {
      throw new TypeError('not a read command: write commands are proposed to the log');
    }
    if (!arityMatches(command.spec, args.length)) return wrongArguments(command.spec.name);
    const keyspace = this.#reader(nowMs);
    try {
      const reply = command.handler(keyspace, args);
      keyspace.trim();
      return reply;
    } catch (error) {
      if (error instanceof RaftsealError) return errorReply(`${error.code} ${error.message}`);
      throw error;
    }
  }

  /**
   * For WATCH: the index of the latest change of a key; 0n where it is absent.
   * @throws RAFTSEAL_KV_ROW_CORRUPT
   */
  versionOf(key: ByteString, nowMs: number): bigint {
    const keyspace = this.#reader(nowMs);
    const version = keyspace.find(key)?.version ?? 0n;
    keyspace.trim();
    return version;
  }

  /** A page of SCAN. @throws RAFTSEAL_KV_ROW_CORRUPT */
  scan(cursor: bigint, options: ScanOptions, nowMs: number): ScanPage {
    this.#reader(nowMs);
    return this.#walk.scan(cursor, options);
  }

  /** KEYS: looks at every key of the shard. @throws RAFTSEAL_KV_ROW_CORRUPT */
  keys(pattern: ByteString, nowMs: number): ByteString[] {
    this.#reader(nowMs);
    return this.#walk.keys(pattern);
  }

  /** @throws RAFTSEAL_KV_ROW_CORRUPT */
  randomKey(nowMs: number): ByteString | null {
    this.#reader(nowMs);
    return this.#walk.randomKey();
  }

  /** DBSIZE of the shard: every key, those included whose time has passed and that are not gone. */
  size(): number {
    this.#checkUsable();
    return this.#parts.keyspace.size();
  }

  /**
   * A log command that deletes keys whose time has passed, for the leader to propose; undefined
   * where none is due. A key that is not deleted by it is offered again later.
   */
  expired(nowMs: number, limit: number): Buffer | undefined {
    const keyspace = this.#reader(nowMs);
    const due: ExpiredKey[] = keyspace.expiries.take(nowMs, limit);
    if (due.length < limit && !keyspace.wiped) due.push(...this.#expiredRows(nowMs, limit));
    return due.length === 0 ? undefined : encodeExpiry(due);
  }

  /** A command that changes nothing. */
  nothing(): Buffer {
    return encodeExpiry([]);
  }

  /**
   * Storage was enabled: from the next checkpoint on rows are sealed, and the older ones with them;
   * once all are, the file is rewritten, so that nothing in the clear is left in it. Idempotent.
   */
  sealRows(seal: RowSeal): void {
    this.#checkUsable();
    const { checkpointer, keyspace } = this.#parts;
    if (checkpointer.seal === seal) return;
    const { environment: source, cleartext, shardId } = this.#parts;
    const sealing = sealingOf({ source, cleartext, shardId }, seal);
    keyspace.store = sealing.store;
    checkpointer.reseal(sealing);
  }

  /**
   * Another DEK has become the active one of the seal: the rows that are under others are sealed
   * again, in the background and within `rewriteBytesPerSecond`. `statistics()` says how far that
   * is. It goes on after a restart by itself. Idempotent; a shard that has failed does nothing.
   */
  rewriteRows(): void {
    this.#parts.checkpointer.rewriteRows();
  }

  /**
   * The cluster is sealed-only: from now on nothing in the clear is read, written or installed, and
   * the store says so from its next checkpoint on. One way; idempotent.
   * @throws fatal RAFTSEAL_KV_CLEARTEXT_REFUSED where the store holds something, which ends the shard
   */
  refuseCleartext(): void {
    this.#checkUsable();
    this.#parts.checkpointer.refuseCleartext();
  }

  /** Takes the checkpoints that were held back since `open`. */
  startCheckpoints(): void {
    this.#parts.checkpointer.release();
  }

  /**
   * A snapshot of the state on disk, which is that of one index; the shard goes on meanwhile. There
   * may be several. It waits for a checkpoint that runs.
   * @throws RAFTSEAL_KV_CHECKPOINTS_HELD before `startCheckpoints`, and what made the shard fail.
   */
  async snapshot(): Promise<KvSnapshot> {
    this.#checkUsable();
    return this.#views.snapshot();
  }

  /**
   * Replaces the state by that of a snapshot, in memory and on disk. Reads see the old state until
   * all of it was checked and is durable, and the new one from then on; entries are to be applied
   * from the index after it. An entry that is applied meanwhile is lost with the old state, so the
   * applied index may fall. One at a time.
   * @param chunks what `KvSnapshot.chunks` gave on the sending side, cut anywhere; not to be changed
   *   once handed over. Its end is asked for, and where the install fails, it is returned.
   * @returns what was installed
   * @throws RAFTSEAL_KV_SNAPSHOT_INVALID, RAFTSEAL_KV_SNAPSHOT_STALE where its index is not above
   *   `durableIndex`, RAFTSEAL_KV_SEAL_REQUIRED, RAFTSEAL_KV_CLOSED, RAFTSEAL_KV_COMMIT_FAILED,
   *   RAFTSEAL_KV_OPEN_FAILED, what the chunks throw, and what made the shard fail. The state is the old one then, and in
   *   use; but a fatal RAFTSEAL_KV_COMMIT_FAILED ends the shard.
   */
  async install(
    chunks: AsyncIterable<Uint8Array>,
    expected: SnapshotExpectation,
  ): Promise<{ readonly index: bigint; readonly timestampMs: number }> {
    this.#checkUsable();
    const { appliedIndex, timestampMs } = await this.#parts.installer.install(chunks, expected);
    this.#expiryAfter = undefined;
    return { index: appliedIndex, timestampMs };
  }

  /**
   * Flushes, and digests the state on disk: the same on every replica at the same index. Where
   * entries are applied meanwhile, it may be of a later index than that of the call.
   * @throws as `snapshot`, and RAFTSEAL_KV_ROW_CORRUPT.
   */
  async digest(): Promise<KvDigest> {
    this.#checkUsable();
    return this.#views.digest();
  }

  /** As `digest`, to be compared with another cluster: without what has expired by `nowMs`. */
  async contentDigest(nowMs: number): Promise<ContentDigest> {
    this.#checkUsable();
    return this.#views.contentDigest(nowMs);
  }

  /**
   * Counts the rows on disk by DEK, after what was being written is there. It is to say whether a
   * DEK can be retired that is not the active one any more; what is in memory only will be sealed
   * under the active one.
   * @throws as `snapshot`, and what `signal` is aborted with.
   */
  async census(signal?: AbortSignal): Promise<KvCensus> {
    this.#checkUsable();
    return this.#views.census(signal);
  }

  /**
   * Every row on disk, for a verifier: in the clear or sealed, and whether it opens. What is in
   * memory only is in the log. It may be walked over many turns.
   */
  *inspectRows(): Generator<RowInspection & { readonly sealed: boolean }> {
    const { cleartext, checkpointer } = this.#parts;
    for (const row of cleartext.inspect()) yield { ...row, sealed: false };
    const { sealedStore } = checkpointer;
    if (sealedStore) for (const row of sealedStore.inspect()) yield { ...row, sealed: true };
  }

  /** The envelopes on disk, none of them opened. It may be walked over many turns. */
  envelopes(): Generator<Buffer> {
    return envelopesOf(this.#parts.environment);
  }

  statistics(): KvStatistics {
    const { environment, keyspace, checkpointer } = this.#parts;
    return {
      dirtyBytes: keyspace.dirtyBytes,
      dirtyKeys: keyspace.dirtyKeys,
      cacheBytes: keyspace.cacheBytes,
      cacheKeys: keyspace.cacheKeys,
      rowsSealed: environment.count(SEALED_ROWS_TABLE),
      rowsCleartext: environment.count(CLEAR_ROWS_TABLE),
      cleartextLeft: checkpointer.cleartextLeft,
      rewrite: checkpointer.rewriteProgress,
      appliedIndex: checkpointer.appliedIndex,
      durableIndex: checkpointer.durableIndex,
      checkpoints: checkpointer.checkpoints,
      lastFlushMs: checkpointer.lastMs,
      lastFlushKeys: checkpointer.lastKeys,
    };
  }

  /** Flushes, unless the shard has failed, and releases the store. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { checkpointer, environment, installer } = this.#parts;
    await installer.stop(closed());
    try {
      if (checkpointer.failure === undefined && !checkpointer.held) await checkpointer.flush();
    } finally {
      await checkpointer.stop();
      checkpointer.fail(closed());
      await environment.close();
    }
  }

  #checkUsable(): void {
    const { failure } = this.#parts.checkpointer;
    if (failure !== undefined) throw failure;
  }

  #reader(nowMs: number): Keyspace {
    const { keyspace, checkpointer } = this.#parts;
    // After a failed apply the keys in memory are those of no index: nothing of them is served.
    if (checkpointer.failure !== undefined) throw checkpointer.failure;
    keyspace.nowMs = nowMs;
    keyspace.random = Math.random;
    return keyspace;
  }

  /** Due rows of the store, from where the last call ended; from the start after a checkpoint. */
  #expiredRows(nowMs: number, limit: number): ExpiredKey[] {
    const { keyspace, checkpointer } = this.#parts;
    if (this.#expiryCheckpoints !== checkpointer.checkpoints) this.#expiryAfter = undefined;
    this.#expiryCheckpoints = checkpointer.checkpoints;
    const page = keyspace.store.expiring(nowMs, this.#expiryAfter, limit);
    this.#expiryAfter = page.last;
    return page.records.filter(({ key, expireAtMs }) => {
      const entry = keyspace.peek(key);
      return entry === undefined || (entry.value !== undefined && entry.expireAtMs === expireAtMs);
    });
  }
}

function closed(): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KV_CLOSED',
    'the shard was expected to be open and is closed: open it again',
  );
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** What ends the shard when it happens in `apply`. */
function asFatal(error: unknown): unknown {
  if (!(error instanceof RaftsealError) || error.fatal) return error;
  return fatalError(error.code, error.message, error);
}
