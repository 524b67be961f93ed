/**
 * The log of this node: one file sequence, one group commit, and one engine for each shard.
 */
import { randomBytes } from 'node:crypto';
import { type RaftEngine, RaftsealError } from '@raftseal/interface';
import type { DirectoryLock } from './directory-lock.ts';
import { EmbeddedEngine } from './engine.ts';
import { closedError, flushFailed } from './errors.ts';
import { LOG_ID_BYTES, recordKind, writeUint64 } from './format.ts';
import type { GroupRecord } from './group-encoder.ts';
import { GroupWriter } from './group-writer.ts';
import { nodeLogFiles } from './log-files.ts';
import { checkOptions, type EmbeddedLogOptions } from './options.ts';
import { reclaim } from './reclaim.ts';
import { type RecoveredLog, recover } from './recovery.ts';
import { SegmentStore } from './segment-store.ts';
import { ShardLog } from './shard-log.ts';

export interface EmbeddedLog {
  /**
   * The engine of a shard, always the same one. Closing it leaves the log open.
   * @throws RAFTSEAL_ENGINE_SHARD_UNKNOWN, RAFTSEAL_ENGINE_CLOSED
   */
  engine(shardId: number): RaftEngine;
  /** Aborted, with RAFTSEAL_ENGINE_FLUSH_FAILED as its reason, once the disk failed. */
  readonly failed: AbortSignal;
  /** Bytes of a torn tail that opening cut off: of writes that nobody was told of. */
  readonly tornBytes: number;
  /** Number of segment files and their bytes, spare not counted. */
  size(): { readonly segments: number; readonly byteLength: number };
  /**
   * Rids the files of what was truncated: entries that are still readable are written to a new
   * segment, and every older one is deleted.
   * @throws RAFTSEAL_ENGINE_FLUSH_FAILED, RAFTSEAL_ENGINE_CLOSED
   */
  dropTruncated(): Promise<void>;
  /**
   * Closes every engine, confirms the last group, releases the files. Idempotent.
   * @throws RAFTSEAL_ENGINE_FLUSH_FAILED
   */
  close(): Promise<void>;
}

/**
 * Opens the log in a directory, or makes a new one.
 * @throws RAFTSEAL_ENGINE_CORRUPT (fatal), RAFTSEAL_ENGINE_FORMAT, RAFTSEAL_ENGINE_LOCKED,
 *   RAFTSEAL_ENGINE_SHARD_UNKNOWN where the log holds a shard that is not named; RangeError and
 *   TypeError for options; what the file system throws.
 */
export async function openEmbeddedLog(options: EmbeddedLogOptions): Promise<EmbeddedLog> {
  const checked = checkOptions(options);
  const files = options.files ?? nodeLogFiles;
  await files.makeDirectory(checked.directory);
  const lock = await files.lock(checked.directory);
  try {
    const recovered = await recover(files, checked.directory);
    const log = new OpenLog({ ...checked, files }, recovered, lock);
    return await log.started();
  } catch (error) {
    await lock.release();
    throw error;
  }
}

class OpenLog implements EmbeddedLog {
  readonly tornBytes: number;
  readonly #options: Required<EmbeddedLogOptions>;
  readonly #shards: Map<number, ShardLog>;
  readonly #engines: Map<number, EmbeddedEngine> = new Map();
  readonly #store: SegmentStore;
  readonly #writer: GroupWriter;
  readonly #lock: DirectoryLock;
  readonly #failed = new AbortController();
  #reclaiming: Promise<void> | undefined;
  #reclaimAgain = false;
  /** Segments before this one are to be deleted, whatever they hold. */
  #unwantedBefore = 0;
  #closed: Promise<void> | undefined;

  constructor(options: Required<EmbeddedLogOptions>, recovered: RecoveredLog, lock: DirectoryLock) {
    this.#lock = lock;
    this.#options = options;
    this.tornBytes = recovered.tornBytes;
    this.#shards = recovered.shards;
    for (const shardId of options.shardIds) {
      if (!this.#shards.has(shardId)) this.#shards.set(shardId, new ShardLog(shardId));
    }
    const onFailure = (doing: string, cause: unknown): RaftsealError => this.#fail(doing, cause);
    this.#store = new SegmentStore(
      {
        files: options.files,
        directory: options.directory,
        logId: recovered.logId ?? randomBytes(LOG_ID_BYTES),
        segmentBytes: options.segmentBytes,
        onFailure: (doing, cause) => this.#writer.fail(onFailure(doing, cause)),
      },
      recovered.segments,
      recovered.spare,
    );
    this.#writer = new GroupWriter({
      store: this.#store,
      sequence: recovered.nextSequence,
      confirmed: recovered.confirmed,
      checkpoint: () => [...this.#shards.values()].map(checkpointOf),
      onFailure,
      confirmAfterMs: options.confirmAfterMs,
    });
  }

  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  /** Makes the first segment of a new log, or confirms the last group of an old one. */
  async started(): Promise<this> {
    try {
      this.#assertAllNamed();
      await this.#writer.confirm();
      return this;
    } catch (error) {
      await this.#store.close();
      throw error;
    }
  }

  engine(shardId: number): RaftEngine {
    if (this.#closed !== undefined) throw closedError();
    const existing = this.#engines.get(shardId);
    if (existing !== undefined) return existing;
    const shard = this.#shards.get(shardId);
    if (shard === undefined) {
      throw new RaftsealError(
        'RAFTSEAL_ENGINE_SHARD_UNKNOWN',
        `the log was opened for shards ${this.#options.shardIds.join(', ')}, not for ${shardId}`,
      );
    }
    const { payloadBytesMax, appendsInFlightMax, nodeId } = this.#options;
    const engine = new EmbeddedEngine({
      shard,
      store: this.#store,
      writer: this.#writer,
      limits: { payloadBytesMax, appendsInFlightMax },
      nodeId,
      failure: () => (this.#failed.signal.aborted ? this.#failed.signal.reason : undefined),
      onTruncated: () => this.#reclaim(),
    });
    this.#engines.set(shardId, engine);
    return engine;
  }

  size(): { readonly segments: number; readonly byteLength: number } {
    const { segments } = this.#store;
    const byteLength = segments.reduce((sum, segment) => sum + segment.byteLength, 0);
    return { segments: segments.length, byteLength };
  }

  async dropTruncated(): Promise<void> {
    if (this.#closed !== undefined) throw closedError();
    await this.#writer.roll();
    this.#unwantedBefore = this.#store.active?.sequence ?? 0;
    this.#reclaim();
    await this.#reclaiming;
    if (this.#failed.signal.aborted) throw this.#failed.signal.reason;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#engines.values()].map((engine) => engine.close()));
    await this.#reclaiming;
    await this.#writer.idle();
    if (!this.failed.aborted) await this.#writer.confirm().catch(() => undefined);
    this.#writer.close();
    try {
      try {
        await this.#store.close();
      } finally {
        // Whatever becomes of the files: this process may open the log again.
        await this.#lock.release();
      }
    } catch (error) {
      throw flushFailed(`closing the log in ${this.#options.directory}`, error);
    }
  }

  #assertAllNamed(): void {
    const { shardIds, directory } = this.#options;
    const unnamed = [...this.#shards.keys()].filter((shardId) => !shardIds.includes(shardId));
    if (unnamed.length === 0) return;
    throw new RaftsealError(
      'RAFTSEAL_ENGINE_SHARD_UNKNOWN',
      `the log in ${directory} holds shards ${unnamed.join(', ')}, which it was not opened for: ` +
        'name every shard that it holds',
    );
  }

  #reclaim(): void {
    this.#reclaimAgain = true;
    this.#reclaiming ??= this.#reclaimAll();
  }

  async #reclaimAll(): Promise<void> {
    try {
      while (this.#reclaimAgain && this.#closed === undefined) {
        this.#reclaimAgain = false;
        await reclaim({
          store: this.#store,
          writer: this.#writer,
          shards: this.#shards,
          before: this.#unwantedBefore,
        });
      }
    } catch (error) {
      if (!this.#failed.signal.aborted) this.#writer.fail(this.#fail('deleting a segment', error));
    } finally {
      this.#reclaiming = undefined;
    }
  }

  #fail(doing: string, cause: unknown): RaftsealError {
    if (this.#failed.signal.aborted) return this.#failed.signal.reason;
    const error = flushFailed(`${doing} in ${this.#options.directory}`, cause);
    this.#failed.abort(error);
    for (const engine of this.#engines.values()) engine.onFailure(error.message);
    return error;
  }
}

function checkpointOf(shard: ShardLog): GroupRecord {
  const payload = Buffer.alloc(8);
  writeUint64(payload, shard.firstIndex, 0);
  const { shardId, headIndex: index, term } = shard;
  return { kind: recordKind.checkpoint, shardId, index, term, payload };
}
