/**
 * Follows the log of one shard and applies it, in order; catches up from a snapshot where the log
 * no longer has the next entry.
 *
 * Whenever it starts, it first reads the last entry that is applied here once more, if the log
 * still has it, and compares its end: a log whose tail was taken away and written anew would
 * otherwise be followed without anybody noticing that two replicas have applied different entries.
 */
import {
  codeOf,
  fatalError,
  type LogEntry,
  type RaftEngine,
  type RaftsealError,
} from '@raftseal/interface';
import type { EntryApplier } from './entry-applier.ts';

/** Where the state machine stands after a snapshot was installed. */
export interface Restored {
  readonly index: bigint;
  /** Of the last data entry at or below `index`. */
  readonly timestampMs: number;
}

/**
 * Brings the state machine and the key state forward, past what the log no longer has; the key
 * state first, so that no entry above a cutover meets a node that does not know of it.
 * @throws the signal's reason when aborted; a fatal error halts the shard, after any other it is
 *   called again.
 */
export type Restore = (signal: AbortSignal) => Promise<Restored>;

export interface LogFollowerParts<Result> {
  readonly shardId: number;
  readonly engine: RaftEngine;
  readonly applier: EntryApplier<Result>;
  readonly restore: Restore | undefined;
  /** The log lacks what comes next: a snapshot is being installed until the result is called. */
  readonly onRestoring: () => Promise<() => void>;
  readonly onFatal: (error: unknown) => void;
}

const RESTORE_RETRY_MS = 500;

export class LogFollower<Result> {
  readonly #parts: LogFollowerParts<Result>;
  /** Ends everything, a snapshot that is being installed too. */
  readonly #end = new AbortController();
  #following: { readonly abort: AbortController; readonly ended: Promise<void> } | undefined;
  #waiters: { readonly index: bigint; readonly resolve: () => void }[] = [];

  constructor(parts: LogFollowerParts<Result>) {
    this.#parts = parts;
  }

  start(): void {
    const abort = new AbortController();
    this.#following = { abort, ended: this.#follow(abort.signal) };
  }

  /** Resolves once nothing is being applied; a snapshot under way is installed first. */
  async stop(): Promise<void> {
    this.#following?.abort.abort();
    await this.#following?.ended;
    this.#following = undefined;
  }

  /** Ends what runs, without waiting for it, and every wait, that of an entry too. */
  end(): void {
    this.#end.abort();
    this.#parts.applier.stop();
    this.#following?.abort.abort();
    this.#wake();
  }

  /** Resolves once `index` is applied, or never will be. */
  applied(index: bigint): Promise<void> {
    if (this.#awaitsNoMore(index)) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ index, resolve }));
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#followTail(signal);
      } catch (error) {
        const code = codeOf(error);
        if (signal.aborted && isEnd(code)) return;
        const { restore } = this.#parts;
        if (code !== 'RAFTSEAL_ENGINE_TRUNCATED' || !restore) {
          this.#parts.onFatal(error);
          return;
        }
        await this.#restoreUntilDone(restore);
      }
    }
  }

  async #followTail(signal: AbortSignal): Promise<void> {
    const { engine, applier } = this.#parts;
    await this.#checkLastApplied(signal);
    const from = applier.appliedIndex + 1n;
    for await (const chunk of engine.read({ from, follow: true, signal })) {
      for (const { index, payload } of chunk) {
        if (signal.aborted) return;
        const results = applier.apply(index, payload);
        if (!Array.isArray(results)) await results;
        this.#wake();
      }
    }
  }

  /** @throws fatal RAFTSEAL_SHARD_GROUP_LOG_DIVERGED */
  async #checkLastApplied(signal: AbortSignal): Promise<void> {
    const { applier, engine, shardId } = this.#parts;
    const index = applier.appliedIndex;
    if (!applier.knowsLastPayload) return;
    let found: LogEntry | undefined;
    try {
      for await (const [entry] of engine.read({ from: index, follow: false, signal })) {
        found = entry;
        break;
      }
    } catch (error) {
      if (codeOf(error) === 'RAFTSEAL_ENGINE_TRUNCATED') return;
      throw error;
    }
    if (signal.aborted || (found && applier.isLastPayload(found.payload))) return;
    throw fatalError(
      'RAFTSEAL_SHARD_GROUP_LOG_DIVERGED',
      `expected entry ${index} of shard ${shardId} as it was applied here; the log has ` +
        `${found ? 'another one' : 'none'} in its place: entries were taken out of the log or ` +
        'replaced; restore the log, or rebuild this node',
    );
  }

  async #restoreUntilDone(restore: Restore): Promise<void> {
    const { signal } = this.#end;
    const done = await this.#parts.onRestoring();
    try {
      while (!signal.aborted && !(await this.#restored(restore))) {
        await new Promise((resolve) => setTimeout(resolve, RESTORE_RETRY_MS));
      }
    } finally {
      done();
    }
  }

  async #restored(restore: Restore): Promise<boolean> {
    const { applier, onFatal } = this.#parts;
    const { signal } = this.#end;
    try {
      applier.restored(await restore(signal));
      this.#wake();
      return true;
    } catch (error) {
      if ((error as Partial<RaftsealError>).fatal === true) onFatal(error);
      return false;
    }
  }

  #awaitsNoMore(index: bigint): boolean {
    return this.#end.signal.aborted || this.#parts.applier.appliedIndex >= index;
  }

  #wake(): void {
    if (this.#waiters.length === 0) return;
    const ready = this.#waiters.filter(({ index }) => this.#awaitsNoMore(index));
    this.#waiters = this.#waiters.filter(({ index }) => !this.#awaitsNoMore(index));
    for (const { resolve } of ready) resolve();
  }
}

function isEnd(code: string | undefined): boolean {
  return code === 'RAFTSEAL_ENGINE_CLOSED' || code === 'RAFTSEAL_SHARD_GROUP_STOPPED';
}
