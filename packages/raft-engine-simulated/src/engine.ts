/**
 * One node's engine at one simulated shard. An append travels in two scheduler steps: it reaches
 * the log in the first, and its outcome comes back in the second, so that a fault may fall between.
 */
import {
  type AppendOutcome,
  type AppendRequest,
  type EngineLimits,
  type Leadership,
  type LogBounds,
  type LogEntry,
  type Member,
  type RaftEngine,
  RaftsealError,
  type ReadRequest,
} from '@raftseal/interface';
import type { DeliveryState, NodeState } from './node.ts';
import type { AppendFault, Schedule } from './options.ts';
import type { Random } from './random.ts';
import type { Replica, Shard } from './shard.ts';

/** Entries handed over in one chunk, at most. */
const CHUNK_ENTRIES_MAX = 8;

export interface EngineParts {
  readonly shardId: number;
  readonly shard: Shard;
  readonly node: NodeState;
  readonly delivery: DeliveryState;
  readonly members: readonly Member[];
  readonly limits: EngineLimits;
  readonly random: Random;
  readonly schedule: Schedule;
}

interface Candidacy {
  readonly resolve: (leadership: Leadership) => void;
  readonly reject: (reason: unknown) => void;
}

interface Transit {
  readonly request: AppendRequest;
  readonly settle: (outcome: AppendOutcome) => void;
  readonly fail: (error: RaftsealError) => void;
  /** Set once the log has decided. */
  decided: AppendOutcome | undefined;
  ended: boolean;
}

const lostContact: AppendOutcome = {
  outcome: 'ambiguous',
  reason: 'contact with the log was lost',
};
const knownFormer: AppendOutcome = { outcome: 'fenced', reason: 'this node leads no longer' };

export class SimulatedEngine implements RaftEngine, Replica {
  readonly limits: EngineLimits;
  readonly nodeId: string;
  /** Highest index that has arrived at this node. */
  arrivedIndex = 0n;
  knownIndex = 0n;
  nextAppendFault: AppendFault | undefined;
  readonly #parts: EngineParts;
  readonly #transits: Set<Transit> = new Set();
  readonly #late: AppendRequest[] = [];
  readonly #waiting: Set<() => void> = new Set();
  #candidacy: Candidacy | undefined;
  #reign: { readonly term: bigint; readonly controller: AbortController } | undefined;
  #unheard: string | undefined;
  #delivering = false;
  #flushFailed = false;
  #closed = false;

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.limits = parts.limits;
    this.nodeId = parts.node.nodeId;
    parts.shard.replicas.add(this);
    this.onLogChange();
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  // --- the port ---------------------------------------------------------------------------------

  async elect(signal?: AbortSignal): Promise<Leadership> {
    this.#assertOpen();
    signal?.throwIfAborted();
    if (this.#candidacy !== undefined) throw new TypeError('elect is under way already');
    this.#parts.shard.depose('it stood for election again', this);
    return await new Promise<Leadership>((resolve, reject) => {
      const withdraw = (): void => {
        this.#candidacy = undefined;
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', withdraw, { once: true });
      const done = (): void => signal?.removeEventListener('abort', withdraw);
      this.#candidacy = {
        resolve: (leadership) => {
          done();
          resolve(leadership);
        },
        reject: (reason) => {
          done();
          reject(reason);
        },
      };
      this.#parts.shard.arrange();
    });
  }

  async append(request: AppendRequest): Promise<AppendOutcome> {
    this.#assertOpen();
    const { payload } = request;
    if (payload.byteLength > this.limits.payloadBytesMax) {
      throw new RaftsealError(
        'RAFTSEAL_ENGINE_PAYLOAD_TOO_LARGE',
        `a payload of ${payload.byteLength} bytes is above the limit of ` +
          `${this.limits.payloadBytesMax}: split it, or raise the limit`,
      );
    }
    if (this.#transits.size >= this.limits.appendsInFlightMax) {
      throw new RangeError(`more than ${this.limits.appendsInFlightMax} appends in flight`);
    }
    const fault = this.nextAppendFault;
    this.nextAppendFault = undefined;
    if (fault === 'flushFailed') this.#flushFailed = true;
    if (this.#flushFailed) throw flushFailed(this.nodeId);
    return await new Promise<AppendOutcome>((settle, fail) => {
      const transit: Transit = { request, settle, fail, decided: undefined, ended: false };
      this.#transits.add(transit);
      this.#parts.schedule(() => this.#arrive(transit, fault));
    });
  }

  async *read(request: ReadRequest): AsyncGenerator<readonly LogEntry[], void, void> {
    this.#assertOpen();
    const { from, follow, signal } = request;
    if (from < 1n) throw new RangeError(`indexes start at 1, not ${from}`);
    const { shard, random } = this.#parts;
    const end = follow ? undefined : shard.headIndex;
    let next = from;
    this.#noteKnown(from - 1n);
    while (!this.#closed && !signal?.aborted) {
      if (end !== undefined && next > end) return;
      if (next < shard.firstIndex) throw truncated(next, shard.firstIndex);
      if (next <= this.arrivedIndex) {
        const through = next + BigInt(random.below(CHUNK_ENTRIES_MAX));
        const last = [through, this.arrivedIndex, end ?? through].reduce(lower);
        this.#noteKnown(last);
        yield shard.slice(next, last);
        next = last + 1n;
      } else {
        await this.#wake(signal);
      }
    }
  }

  async bounds(): Promise<LogBounds> {
    this.#assertReachable();
    const { firstIndex, headIndex } = this.#parts.shard;
    return { firstIndex, headIndex };
  }

  async truncate(throughIndex: bigint): Promise<void> {
    this.#assertReachable();
    const { shard } = this.#parts;
    if (throughIndex > shard.headIndex) {
      throw new RangeError(`cannot truncate through ${throughIndex}: head is ${shard.headIndex}`);
    }
    shard.truncate(throughIndex);
  }

  async members(): Promise<readonly Member[]> {
    this.#assertReachable();
    return this.#parts.members;
  }

  async close(): Promise<void> {
    this.#end(closedError(this.nodeId));
  }

  // --- what the shard tells it ------------------------------------------------------------------

  isElectable(): boolean {
    const { paused, isolated } = this.#parts.node;
    return this.#candidacy !== undefined && !paused && !isolated && !this.#closed;
  }

  crown(term: bigint, headIndex: bigint): void {
    const candidacy = this.#candidacy;
    this.#candidacy = undefined;
    const controller = new AbortController();
    this.#reign = { term, controller };
    const resign = async (): Promise<void> => {
      if (this.#reign?.controller === controller) {
        this.#parts.shard.depose('it resigned', this);
        this.#loseReign('it resigned');
      }
    };
    const leads = (): boolean => !this.#closed && this.#parts.shard.isLeader(this, term);
    const confirm = async (): Promise<boolean> => {
      this.#assertReachable();
      return leads();
    };
    candidacy?.resolve({
      term,
      headIndex,
      signal: controller.signal,
      isCurrent: leads,
      confirm,
      resign,
    });
  }

  dethrone(reason: string): void {
    if (this.#parts.node.paused) this.#unheard = reason;
    else this.#loseReign(reason);
  }

  onLogChange(): void {
    for (const wake of this.#waiting) wake();
    if (this.#delivering || this.#closed) return;
    this.#delivering = true;
    const { delivery, random } = this.#parts;
    this.#deliverAfter(delivery.delaySteps === 0 ? 0 : random.below(delivery.delaySteps + 1));
  }

  // --- what the cluster's controls tell it ------------------------------------------------------

  /** The node runs again: what it missed is noticed before anything else. */
  onResume(): void {
    if (this.#unheard !== undefined) this.#loseReign(this.#unheard);
    this.onLogChange();
    this.#parts.shard.arrange();
  }

  /** Contact is lost: what is in transit may have landed, and nobody here can tell. */
  onIsolated(): void {
    for (const transit of this.#transits) {
      if (transit.decided === undefined && this.#parts.random.coin()) {
        this.#parts.shard.put(this, transit.request);
      }
      this.#finish(transit, lostContact);
    }
    this.#parts.shard.depose('contact with the log was lost', this);
  }

  /** The process is gone: what is in transit may have landed. */
  onCrash(): void {
    for (const transit of this.#transits) {
      if (transit.decided === undefined && this.#parts.random.coin()) {
        this.#parts.shard.put(this, transit.request);
      }
    }
    this.#end(closedError(this.nodeId));
  }

  /** Lets late appends reach the log; says how many landed. */
  landLate(): number {
    const landed = this.#late.filter((request) => {
      return this.#parts.shard.put(this, request).outcome === 'done';
    });
    this.#late.length = 0;
    return landed.length;
  }

  // ----------------------------------------------------------------------------------------------

  #arrive(transit: Transit, fault: AppendFault | undefined): void {
    if (transit.ended) return;
    const { shard, node, schedule } = this.#parts;
    const believesToLead = this.#reign?.term === transit.request.term;
    if (node.isolated || (believesToLead && fault === 'ambiguousLost')) {
      transit.decided = believesToLead ? lostContact : knownFormer;
    } else if (believesToLead && fault === 'ambiguousLate') {
      this.#late.push({ ...transit.request, payload: new Uint8Array(transit.request.payload) });
      transit.decided = lostContact;
    } else {
      const outcome = shard.put(this, transit.request);
      const hidden = fault === 'ambiguousLanded' && outcome.outcome === 'done';
      transit.decided = hidden ? lostContact : outcome;
    }
    schedule(() => this.#finish(transit, transit.decided ?? lostContact));
  }

  #noteKnown(index: bigint): void {
    if (index > this.knownIndex) this.knownIndex = index;
  }

  #finish(transit: Transit, outcome: AppendOutcome): void {
    if (transit.ended) return;
    transit.ended = true;
    if (outcome.outcome === 'done') this.#noteKnown(transit.request.index);
    this.#transits.delete(transit);
    transit.settle(outcome);
  }

  #deliverAfter(steps: number): void {
    this.#parts.schedule(() => {
      if (steps > 0) {
        this.#deliverAfter(steps - 1);
        return;
      }
      this.#delivering = false;
      const { node, delivery, shard } = this.#parts;
      if (node.paused || node.isolated || this.#closed) return;
      const through = lower(shard.headIndex, delivery.heldAbove ?? shard.headIndex);
      if (through > this.arrivedIndex) this.arrivedIndex = through;
      for (const wake of this.#waiting) wake();
    });
  }

  #loseReign(reason: string): void {
    const reign = this.#reign;
    this.#reign = undefined;
    this.#unheard = undefined;
    reign?.controller.abort(new Error(`leadership of ${this.nodeId} ended: ${reason}`));
  }

  #end(error: RaftsealError): void {
    if (this.#closed) return;
    this.#closed = true;
    const { shard } = this.#parts;
    shard.replicas.delete(this);
    shard.depose('its engine was closed', this);
    this.#loseReign('its engine was closed');
    this.#candidacy?.reject(error);
    this.#candidacy = undefined;
    for (const transit of this.#transits) {
      transit.ended = true;
      transit.fail(error);
    }
    this.#transits.clear();
    for (const wake of this.#waiting) wake();
  }

  async #wake(signal: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }

  #assertOpen(): void {
    if (this.#closed) throw closedError(this.nodeId);
  }

  #assertReachable(): void {
    this.#assertOpen();
    if (!this.#parts.node.isolated) return;
    throw new RaftsealError(
      'RAFTSEAL_ENGINE_UNAVAILABLE',
      `node ${this.nodeId} has no contact with the log: heal the partition and try again`,
    );
  }
}

function lower(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function truncated(from: bigint, firstIndex: bigint): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENGINE_TRUNCATED',
    `entry ${from} was truncated; the log starts at ${firstIndex}: install a snapshot first`,
  );
}

function closedError(nodeId: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENGINE_CLOSED',
    `the engine of ${nodeId} was closed: take a new one from the cluster`,
  );
}

function flushFailed(nodeId: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_ENGINE_FLUSH_FAILED',
    `a flush of ${nodeId} failed as the test asked: restart the node`,
  );
}
