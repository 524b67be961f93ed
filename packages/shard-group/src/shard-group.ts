/**
 * One shard of a replicated log on one node: follows the log, leads it when elected, and seals
 * what it appends.
 *
 * | state | meaning |
 * | --- | --- |
 * | follower | applies what others append; refuses proposals |
 * | restoring | the log lacks what comes next: a snapshot is being installed |
 * | catchingUp | elected, applies what was in the log at the election; proposals wait |
 * | leading | proposals are batched, sealed, appended, applied, answered |
 * | gated | leading; its cutover or a transfer is under way; proposals wait |
 * | halted | a fatal error stopped apply for good; leadership is given up |
 * | stopped | stopped by its owner |
 *
 * Two things keep cleartext out above a cutover, and either alone would do: a leader serves only
 * after it has applied everything that was in the log when it was elected (so a marker in it is
 * applied, and its wrap installed), and every append is fenced on the index it expects.
 */
import type { Leadership, RaftsealError } from '@raftseal/interface';
import { AppendPipeline } from './append-pipeline.ts';
import { Candidate } from './candidate.ts';
import { EntryApplier } from './entry-applier.ts';
import { LogFollower } from './log-follower.ts';
import type { ShardGroupOptions, ShardGroupParts, ShardGroupState } from './options.ts';
import { COMMAND_HEADER_BYTES, DATA_HEADER_BYTES, TAG_BYTES } from './payload.ts';
import type { RaftPayloadWrap } from './payload-wrap.ts';
import { ProposalGate } from './proposal-gate.ts';
import { type Done, keyProposal, type Proposal, ProposalQueue } from './proposal-queue.ts';
import { ShardErrors } from './shard-errors.ts';

/** What the tag and a seal may add to a body; a payload has to fit the engine with them. */
const PAYLOAD_OVERHEAD_BYTES = TAG_BYTES + 64;

export class ShardGroup<Result> {
  readonly shardId: number;
  readonly #parts: ShardGroupParts<Result>;
  readonly #errors: ShardErrors;
  readonly #applier: EntryApplier<Result>;
  readonly #queue: ProposalQueue<Result>;
  readonly #queueBytesMax: number;
  readonly #pipeline: AppendPipeline<Result>;
  readonly #follower: LogFollower<Result>;
  readonly #candidate: Candidate;
  readonly #gate = new ProposalGate();
  readonly #stop = new AbortController();
  #state: ShardGroupState = 'follower';
  #leadership: Leadership | undefined;
  #cutover: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #haltError: RaftsealError | undefined;
  #pumpScheduled = false;
  #pumping = false;
  #confirmation: Promise<boolean> | undefined;

  constructor(options: ShardGroupOptions, parts: ShardGroupParts<Result>) {
    this.shardId = options.shardId;
    this.#parts = parts;
    this.#errors = new ShardErrors(options.shardId);
    this.#queueBytesMax = options.queueBytesMax ?? 64 * 1024 * 1024;
    this.#queue = new ProposalQueue({
      batchBytesMax: Math.min(options.batchBytesMax ?? 128 * 1024, this.#bodyBytesMax),
      batchCommandsMax: options.batchCommandsMax ?? 1024,
      queueBytesMax: this.#queueBytesMax,
    });
    this.#applier = new EntryApplier(
      {
        shardId: options.shardId,
        dekWaitMs: options.dekWaitMs ?? 10_000,
        ...(options.dekMayCome && { dekMayCome: options.dekMayCome }),
        sealedOnly: options.sealedOnly ?? false,
      },
      parts,
    );
    this.#follower = new LogFollower({
      shardId: options.shardId,
      engine: parts.engine,
      applier: this.#applier,
      restore: parts.restore,
      onRestoring: () => this.#beginRestoring(),
      onFatal: (error) => this.#halt(this.#errors.failed('following the log failed', error)),
    });
    this.#candidate = new Candidate({
      engine: parts.engine,
      yieldMs: parts.yieldMs,
      reign: (leadership) => this.#reign(leadership),
      onFailure: (error) => this.#halt(this.#errors.failed('the engine failed to elect', error)),
    });
    this.#pipeline = new AppendPipeline(
      {
        engine: parts.engine,
        applier: this.#applier,
        clock: parts.clock ?? Date.now,
        onProgress: () => this.#pump(),
        onFenced: () => void this.#leadership?.resign(),
        onFatal: (error) => this.#halt(error),
        onReleased: (proposal) => this.#queue.release(proposal),
      },
      {
        inFlightMax: Math.min(
          options.appendsInFlightMax ?? 1,
          parts.engine.limits.appendsInFlightMax,
        ),
      },
    );
  }

  get state(): ShardGroupState {
    return this.#state;
  }

  /** The error that halted the shard. */
  get haltError(): RaftsealError | undefined {
    return this.#haltError;
  }

  get appliedIndex(): bigint {
    return this.#applier.appliedIndex;
  }

  /** Term of the leadership this node holds; undefined while it does not lead. */
  get term(): bigint | undefined {
    return this.#leadership?.term;
  }

  /**
   * True while this node leads, has applied what it inherited, and its claim cannot have lapsed:
   * what it has applied then holds every write that was acknowledged. To be asked at each read.
   */
  get isReadable(): boolean {
    const leads = this.#state === 'leading' || this.#state === 'gated';
    return leads && this.#leadership?.isCurrent() === true;
  }

  /** Highest leader's clock in an applied entry, in ms. */
  get lastTimestampMs(): number {
    return this.#applier.lastTimestampMs;
  }

  get wrap(): RaftPayloadWrap {
    return this.#applier.wrap;
  }

  /** Bytes of commands that wait for their entry. */
  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  /**
   * Sets the wrap for every entry from the next one on. Called by the installer, on every replica,
   * as the marker (or a rotation) is applied and at start-up; idempotent for the same wrap.
   * @throws Error for a step back to cleartext or a changed cutover index: a cutover is one-way.
   */
  setRaftPayloadWrap(wrap: RaftPayloadWrap): void {
    const current = this.#applier.wrap;
    if (current.kind === 'sealed') {
      if (wrap.kind === 'cleartext' || wrap.cutoverIndex !== current.cutoverIndex) {
        throw new Error(`shard ${this.shardId} was cut over at ${current.cutoverIndex} for good`);
      }
    }
    this.#applier.wrap = wrap;
  }

  /**
   * The cluster is sealed-only: from now on an entry in the clear, at any index, halts the shard
   * instead of being applied, and none is appended. One-way; idempotent.
   */
  refuseCleartext(): void {
    this.#applier.refuseCleartext();
  }

  /**
   * Applies everything that is in the log now, and goes on following it. Once, before `campaign`.
   * @throws what halted the shard; RAFTSEAL_SHARD_GROUP_STOPPED
   */
  async replay(): Promise<void> {
    const { headIndex } = await this.#parts.engine.bounds();
    if (!this.#stop.signal.aborted) {
      this.#follower.start();
      await this.#follower.applied(headIndex);
    }
    if (this.#haltError) throw this.#haltError;
    if (this.#stop.signal.aborted) throw this.#errors.stopped();
  }

  /** Stands for election, again after every loss, until stopped. */
  campaign(): void {
    this.#candidate.stand();
  }

  /**
   * Proposes a command; copied before the call returns. `done` is called exactly once, never before
   * the call has returned: with the result after the entry is durable and applied, or with
   * - RAFTSEAL_SHARD_GROUP_NOT_LEADER, _OVERLOADED, _COMMAND_TOO_LARGE, _STOPPED: not appended
   * - RAFTSEAL_SHARD_GROUP_OUTCOME_UNKNOWN, _HALTED: it may be in the log
   * - whatever code the state machine refused it with, or the wrap to seal it: not appended
   */
  propose(command: Uint8Array, done: Done<Result>): void {
    const refusal =
      this.#refusal() ??
      this.#commandSizeRefusal(command) ??
      this.#parts.stateMachine.refusal?.(command);
    if (refusal) setImmediate(done, refusal);
    else if (this.#queue.add(command, done)) this.#schedulePump();
    else setImmediate(done, this.#errors.overloaded(this.#queueBytesMax));
  }

  /**
   * Proposes a key-lifecycle entry, sealed like any other; it waits while the gate is closed.
   * @returns its index, once it is applied here
   * @throws as `propose`
   */
  proposeKeyLifecycle(body: Uint8Array): Promise<bigint> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal() ?? this.#keySizeRefusal(body);
      if (refusal) {
        reject(refusal);
        return;
      }
      this.#queue.addKeyLifecycle(body, (error, index) =>
        error ? reject(error) : resolve(index as bigint),
      );
      this.#schedulePump();
    });
  }

  /**
   * Leads the cutover of this shard: close the gate, drain, append the marker in the clear, wait
   * until this node's own apply of it has installed the wrap, open the gate. Whoever asked may go
   * away meanwhile: nothing here depends on the caller's patience. Idempotent; a second call joins
   * the first.
   *
   * Where apply found the marker stale (a rotation overtook it), the wrap is still `cleartext`
   * afterwards and the caller proposes a new marker.
   * @param marker body of the `EnableRaft` entry
   * @throws RAFTSEAL_SHARD_GROUP_NOT_LEADER, _STOPPED, _OUTCOME_UNKNOWN, _HALTED: the next leader
   *   finishes it; RAFTSEAL_SHARD_GROUP_COMMAND_TOO_LARGE
   */
  cutOver(marker: Uint8Array): Promise<void> {
    this.#cutover ??= this.#cutOver(marker).finally(() => {
      this.#cutover = undefined;
    });
    return this.#cutover;
  }

  /**
   * Makes sure, by the log and not by a clock, that this node leads: what was acknowledged before
   * the call is applied here once it resolves. Reads that wait at once share a question.
   * @throws RAFTSEAL_SHARD_GROUP_NOT_LEADER; RAFTSEAL_ENGINE_UNAVAILABLE, RAFTSEAL_ENGINE_CLOSED
   */
  async confirmLeadership(): Promise<void> {
    const leadership = this.#leadership;
    if (!this.isReadable || !leadership) throw this.#errors.notLeader();
    // A question that was put before this call cannot answer it: the next one can.
    await this.#confirmation?.catch(() => undefined);
    this.#confirmation ??= leadership.confirm().finally(() => {
      this.#confirmation = undefined;
    });
    if (!(await this.#confirmation) || leadership !== this.#leadership) {
      throw this.#errors.notLeader();
    }
  }

  /**
   * Gives leadership up in good order: proposals wait while what is in flight is appended and
   * applied; they are refused, not lost, as soon as another node may be elected. Does nothing where
   * this node does not lead.
   */
  async handOver(): Promise<void> {
    await this.#cutover?.catch(() => undefined);
    const leadership = this.#leadership;
    if (!leadership) return;
    if (this.#state === 'leading' && this.#gate.isOpen) {
      this.#gate.close();
      try {
        this.#setState('gated');
        await this.#pipeline.drained();
      } finally {
        this.#gate.open();
      }
    }
    await leadership.resign();
  }

  /** Gives leadership up, whatever is in flight; the result is called to stand for election again. */
  standAside(): () => void {
    const resume = this.#candidate.suspend();
    void this.#leadership?.resign();
    return resume;
  }

  /** Stops the shard for good, for a failure outside its apply (such as that of its store). */
  halt(error: unknown): void {
    this.#halt(this.#errors.failed('its state machine failed', error));
  }

  /** Lets the engine drop what the state machine has made durable. */
  async truncate(): Promise<void> {
    const { durableIndex } = this.#parts.stateMachine;
    if (durableIndex > 0n) await this.#parts.engine.truncate(durableIndex);
  }

  /**
   * Ends what is in flight, gives leadership up, stops following. The engine stays open. Does not
   * wait for the log to be in reach: an append of unknown outcome is answered as such. Idempotent.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stopNow();
    return this.#stopping;
  }

  async #stopNow(): Promise<void> {
    this.#stop.abort();
    this.#candidate.withdraw();
    this.#queue.rejectAll(this.#errors.stopped());
    this.#follower.end();
    if (this.#state !== 'halted') {
      await this.#pipeline.stop();
      if (!this.#isState('halted')) this.#setState('stopped');
    }
    await this.#leadership?.resign();
    await this.#candidate.ended();
    await this.#follower.stop();
  }

  async #cutOver(marker: Uint8Array): Promise<void> {
    if (this.#isSealed) return;
    const leadership = this.#leadership;
    if (this.#state !== 'leading' || !leadership) throw this.#errors.notLeader();
    const refusal = this.#keySizeRefusal(marker);
    if (refusal) throw refusal;
    this.#gate.close();
    try {
      this.#setState('gated');
      this.#parts.onCutoverStep?.('gate-closed');
      await this.#pipeline.drained();
      this.#parts.onCutoverStep?.('drained');
      if (this.#isSealed) return;
      if (this.#stop.signal.aborted) throw this.#errors.stopped();
      if (leadership.signal.aborted) throw this.#errors.notLeader();
      await new Promise<void>((resolve, reject) => {
        const done = (error: RaftsealError | null): void => (error ? reject(error) : resolve());
        this.#pipeline.submit(keyProposal(marker, { marker: true, done }), leadership);
      });
      this.#parts.onCutoverStep?.('marker-applied');
    } finally {
      const gateMs = this.#gate.open();
      if (this.#isState('gated')) this.#setState('leading');
      this.#parts.onCutoverStep?.('gate-opened', gateMs);
      this.#pump();
    }
  }

  async #reign(leadership: Leadership): Promise<void> {
    const lost = new Promise<void>((resolve) => {
      leadership.signal.addEventListener('abort', () => resolve(), { once: true });
      if (leadership.signal.aborted) resolve();
    });
    leadership.signal.addEventListener('abort', () => this.#stepDown(leadership), { once: true });
    if (leadership.signal.aborted) return;
    this.#leadership = leadership;
    this.#setState('catchingUp');
    await Promise.race([this.#follower.applied(leadership.headIndex), lost]);
    await this.#follower.stop();
    await this.#checkHead(leadership);
    const ended = leadership.signal.aborted || this.#stop.signal.aborted;
    if (!ended && this.#isState('catchingUp')) {
      this.#setState('leading');
      this.#pump();
      await lost;
    }
    await this.#pipeline.drained();
    if (!this.#stop.signal.aborted && !this.#haltError) this.#follower.start();
  }

  /**
   * What this node has applied was in the log when it was elected, or another leader has appended
   * it since; anything else was taken out of the log.
   */
  async #checkHead(leadership: Leadership): Promise<void> {
    const { appliedIndex } = this.#applier;
    if (appliedIndex <= leadership.headIndex || leadership.signal.aborted) return;
    const leads = await leadership.confirm().catch(() => false);
    if (leads) this.#halt(this.#errors.logBehind(appliedIndex, leadership.headIndex));
    else await leadership.resign();
  }

  /** Whoever has the state of the shard should lead it, and this node has it not. */
  async #beginRestoring(): Promise<() => void> {
    const resume = this.#candidate.suspend();
    await this.#leadership?.resign();
    if (this.#isState('follower')) this.#setState('restoring');
    return () => {
      if (this.#isState('restoring')) this.#setState('follower');
      resume();
    };
  }

  #stepDown(leadership: Leadership): void {
    if (this.#leadership !== leadership) return;
    this.#leadership = undefined;
    if (this.#state === 'halted' || this.#state === 'stopped') return;
    this.#setState('follower');
    this.#queue.rejectAll(this.#errors.notLeader());
  }

  /** What arrives in one turn of the event loop shares an entry. */
  #schedulePump(): void {
    if (this.#pumpScheduled) return;
    this.#pumpScheduled = true;
    setImmediate(() => {
      this.#pumpScheduled = false;
      this.#pump();
    });
  }

  /** A seal that is refused is progress, made while this runs: the loop sees to it. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      for (let next = this.#takeNext(); next; next = this.#takeNext()) {
        this.#pipeline.submit(next.proposal, next.leadership);
      }
    } finally {
      this.#pumping = false;
    }
  }

  #takeNext():
    | { readonly proposal: Proposal<Result>; readonly leadership: Leadership }
    | undefined {
    const leadership = this.#leadership;
    if (this.#state !== 'leading' || !leadership) return undefined;
    if (!this.#gate.isOpen || !this.#pipeline.hasRoom) return undefined;
    const proposal = this.#queue.take();
    return proposal && { proposal, leadership };
  }

  #halt(error: RaftsealError): void {
    if (this.#haltError) return;
    this.#haltError = error;
    this.#candidate.withdraw();
    this.#setState('halted');
    const refusal = this.#errors.halted(error);
    this.#queue.rejectAll(refusal);
    this.#pipeline.abandon(refusal);
    this.#follower.end();
    void this.#leadership?.resign();
    this.#parts.onHalt?.(error);
  }

  #refusal(): RaftsealError | undefined {
    switch (this.#state) {
      case 'leading':
      case 'gated':
      case 'catchingUp':
        return this.#stop.signal.aborted ? this.#errors.stopped() : undefined;
      case 'follower':
      case 'restoring':
        return this.#errors.notLeader();
      case 'stopped':
        return this.#errors.stopped();
      case 'halted':
        return this.#errors.halted(this.#haltError);
    }
  }

  get #bodyBytesMax(): number {
    return this.#parts.engine.limits.payloadBytesMax - PAYLOAD_OVERHEAD_BYTES;
  }

  #commandSizeRefusal(command: Uint8Array): RaftsealError | undefined {
    const max = this.#bodyBytesMax - DATA_HEADER_BYTES - COMMAND_HEADER_BYTES;
    const found = command.length;
    return found > max ? this.#errors.tooLarge('a command', { max, found }) : undefined;
  }

  #keySizeRefusal(body: Uint8Array): RaftsealError | undefined {
    const max = this.#bodyBytesMax - 1;
    const found = body.length;
    return found > max ? this.#errors.tooLarge('a key-lifecycle entry', { max, found }) : undefined;
  }

  get #isSealed(): boolean {
    return this.#applier.wrap.kind === 'sealed';
  }

  /** Reads the state anew: narrowing does not survive an `await`. */
  #isState(state: ShardGroupState): boolean {
    return this.#state === state;
  }

  #setState(state: ShardGroupState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#parts.onState?.(state);
  }
}
