/**
 * The engine of one shard. What it knows of its reign it knows by the clock and from etcd's news;
 * what it appends is fenced by etcd alone.
 */
import { setMaxListeners } from 'node:events';
import type {
  AppendOutcome,
  AppendRequest,
  Candidacy,
  EngineLimits,
  Leadership,
  LogBounds,
  LogEntry,
  Member,
  RaftEngine,
  ReadRequest,
} from '@raftseal/interface';
import { kindOf } from './call-error.ts';
import type { Confirmer } from './confirmer.ts';
import type { EtcdDocuments } from './documents.ts';
import { standForElection, type Won } from './election.ts';
import { encodeEntry } from './entry-codec.ts';
import { type ReaderParts, readEntries } from './entry-reader.ts';
import { closedError, payloadTooLarge, raftsealErrorOf } from './errors.ts';
import type { EtcdEvent } from './events.ts';
import type { Append, GroupAppender } from './group-appender.ts';
import type { Claim, Leaders } from './leaders.ts';
import { type BoundsAtRevision, type BoundsParts, findBounds } from './log-bounds.ts';
import { membersOf } from './members.ts';
import type { Session } from './session.ts';
import type { Space } from './space.ts';
import { truncateLog } from './truncation.ts';
import type { WatchHub } from './watch-hub.ts';

export interface EngineParts extends BoundsParts {
  readonly hub: WatchHub;
  readonly session: Session;
  readonly leaders: Leaders;
  readonly appender: GroupAppender;
  readonly confirmer: Confirmer;
  readonly space: Space;
  readonly documents: EtcdDocuments;
  readonly limits: EngineLimits;
  readonly nodeId: string;
  readonly onEvent: (event: EtcdEvent) => void;
}

interface Reign extends Claim {
  readonly controller: AbortController;
  headIndex: bigint;
}

export class EtcdEngine implements RaftEngine {
  readonly limits: EngineLimits;
  readonly #parts: EngineParts;
  readonly #closing = new AbortController();
  readonly #readerParts: ReaderParts;
  #reign: Reign | undefined;
  /** The last append whose outcome is not known, of this reign or of one before. */
  #unsettled: Append | undefined;
  #underWay: Promise<unknown> | undefined;
  #election: Promise<unknown> | undefined;
  /** Settles once the key of the last reign is gone. */
  #resigned: Promise<void> = Promise.resolve();
  #headHint = 0n;
  #closed: Promise<void> | undefined;

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.limits = parts.limits;
    // Every read listens to it.
    setMaxListeners(0, this.#closing.signal);
    const headHint = (): bigint => this.#headHint;
    this.#readerParts = { ...parts, closed: this.#closing.signal, headHint };
  }

  async elect(signal?: AbortSignal, candidacy?: Candidacy): Promise<Leadership> {
    this.#assertOpen();
    signal?.throwIfAborted();
    if (this.#election !== undefined) {
      throw new TypeError('an election of this shard is under way already');
    }
    const stop = new AbortController();
    const closing = this.#closing.signal;
    const end = (): void => stop.abort(closing.aborted ? closedError() : signal?.reason);
    signal?.addEventListener('abort', end);
    closing.addEventListener('abort', end);
    try {
      if (this.#reign !== undefined) this.#endReign(this.#reign, 'it stood for election again');
      const election = this.#stand(stop.signal, candidacy);
      this.#election = election.catch(() => {});
      return await election;
    } finally {
      this.#election = undefined;
      signal?.removeEventListener('abort', end);
      closing.removeEventListener('abort', end);
    }
  }

  append(request: AppendRequest): Promise<AppendOutcome> {
    const { term, index, payload } = request;
    const { shardId, appender } = this.#parts;
    const refusal = this.#refuse(request);
    if (refusal instanceof Error) return Promise.reject(refusal);
    if (refusal !== undefined) return Promise.resolve(refusal);
    const value = encodeEntry(shardId, { index, term, payload });
    const append = { shardId, index, term, value };
    const isRepeated = this.#isUnsettled(request);
    if (isRepeated && this.#unsettled?.value.equals(value) === false) {
      return Promise.reject(
        new TypeError(`the outcome of another append at index ${index} is not known yet`),
      );
    }
    const ended = appender
      .append(append)
      .then((outcome) => this.#note(append, outcome, isRepeated));
    this.#underWay = ended.finally(() => {
      this.#underWay = undefined;
    });
    return ended;
  }

  read(request: ReadRequest): AsyncIterable<readonly LogEntry[]> {
    return this.#read(request);
  }

  async bounds(): Promise<LogBounds> {
    const { floor, head } = await this.#findBounds();
    return { firstIndex: floor + 1n, headIndex: head };
  }

  async truncate(throughIndex: bigint): Promise<void> {
    const bounds = await this.#findBounds();
    if (throughIndex > bounds.head) {
      throw new RangeError(`cannot truncate through ${throughIndex}: the head is ${bounds.head}`);
    }
    const signal = this.#closing.signal;
    await this.#whileOpen(() => truncateLog(this.#parts, { bounds, throughIndex, signal }));
  }

  async members(): Promise<readonly Member[]> {
    this.#assertOpen();
    return membersOf(this.#parts.documents, this.#parts.nodeId);
  }

  close(): Promise<void> {
    this.#closed ??= this.#drain();
    const reign = this.#reign;
    if (reign !== undefined) this.#endReign(reign, 'the engine was closed');
    this.#closing.abort(closedError());
    return this.#closed;
  }

  /** This process cannot be sure to lead any more. */
  onLapsed(reason: string): void {
    if (this.#reign !== undefined) this.#endReign(this.#reign, reason);
  }

  async *#read(request: ReadRequest): AsyncGenerator<readonly LogEntry[], void, void> {
    for await (const entries of readEntries(this.#readerParts, request)) {
      this.#learnHead(entries.at(-1)?.index ?? 0n);
      yield entries;
    }
  }

  async #drain(): Promise<void> {
    await Promise.resolve();
    await Promise.all([this.#underWay, this.#election]);
    await this.#resigned;
  }

  async #stand(signal: AbortSignal, candidacy: Candidacy | undefined): Promise<Leadership> {
    const begin = ({ term, headIndex }: Won): Reign => {
      const controller = new AbortController();
      const onVoid = (reason: string): void => this.#endReign(reign, reason);
      const reign: Reign = { term, headIndex, controller, onVoid };
      this.#reign = reign;
      return reign;
    };
    const parts = { ...this.#parts, headHint: () => this.#headHint };
    const reign = await standForElection(parts, signal, candidacy, begin);
    const { term, headIndex } = reign;
    this.#learnHead(headIndex);
    const { shardId, onEvent } = this.#parts;
    onEvent({ kind: 'elected', message: `elected in term ${term}, head ${headIndex}`, shardId });
    return this.#leadershipOf(reign);
  }

  #leadershipOf(reign: Reign): Leadership {
    const { session, confirmer, leaders, shardId } = this.#parts;
    const { term, headIndex, controller } = reign;
    const { signal } = controller;
    return {
      term,
      headIndex,
      signal,
      isCurrent: () => !signal.aborted && session.isCurrent(),
      confirm: async () => {
        this.#assertOpen();
        const isLeader = await confirmer.confirm(shardId, term);
        if (!isLeader) this.#endReign(reign, 'another node leads, or nobody does');
        return isLeader;
      },
      resign: async () => {
        this.#endReign(reign, 'it resigned');
        await leaders.resign(shardId, term);
      },
    };
  }

  /** Why an append cannot be made, if so: an error to throw, or the outcome. */
  #refuse(request: AppendRequest): AppendOutcome | Error | undefined {
    if (this.#closed !== undefined) return closedError();
    const { term, index, payload } = request;
    const { payloadBytesMax } = this.limits;
    if (payload.byteLength > payloadBytesMax) {
      return payloadTooLarge(payload.byteLength, payloadBytesMax);
    }
    if (this.#underWay !== undefined) return new RangeError('one append of a shard at a time');
    // Only etcd can tell what became of it.
    if (this.#isUnsettled(request)) return undefined;
    const reign = this.#reign;
    if (reign === undefined || reign.term !== term) {
      return { outcome: 'fenced', reason: `this node does not lead in term ${term}` };
    }
    if (index !== reign.headIndex + 1n) {
      return {
        outcome: 'fenced',
        reason: `the next index is ${reign.headIndex + 1n}, not ${index}`,
      };
    }
    const { refusal } = this.#parts.space;
    return refusal === undefined ? undefined : { outcome: 'refused', error: refusal };
  }

  #isUnsettled({ term, index }: AppendRequest): boolean {
    return this.#unsettled?.term === term && this.#unsettled.index === index;
  }

  #note(append: Append, outcome: AppendOutcome, isRepeated: boolean): AppendOutcome {
    const reign = this.#reign?.term === append.term ? this.#reign : undefined;
    switch (outcome.outcome) {
      case 'done':
        this.#unsettled = undefined;
        if (reign !== undefined) reign.headIndex = append.index;
        this.#learnHead(append.index);
        return outcome;
      case 'fenced':
        this.#unsettled = undefined;
        if (reign !== undefined) this.#endReign(reign, outcome.reason);
        return outcome;
      case 'refused':
        // An earlier attempt may still come to be.
        if (!isRepeated) return outcome;
        return { outcome: 'ambiguous', reason: outcome.error.message };
      case 'ambiguous':
        this.#unsettled = append;
        return outcome;
    }
  }

  #endReign(reign: Reign, reason: string): void {
    if (reign.controller.signal.aborted) return;
    if (this.#reign === reign) this.#reign = undefined;
    const { shardId, leaders, onEvent } = this.#parts;
    reign.controller.abort(new Error(`leadership of shard ${shardId}: ${reason}`));
    onEvent({ kind: 'reign-ended', message: `term ${reign.term} is over: ${reason}`, shardId });
    this.#resigned = leaders.resign(shardId, reign.term);
  }

  #learnHead(index: bigint): void {
    if (index > this.#headHint) this.#headHint = index;
  }

  async #findBounds(): Promise<BoundsAtRevision> {
    const signal = this.#closing.signal;
    const patienceMs = 3 * this.#parts.client.requestTimeoutMs;
    const options = { hint: this.#headHint, signal, patienceMs };
    const bounds = await this.#whileOpen(() => findBounds(this.#parts, options));
    this.#learnHead(bounds.head);
    return bounds;
  }

  async #whileOpen<T>(work: () => Promise<T>): Promise<T> {
    this.#assertOpen();
    try {
      return await work();
    } catch (error) {
      this.#assertOpen();
      if (kindOf(error) === undefined) throw error;
      throw raftsealErrorOf('the log cannot be reached', error);
    }
  }

  #assertOpen(): void {
    if (this.#closed !== undefined) throw closedError();
  }
}
