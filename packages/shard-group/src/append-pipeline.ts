/**
 * The leader's way into the log: gives each proposal its index, seals it, appends it, settles an
 * ambiguous outcome, and applies what was appended, in order.
 *
 * Order: a proposal counts as in flight before the wrap is read, so that whoever waits for the
 * pipeline to drain and then swaps the wrap knows that nothing sealed under the old one follows.
 * Reading the wrap, sealing and handing the payload to the engine happen in one synchronous step.
 */
import {
  type AppendOutcome,
  assert,
  type Leadership,
  type LogEntry,
  type RaftEngine,
  RaftsealError,
} from '@raftseal/interface';
import type { EntryApplier } from './entry-applier.ts';
import { TAG_BYTES, TAG_CLEARTEXT, TAG_SEALED, writeDataHeader } from './payload.ts';
import { mustBeSealed } from './payload-wrap.ts';
import { type Proposal, rejectProposal } from './proposal-queue.ts';

export interface AppendPipelineParts<Result> {
  readonly engine: RaftEngine;
  readonly applier: EntryApplier<Result>;
  /** Milliseconds since the Unix epoch. */
  readonly clock: () => number;
  /** A proposal has left the pipeline: there is room, or nothing in flight any more. */
  readonly onProgress: () => void;
  /** The engine refused for certain: this node does not lead any more. */
  readonly onFenced: (reason: string) => void;
  /** Apply or disk failed: the shard must halt. */
  readonly onFatal: (error: RaftsealError) => void;
  /** No proposal reads this buffer any more. */
  readonly onReleased: (proposal: Proposal<Result>) => void;
}

interface InFlight<Result> {
  readonly proposal: Proposal<Result>;
  readonly index: bigint;
  payload: Buffer;
  end: AppendEnd | RaftsealError | undefined;
}

/** `unknown`: nobody waits for its outcome any more. */
type AppendEnd = Exclude<AppendOutcome, { outcome: 'ambiguous' }> | { readonly outcome: 'unknown' };

const RETRY_DELAY_MS = 20;
const RETRY_DELAY_MS_MAX = 200;
/** A leader that was deposed usually learns at once what became of its last entry. */
const SETTLE_AFTER_LOSS_MS = 2_000;
const NO_PAYLOAD = Buffer.alloc(0);

export class AppendPipeline<Result> {
  readonly #parts: AppendPipelineParts<Result>;
  readonly #inFlightMax: number;
  #inFlight: InFlight<Result>[] = [];
  #applying = false;
  #abandoned = false;
  /** Ends the resolution of an ambiguous outcome. */
  readonly #giveUp = new AbortController();
  /** Entries in flight are not applied yet: what they were stamped with counts too. */
  #stampedMs = 0;
  #drainWaiters: (() => void)[] = [];

  constructor(parts: AppendPipelineParts<Result>, options: { readonly inFlightMax: number }) {
    this.#parts = parts;
    this.#inFlightMax = options.inFlightMax;
  }

  get hasRoom(): boolean {
    return this.#inFlight.length < this.#inFlightMax;
  }

  /** Resolves once nothing is in flight: every append has ended and, if done, is applied. */
  drained(): Promise<void> {
    if (this.#inFlight.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push(resolve));
  }

  /**
   * Resolves once nothing is in flight, and leaves ambiguous outcomes unknown: to settle them may
   * take as long as the log is out of reach. Nothing may be submitted after.
   */
  stop(): Promise<void> {
    this.#giveUp.abort();
    return this.drained();
  }

  /**
   * Seals and appends one proposal as the next entry of the leadership's term. An outcome that is
   * still ambiguous a while after the leadership has ended is left unknown: the fence on the term
   * keeps the entry out from the next election on, and what is in the log is applied from there.
   */
  submit(proposal: Proposal<Result>, leadership: Pick<Leadership, 'term' | 'signal'>): void {
    const index = this.#parts.applier.appliedIndex + BigInt(this.#inFlight.length) + 1n;
    const entry: InFlight<Result> = { proposal, index, payload: NO_PAYLOAD, end: undefined };
    this.#inFlight.push(entry);
    try {
      entry.payload = this.#payloadOf(proposal, index);
    } catch (error) {
      // Nothing was appended: the index is free again, and only this proposal fails.
      this.#inFlight.pop();
      rejectProposal(proposal, asRaftsealError(error));
      this.#progress();
      return;
    }
    void this.#append(entry, leadership);
  }

  /** Fails everything in flight, whose outcome is now nobody's to wait for. */
  abandon(error: RaftsealError): void {
    this.#abandoned = true;
    this.#giveUp.abort();
    const abandoned = this.#inFlight;
    this.#inFlight = [];
    for (const { proposal } of abandoned) rejectProposal(proposal, error);
    this.#progress();
  }

  #payloadOf(proposal: Proposal<Result>, index: bigint): Buffer {
    const { wrap, lastTimestampMs } = this.#parts.applier;
    const body = proposal.buffer.subarray(TAG_BYTES, proposal.length);
    if (proposal.kind === 'data') {
      this.#stampedMs = Math.max(this.#parts.clock(), lastTimestampMs, this.#stampedMs);
      writeDataHeader(body, { timestampMs: this.#stampedMs, count: proposal.dones.length });
    }
    if (proposal.kind === 'key-lifecycle' && proposal.marker) {
      assert(wrap.kind === 'cleartext', 'a marker is appended only before the cutover');
    } else if (wrap.kind === 'sealed') {
      assert(mustBeSealed(wrap, index), 'entries are appended above the cutover');
      const payload = wrap.seal(body, index, TAG_BYTES);
      payload[0] = TAG_SEALED;
      return payload;
    }
    this.#parts.applier.checkCleartextAllowed(index);
    proposal.buffer[0] = TAG_CLEARTEXT;
    return proposal.buffer.subarray(0, proposal.length);
  }

  async #append(
    entry: InFlight<Result>,
    { term, signal }: Pick<Leadership, 'term' | 'signal'>,
  ): Promise<void> {
    try {
      const { engine } = this.#parts;
      const attempt = await engine.append({ term, index: entry.index, payload: entry.payload });
      entry.end =
        attempt.outcome === 'ambiguous' ? await this.#settle(entry, term, signal) : attempt;
    } catch (error) {
      entry.end = asRaftsealError(error);
    }
    this.#completeInOrder();
  }

  /**
   * Repeats the same bytes at the same index until it is known what became of them: only then may
   * anything else be put there. A refusal after an ambiguous attempt may be our own entry standing
   * in the way, so the slot is read. Equal bytes do not make an entry ours: in the clear, another
   * leader may have appended the same commands within the same millisecond.
   */
  async #settle(
    { index, payload }: InFlight<Result>,
    term: bigint,
    leadershipEnd: AbortSignal,
  ): Promise<AppendEnd> {
    const { engine } = this.#parts;
    const { signal } = this.#giveUp;
    let attempt: AppendOutcome;
    let giveUpMs = Number.POSITIVE_INFINITY;
    let delayMs = RETRY_DELAY_MS;
    do {
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      delayMs = Math.min(2 * delayMs, RETRY_DELAY_MS_MAX);
      // From when the loss is noticed: a process that was stopped makes one attempt at least.
      const nowMs = performance.now();
      if (leadershipEnd.aborted) giveUpMs = Math.min(giveUpMs, nowMs + SETTLE_AFTER_LOSS_MS);
      if (signal.aborted || nowMs >= giveUpMs) return { outcome: 'unknown' };
      attempt = await engine.append({ term, index, payload });
    } while (attempt.outcome === 'ambiguous' || attempt.outcome === 'refused');
    if (attempt.outcome === 'done') return attempt;
    const found = await readSlot(engine, index, signal);
    if (!found) return { outcome: 'unknown' };
    const isOurs = found !== 'free' && found.term === term && payload.equals(found.payload);
    return isOurs ? { outcome: 'done' } : attempt;
  }

  #completeInOrder(): void {
    while (!this.#applying && !this.#abandoned) {
      const head = this.#inFlight[0];
      if (head?.end === undefined) break;
      if (head.end instanceof Error || head.end.outcome !== 'done') this.#failHead(head, head.end);
      else this.#applyHead(head);
    }
  }

  #applyHead(head: InFlight<Result>): void {
    const { proposal, index, payload } = head;
    const body = proposal.buffer.subarray(TAG_BYTES, proposal.length);
    let results: Result[] | Promise<Result[]>;
    try {
      results = this.#parts.applier.applyOwn(index, payload, body);
    } catch (error) {
      this.#parts.onFatal(asRaftsealError(error));
      return;
    }
    if (Array.isArray(results)) {
      this.#finish(head, results);
      return;
    }
    this.#applying = true;
    results.then(
      (late) => {
        this.#applying = false;
        if (!this.#abandoned) this.#finish(head, late);
        this.#completeInOrder();
      },
      (error: unknown) => {
        this.#applying = false;
        this.#parts.onFatal(asRaftsealError(error));
      },
    );
  }

  #finish(head: InFlight<Result>, results: Result[]): void {
    this.#inFlight.shift();
    const { proposal } = head;
    if (proposal.kind === 'key-lifecycle') {
      proposal.done(null, head.index);
    } else {
      for (let i = 0; i < results.length; i++) proposal.dones[i]?.(null, results[i]);
    }
    this.#parts.onReleased(proposal);
    this.#progress();
  }

  #failHead(head: InFlight<Result>, end: Exclude<InFlight<Result>['end'], undefined>): void {
    const { proposal, index } = head;
    this.#inFlight.shift();
    if (end instanceof Error) {
      rejectProposal(proposal, outcomeUnknown(index, end));
      this.#parts.onFatal(end);
    } else if (end.outcome === 'fenced') {
      const reason = `entry ${index} was fenced: another node leads, or the index is taken`;
      rejectProposal(proposal, new RaftsealError('RAFTSEAL_SHARD_GROUP_NOT_LEADER', reason));
      this.#parts.onFenced(reason);
    } else if (end.outcome === 'refused') {
      rejectProposal(proposal, end.error);
    } else {
      rejectProposal(proposal, outcomeUnknown(index));
    }
    this.#progress();
  }

  #progress(): void {
    if (this.#inFlight.length === 0) {
      const waiters = this.#drainWaiters;
      this.#drainWaiters = [];
      for (const resolve of waiters) resolve();
    }
    this.#parts.onProgress();
  }
}

/** Undefined where it cannot be told: the log is out of reach, or truncated by who leads now. */
async function readSlot(
  engine: RaftEngine,
  index: bigint,
  signal: AbortSignal,
): Promise<LogEntry | 'free' | undefined> {
  try {
    for await (const [entry] of engine.read({ from: index, follow: false, signal })) return entry;
    return signal.aborted ? undefined : 'free';
  } catch (error) {
    if ((error as Partial<RaftsealError>).fatal === true) throw error;
    return undefined;
  }
}

function outcomeUnknown(index: bigint, cause?: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_SHARD_GROUP_OUTCOME_UNKNOWN',
    `entry ${index} may or may not be in the log: read before you write again`,
    { cause },
  );
}

function asRaftsealError(error: unknown): RaftsealError {
  if (error instanceof RaftsealError) return error;
  return new RaftsealError(
    'RAFTSEAL_SHARD_GROUP_APPLY_FAILED',
    `unexpected failure in a shard: ${error instanceof Error ? error.message : String(error)}`,
    { cause: error, fatal: true },
  );
}
