/**
 * The audit trail of a node: what its key state went through and what was asked of it, in files
 * that are only added to, each record holding the hash of the one before.
 *
 * - An entry is recorded once: what the trail has is not recorded again by a replay.
 * - A record is flushed before its caller goes on: an entry is not applied, and a call not acted on,
 *   before it is in the trail.
 * - A trail that cannot be written refuses calls that may change something, and nothing else: the
 *   cluster decides what is applied, and a full disk here must not part this replica from it. What
 *   was applied meanwhile is recorded as a gap as soon as it can be.
 * - After a failed flush nobody knows what is on disk: then nothing is written before the next start.
 *
 * Files are bounded, and the oldest one goes when there are too many. Opening writes nothing.
 */
import { type FileHandle, mkdir, open, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { AppliedEntry, NoteEntry } from '@raftseal/applier';
import { codeOf, type KeyState, RaftsealError } from '@raftseal/interface';
import { flushDirectory } from '../data-directory.ts';
import { Chain, recordedFields } from './chain.ts';
import { entryFacts } from './entry-facts.ts';
import { type AuditBody, encodeRecord, type GapReason, hashOf } from './record.ts';
import { readTrailFile, trailFileName, trailFileNames } from './trail-files.ts';

/** How many files are kept. */
export const FILES_MAX = 32;
const FILE_BYTES_MAX = 4 * 1024 * 1024;
const LINE_END = Buffer.from('\n');

export interface AuditTrailOptions {
  /** Made with the first record. */
  readonly directory: string;
  readonly nodeId: string;
  /** Of a file, but for one record that is larger. */
  readonly fileBytesMax?: number;
  /** Told when records are lost, and when they are kept again. */
  readonly onFailure?: (error: unknown) => void;
  readonly onRecovery?: () => void;
}

export interface AuditedCall {
  readonly method: string;
  readonly path: string;
  readonly caller: string;
  readonly given: Readonly<Record<string, unknown>>;
}

interface OpenFile {
  readonly name: string;
  readonly firstSequence: number;
  /** Of whole records. */
  byteLength: number;
  handle?: FileHandle;
}

/** Records how a call ended: `done`, or the code of its refusal. */
export type CallEnd = (code: string) => Promise<void>;

export interface AuditStatus {
  readonly records: number;
  /** SHA-256 of the last record: an anchor for all up to it. Null before the first. */
  readonly headHash: string | null;
  /** Why records are lost at the moment. */
  readonly failure: string | null;
}

export class AuditTrail {
  readonly #options: AuditTrailOptions;
  readonly #chain: Chain;
  #file: OpenFile | undefined;
  #isTidy = false;
  #failure: string | null = null;
  #isFlushBroken = false;
  /** What the key state has applied, where that is more than the trail has. */
  #ahead: { readonly applied: KeyState['appliedIndex']; readonly reason: GapReason } | undefined;
  /** Settles, never rejects, once the records so far are written or lost. */
  #queue: Promise<unknown> = Promise.resolve();

  /** @throws RAFTSEAL_NODE_AUDIT_CORRUPT for a last file that is not as it was written */
  static async open(options: AuditTrailOptions): Promise<AuditTrail> {
    const { directory, nodeId } = options;
    const chain = new Chain();
    // A file without a whole line was begun when the power went: the one before it is the last.
    for (const name of (await trailFileNames(directory)).toReversed()) {
      const { lines, byteLength, firstSequence } = await readTrailFile(directory, name);
      if (lines.length === 0) continue;
      for (const [at, line] of lines.entries()) {
        const { problem } = chain.follow(line, at === 0 ? firstSequence : undefined);
        if (problem !== undefined) throw corrupt(join(directory, name), at + 1, problem);
      }
      if (chain.nodeId !== nodeId) throw corrupt(join(directory, name), 1, 'is of another node');
      return new AuditTrail(options, chain, { name, firstSequence, byteLength });
    }
    return new AuditTrail(options, chain);
  }

  private constructor(options: AuditTrailOptions, chain: Chain, file?: OpenFile) {
    this.#options = options;
    this.#chain = chain;
    this.#file = file;
  }

  /** By shard: the last log entry that a record is about. */
  get recorded(): ReadonlyMap<number, bigint> {
    return this.#chain.recorded;
  }

  /** The first log entry of a shard above an index that the last file has a record about. */
  recordedAfter(shardId: number, index: bigint): bigint | undefined {
    return this.#chain.entries.get(shardId)?.find((recorded) => recorded > index);
  }

  status(): AuditStatus {
    const { sequence, headHash } = this.#chain;
    return {
      records: sequence,
      headHash: sequence === 0 ? null : headHash,
      failure: this.#failure,
    };
  }

  /** Records an entry, once. Does not reject. */
  readonly note: NoteEntry = (applied) =>
    this.#keep(async () => {
      if (applied.index <= (this.#chain.recorded.get(applied.shardId) ?? 0n)) return;
      await this.#append([entryRecord(applied)]);
    });

  /** Records as gaps what a key state has applied and no record is about. Does not reject. */
  settle({ appliedIndex, clusterId }: KeyState, reason: GapReason): Promise<void> {
    return this.#keep(async () => {
      if (clusterId) this.#chain.clusterId ??= Buffer.from(clusterId).toString('hex');
      this.#ahead = { applied: appliedIndex, reason: this.#failure ? 'not written' : reason };
      await this.#append([]);
    });
  }

  /**
   * Records a call before it is acted on.
   * @throws RAFTSEAL_NODE_AUDIT_UNAVAILABLE where it cannot: then the call must not be acted on
   */
  async call(call: AuditedCall): Promise<CallEnd> {
    const sequence = await this.#enqueue(async () => {
      await this.#append([{ kind: 'call', ...call }]);
      return this.#chain.sequence;
    }).catch((error: unknown) => {
      throw unavailable(error);
    });
    return (code) => this.#keep(() => this.#append([{ kind: 'result', call: sequence, code }]));
  }

  async close(): Promise<void> {
    await this.#queue;
    await this.#file?.handle?.close();
  }

  async #keep(write: () => Promise<void>): Promise<void> {
    await this.#enqueue(write).catch(() => undefined);
  }

  #enqueue<T>(write: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(write);
    this.#queue = result.catch((error: unknown) => this.#failed(error));
    return result;
  }

  #recovered(): void {
    if (this.#failure === null) return;
    this.#failure = null;
    this.#options.onRecovery?.();
  }

  #failed(error: unknown): void {
    const isNew = this.#failure === null;
    this.#failure = codeOf(error) ?? 'unexpected error';
    if (isNew) this.#options.onFailure?.(error);
  }

  /** Adds records behind the gaps that there are; nothing of them counts where it fails. */
  async #append(added: readonly AuditBody[]): Promise<void> {
    const bodies = [...this.#gaps(), ...added];
    if (bodies.length === 0) return;
    if (this.#isFlushBroken) throw new Error('an earlier flush of the audit trail failed');
    await this.#tidy();
    const lines = this.#encode(bodies);
    const byteLength = lines.reduce((sum, { length }) => sum + length + 1, 0);
    const { fileBytesMax = FILE_BYTES_MAX } = this.#options;
    const isFull = this.#file && this.#file.byteLength + byteLength > fileBytesMax;
    if (this.#file && !isFull) await this.#write(this.#file, lines);
    else await this.#writeToNext(bodies);
    this.#ahead = undefined;
    this.#recovered();
  }

  async #writeToNext(bodies: readonly AuditBody[]): Promise<void> {
    const { directory } = this.#options;
    const lines = this.#encode([this.#opening(bodies), ...bodies]);
    const firstSequence = this.#chain.sequence + 1;
    const name = trailFileName(firstSequence);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const handle = await open(join(directory, name), 'w', 0o600);
    const next = { name, firstSequence, byteLength: 0, handle };
    try {
      await this.#write(next, lines, async () => {
        await flushDirectory(directory);
        await flushDirectory(dirname(directory));
      });
    } catch (error) {
      await handle.close().catch(() => undefined);
      this.#isTidy = false;
      throw error;
    }
    await this.#file?.handle?.close();
    this.#file = next;
    const names = await trailFileNames(directory);
    for (const old of names.slice(0, -FILES_MAX)) await rm(join(directory, old));
  }

  /** The first record of a file. A cluster that the next record brings is named by it already. */
  #opening(bodies: readonly AuditBody[]): AuditBody {
    const { nodeId } = this.#options;
    const { clusterId, recorded, sequence } = this.#chain;
    if (sequence > 0) {
      return { kind: 'continue', nodeId, clusterId, recorded: recordedFields(recorded) };
    }
    const brought = bodies.flatMap((body) => (body.kind === 'entry' ? [body.facts.clusterId] : []));
    const found = brought.find((id): id is string => typeof id === 'string');
    return { kind: 'begin', nodeId, clusterId: clusterId ?? found ?? null };
  }

  #encode(bodies: readonly AuditBody[]): Buffer[] {
    let { sequence, headHash: before } = this.#chain;
    const at = new Date().toISOString();
    return bodies.map((body) => {
      const line = encodeRecord({ sequence: ++sequence, before, at, ...body });
      before = hashOf(line);
      return line;
    });
  }

  /** One write and one flush; where the write fails, the file ends where it ended before. */
  async #write(
    file: OpenFile,
    lines: readonly Buffer[],
    flushNames: () => Promise<void> = async () => undefined,
  ): Promise<void> {
    const path = join(this.#options.directory, file.name);
    file.handle ??= await open(path, 'r+');
    const { handle } = file;
    // A file that was deleted or moved away takes records that nobody will find.
    if ((await stat(path)).ino !== (await handle.stat()).ino) throw replaced(path);
    const bytes = Buffer.concat(lines.flatMap((line) => [line, LINE_END]));
    try {
      for (let at = 0; at < bytes.length; ) {
        const place = file.byteLength + at;
        at += (await handle.write(bytes, at, bytes.length - at, place)).bytesWritten;
      }
    } catch (error) {
      await handle.truncate(file.byteLength).catch(() => undefined);
      throw error;
    }
    try {
      await handle.sync();
      await flushNames();
    } catch (error) {
      this.#isFlushBroken = true;
      throw error;
    }
    for (const [at, line] of lines.entries()) {
      const isOpening = file.byteLength === 0 && at === 0;
      const { problem } = this.#chain.follow(line, isOpening ? file.firstSequence : undefined);
      if (problem !== undefined) throw new Error(`a record of the audit trail ${problem}`);
    }
    file.byteLength += bytes.length;
  }

  /** What a crash has left behind the last whole line goes before anything is added. */
  async #tidy(): Promise<void> {
    if (this.#isTidy) return;
    const { directory } = this.#options;
    const last = this.#file;
    for (const name of await trailFileNames(directory)) {
      if (last === undefined || name > last.name) await rm(join(directory, name));
    }
    if (last) {
      last.handle ??= await open(join(directory, last.name), 'r+');
      await last.handle.truncate(last.byteLength);
    }
    this.#isTidy = true;
  }

  #gaps(): AuditBody[] {
    if (!this.#ahead) return [];
    const { applied, reason } = this.#ahead;
    return [...applied].flatMap(([shardId, index]) => {
      const after = this.#chain.recorded.get(shardId) ?? 0n;
      if (index <= after) return [];
      return [{ kind: 'gap', shardId, after: `${after}`, through: `${index}`, reason }];
    });
  }
}

function entryRecord({ shardId, index, entry, outcome }: AppliedEntry): AuditBody {
  return {
    kind: 'entry',
    shardId,
    index: `${index}`,
    entry: entry.kind,
    outcome: outcome.kind === 'no-op' ? outcome.reason : outcome.kind,
    facts: entryFacts(entry),
  };
}

function replaced(path: string): Error {
  return Object.assign(new Error(`${path} is another file than the one it was`), {
    code: 'ESTALE',
  });
}

function corrupt(path: string, line: number, problem: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_AUDIT_CORRUPT',
    `line ${line} of ${path} ${problem}: the audit trail was changed or damaged. Find out why, ` +
      'keep it, and move its folder out of the data directory: the node begins another one, which ' +
      'says so; nothing was changed',
  );
}

function unavailable(cause: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_AUDIT_UNAVAILABLE',
    `the audit trail cannot be written (${codeOf(cause) ?? 'unexpected error'}), and nothing is ` +
      'changed without a record: make room on the disk, or, after a failed flush, restart the node; ' +
      'nothing was done',
    { cause },
  );
}
