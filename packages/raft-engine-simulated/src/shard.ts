/**
 * The agreed log of one simulated shard, and who leads it. What stands here is what a quorum would
 * hold: it survives every crash, and every fence is decided here and nowhere else.
 */
import type { AppendOutcome, AppendRequest, LogEntry } from '@raftseal/interface';
import type { PlantedFault } from './options.ts';
import type { Random } from './random.ts';

/** What the shard needs to know of the engines at it. */
export interface Replica {
  readonly nodeId: string;
  /** Waiting in `elect`, and able to hear that it won. */
  isElectable(): boolean;
  /** Highest index that it has read or appended. */
  readonly knownIndex: bigint;
  /** Tells it that it leads. */
  crown(term: bigint, headIndex: bigint): void;
  /** Tells it that it leads no longer; it may be unable to hear it yet. */
  dethrone(reason: string): void;
  /** The log or its first index moved. */
  onLogChange(): void;
}

export interface Leader {
  readonly replica: Replica;
  readonly term: bigint;
}

export interface ShardOptions {
  readonly autoElect: boolean;
  readonly plantedFaults: ReadonlySet<PlantedFault>;
  readonly random: Random;
  readonly schedule: (task: () => void) => void;
}

export class Shard {
  readonly replicas: Set<Replica> = new Set();
  leader: Leader | undefined;
  term = 0n;
  firstIndex = 1n;
  /** If set, the only node that may be elected next. */
  preferred: string | undefined;
  readonly #entries: LogEntry[] = [];
  readonly #options: ShardOptions;
  #arranging = false;

  constructor(options: ShardOptions) {
    this.#options = options;
  }

  get headIndex(): bigint {
    return BigInt(this.#entries.length);
  }

  /** Every entry ever agreed, those below the first index included. */
  get entries(): readonly LogEntry[] {
    return this.#entries;
  }

  /** Copies of entries, so that no receiver can reach the agreed bytes. */
  slice(from: bigint, through: bigint): LogEntry[] {
    return this.#entries
      .slice(Number(from - 1n), Number(through))
      .map((entry) => ({ ...entry, payload: new Uint8Array(entry.payload) }));
  }

  isLeader(replica: Replica, term: bigint): boolean {
    return this.leader?.replica === replica && this.leader.term === term;
  }

  /** Puts one entry in its place, or refuses it: the fence of the port. */
  put(replica: Replica, request: AppendRequest): AppendOutcome {
    const faults = this.#options.plantedFaults;
    if (!this.isLeader(replica, request.term) && !faults.has('ignoreTerm')) {
      return { outcome: 'fenced', reason: `${replica.nodeId} does not lead term ${request.term}` };
    }
    const expected = this.headIndex + 1n;
    if (request.index !== expected && !faults.has('ignoreExpectedIndex')) {
      return { outcome: 'fenced', reason: `the next index is ${expected}, not ${request.index}` };
    }
    const { term, payload } = request;
    this.#entries.push({ index: expected, term, payload: new Uint8Array(payload) });
    this.#changed();
    return { outcome: 'done' };
  }

  truncate(throughIndex: bigint): void {
    if (throughIndex < this.firstIndex) return;
    this.firstIndex = throughIndex + 1n;
    this.#changed();
  }

  /** Takes the leadership away, if `replica` (default: whoever leads) has it. */
  depose(reason: string, replica: Replica | undefined = this.leader?.replica): void {
    if (replica === undefined || this.leader?.replica !== replica) return;
    this.leader = undefined;
    replica.dethrone(reason);
    this.arrange();
  }

  /** Makes a candidate lead now, in a new term; whoever leads is deposed. */
  crown(replica: Replica): void {
    this.depose(`${replica.nodeId} was elected`);
    this.term += 1n;
    this.preferred = undefined;
    this.leader = { replica, term: this.term };
    const misreport = this.#options.plantedFaults.has('misreportHead');
    replica.crown(this.term, misreport ? replica.knownIndex : this.headIndex);
  }

  /** Elects one of the candidates soon, if the shard then has none. */
  arrange(): void {
    if (this.#arranging) return;
    this.#arranging = true;
    this.#options.schedule(() => {
      this.#arranging = false;
      if (this.leader !== undefined) return;
      const candidates = [...this.replicas].filter(
        (replica) =>
          replica.isElectable() &&
          (this.preferred === undefined
            ? this.#options.autoElect
            : this.preferred === replica.nodeId),
      );
      const winner = candidates[this.#options.random.below(Math.max(1, candidates.length))];
      if (winner !== undefined) this.crown(winner);
    });
  }

  #changed(): void {
    for (const replica of this.replicas) replica.onLogChange();
  }
}
