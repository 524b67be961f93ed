/**
 * How often this node has sealed under each DEK, over all its processes; and how often it still may.
 *
 * Drawing a nonce only counts in memory. What is durable follows: now and then, exactly when the
 * node stops, and before a process has sealed too often without it. So after a process that was
 * killed the count is below the truth by less than {@link UNRECORDED_SEALS_MAX}.
 *
 * A DEK is good for 2^32 seals of the whole cluster. What is left is refused to everything but
 * key-lifecycle entries a little earlier: the rotation that helps has to be sealed itself.
 */
import { randomBytes } from 'node:crypto';
import { NonceSequence, type NonceSequenceOptions, SEALS_MAX } from '@raftseal/envelope';

/** Seals by which a count can be below the truth after a process was killed. */
export const UNRECORDED_SEALS_MAX: bigint = 1n << 20n;

/** Of the seals of a DEK: those that only key-lifecycle entries may draw. */
export const RESERVED_SEALS = 1024n;

/** Seals that are left when no checkpoint is begun any more: far above what one can come to. */
const HELD_BACK_SEALS = 1n << 24n;
/** Half: a record that is under way may end after a later one, and hold less. */
const GRANTED_SEALS = UNRECORDED_SEALS_MAX / 2n;
const CHECK_PERIOD_MS = 1_000;
const RECORDED_AT_ONCE = 1n << 16n;
const RECORDED_AFTER_MS = 60_000;
/** Keys that a node reports on: far more than are in use at a time. */
const REPORTED_KEYS_MAX = 256;

/** Where counts are durable, by DEK. */
export interface SealCountStore {
  readonly sealCounts: ReadonlyMap<number, bigint>;
  /** Resolves once they are durable. */
  putSealCounts(counts: ReadonlyMap<number, bigint>): Promise<void>;
  /** Returns once they are durable. */
  putSealCountsNow(counts: ReadonlyMap<number, bigint>): void;
}

interface Account {
  /** Seals of earlier processes. */
  readonly before: bigint;
  recorded: bigint;
  /** Of this process: one for each epoch that it has had. */
  readonly sequences: NonceSequence[];
}

export class SealLedger {
  readonly #store: SealCountStore;
  readonly #accounts = new Map<number, Account>();
  #others: (dekId: number) => bigint = () => 0n;
  #timer: NodeJS.Timeout | undefined;
  #recordedAtMs = performance.now();
  #recording: Promise<void> | undefined;
  #isOvertaken = false;

  constructor(store: SealCountStore) {
    this.#store = store;
    for (const [dekId, seals] of store.sealCounts) {
      this.#accounts.set(dekId, { before: seals, recorded: seals, sequences: [] });
    }
  }

  /** One that is kept by nobody. */
  static inMemory(): SealLedger {
    return new SealLedger({
      sealCounts: new Map(),
      putSealCounts: async () => undefined,
      putSealCountsNow: () => undefined,
    });
  }

  /** Takes what the other nodes report into account: by DEK, as far as it is known. */
  includeOthers(sealsOfOthers: (dekId: number) => bigint): void {
    this.#others = sealsOfOthers;
  }

  /** Of this node, over all its processes. */
  seals(dekId: number): bigint {
    const account = this.#accounts.get(dekId);
    return account === undefined ? 0n : totalOf(account);
  }

  /** Of all nodes, as far as they are known. */
  sealsOfCluster(dekId: number): bigint {
    return this.seals(dekId) + this.#others(dekId);
  }

  /** Whether what seals much must not begin any more under a DEK. */
  isUsedUp(dekId: number): boolean {
    return this.sealsOfCluster(dekId) >= SEALS_MAX - HELD_BACK_SEALS;
  }

  /** What this node reports to the others: the keys given first, whatever their number. */
  report(first: readonly number[]): ReadonlyMap<number, bigint> {
    const dekIds = [...new Set([...first, ...this.#accounts.keys()])];
    const counts = dekIds.map((dekId): [number, bigint] => [dekId, this.seals(dekId)]);
    return new Map(counts.filter(([, seals]) => seals > 0n).slice(0, REPORTED_KEYS_MAX));
  }

  /** The nonces of a new epoch under a DEK. */
  sequence(
    dekId: number,
    prefix: Pick<NonceSequenceOptions, 'writerId' | 'nonceEpoch'>,
  ): NonceSequence {
    const account = this.#accounts.get(dekId) ?? { before: 0n, recorded: 0n, sequences: [] };
    const sequence: NonceSequence = new NonceSequence({
      ...prefix,
      randomBytes,
      onLimit: (fromReserve) => {
        this.#recordNow(dekId, account);
        const isReserved = fromReserve && totalOf(account) < SEALS_MAX;
        const left = larger(this.#left(dekId, account), isReserved ? 1n : 0n);
        sequence.limitTo(sequence.seals + left);
      },
    });
    account.sequences.push(sequence);
    this.#accounts.set(dekId, account);
    sequence.limitTo(this.#left(dekId, account));
    return sequence;
  }

  /** Forgets the counts of keys that are no more. */
  retain(keys: ReadonlyMap<number, unknown>): void {
    for (const dekId of this.#accounts.keys()) {
      if (!keys.has(dekId)) this.#accounts.delete(dekId);
    }
  }

  /** Keeps the durable counts near the truth from now on. */
  start(): void {
    this.#timer = setInterval(() => void this.#check(), CHECK_PERIOD_MS);
    this.#timer.unref();
  }

  /** Makes the counts durable as they are. To be called when nothing is sealed any more. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#recording;
    await this.#record();
  }

  async #check(): Promise<void> {
    if (this.#recording) return;
    const unrecorded = [...this.#accounts.values()].map((each) => totalOf(each) - each.recorded);
    const isOld = performance.now() - this.#recordedAtMs >= RECORDED_AFTER_MS;
    const isDue = unrecorded.some((seals) => seals >= (isOld ? 1n : RECORDED_AT_ONCE));
    // What could not be recorded is so later on, or by the draw that may not go on without it.
    if (isDue) await this.#record().catch(() => undefined);
  }

  #record(): Promise<void> {
    this.#recording = this.#recordAll().finally(() => {
      this.#recording = undefined;
    });
    return this.#recording;
  }

  async #recordAll(): Promise<void> {
    do {
      this.#isOvertaken = false;
      const changed = [...this.#accounts].filter(([, each]) => totalOf(each) > each.recorded);
      const counts = new Map(changed.map(([dekId, each]) => [dekId, totalOf(each)]));
      this.#recordedAtMs = performance.now();
      if (counts.size === 0) return;
      await this.#store.putSealCounts(counts);
      for (const [dekId, account] of changed) {
        account.recorded = larger(account.recorded, counts.get(dekId) ?? 0n);
        const left = this.#left(dekId, account);
        for (const sequence of account.sequences) sequence.limitTo(sequence.seals + left);
      }
    } while (this.#isOvertaken);
  }

  /** Where no draw may go on without it. */
  #recordNow(dekId: number, account: Account): void {
    const total = totalOf(account);
    if (total - account.recorded < GRANTED_SEALS) return;
    this.#store.putSealCountsNow(new Map([[dekId, total]]));
    account.recorded = total;
    this.#isOvertaken = true;
  }

  /** How many seals may follow, but for those from the reserve, until it is asked again. */
  #left(dekId: number, account: Account): bigint {
    const ofBudget = SEALS_MAX - RESERVED_SEALS - this.sealsOfCluster(dekId);
    const ofRecord = account.recorded + GRANTED_SEALS - totalOf(account);
    return larger(ofBudget < ofRecord ? ofBudget : ofRecord, 0n);
  }
}

function totalOf({ before, sequences }: Account): bigint {
  return sequences.reduce((total, { seals }) => total + seals, before);
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
