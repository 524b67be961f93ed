/**
 * The pass that brings every sealed row under the active DEK, so that nothing needs the others. It
 * goes through the rows in the order of their row keys, some of them in each checkpoint. Where
 * another DEK becomes active it begins again.
 *
 * Invariants:
 * - What is sealed again is a row as it was last committed, and only in a checkpoint that does not
 *   write its key: nothing else commits meanwhile, so newer data is never overwritten.
 * - How far the pass has come is in the meta row, in one transaction with the rows. It stays before
 *   the first row that does not open, so that a pass that goes on after a crash names it again.
 * - The meta row says that every row is under a DEK only where that DEK was the active one from
 *   before the first row of the pass until the meta row itself was sealed.
 *
 * A row that does not open is quarantined: it is named, stays where it is and keeps failing the
 * reads of its key. It leaves the quarantine when its key is set anew, or all keys go.
 */
import { type ByteString, codeOf, type RowSeal } from '@raftseal/interface';
import type { RewriteProgress } from './options.ts';
import type { TableRow } from './row-source.ts';
import type { SealedStore } from './sealed-store.ts';
import { noRewrite, type RewriteState } from './store-meta.ts';
import type { WriteBatch } from './write-batch.ts';

/** What a row costs beside its bytes, as far as the budget goes: sealed again, or looked at. */
const REWRITTEN_ROW_BYTES = 256;
const EXAMINED_ROW_BYTES = 32;
/** Time and bytes of the budget that add up while no checkpoint is taken, at most. */
const BURST_S = 15;
const BURST_BYTES_MAX = 2 ** 28;
const NAMED_ROWS_MAX = 100;

type Seal = RowSeal | 'cleartext';

interface Pass {
  readonly dekId: number;
  readonly startedAtMs: number;
  /** Rows that an earlier process has done. */
  readonly rowsBefore: number;
  rows: number;
  after: Buffer;
  ended: boolean;
  /** Where the first row stands that is quarantined. */
  durable: Pick<RewriteState, 'rows' | 'after'> | undefined;
  /** Row keys, as hex, and why they do not open. */
  readonly quarantined: Map<string, string>;
  /** Quarantined rows for which there is no room among the names. */
  unnamed: number;
}

export interface RewriteSlice {
  readonly batch: WriteBatch;
  readonly store: SealedStore;
  readonly seal: RowSeal;
  /** Keys that the checkpoint writes itself. */
  readonly written: ReadonlySet<ByteString>;
  readonly sliceMs: number;
}

export class RowRewriter {
  readonly #bytesPerSecond: number;
  #pass: Pass;
  /** What the meta row says. */
  #committed: RewriteState;
  /** The DEK that was active when the checkpoint began. */
  #begunDekId: number | undefined;
  #budgetBytes: number;
  #budgetAtMs = performance.now();

  constructor(bytesPerSecond: number, state: RewriteState) {
    if (!(bytesPerSecond > 0 && bytesPerSecond <= Number.MAX_SAFE_INTEGER)) {
      throw new RangeError(`rewriteBytesPerSecond must be above 0, found ${bytesPerSecond}`);
    }
    this.#bytesPerSecond = bytesPerSecond;
    this.#budgetBytes = bytesPerSecond;
    this.#committed = state;
    this.#pass = passFrom(state);
  }

  /** The store is that of a snapshot: what its meta row says holds for its rows. */
  restart(state: RewriteState): void {
    this.#committed = state;
    this.#pass = passFrom(state);
  }

  /** The DEK that every sealed row on disk is under; undefined where that is not certain. */
  get onlyDekId(): number | undefined {
    return this.#committed.complete ? this.#committed.dekId : undefined;
  }

  /** Whether a checkpoint has rows to seal again, or to write down that there are none left. */
  isDue(seal: Seal): boolean {
    const pass = this.#passOf(seal);
    if (pass === undefined) return false;
    return !pass.ended || (isComplete(pass) && !this.#isCommitted(pass));
  }

  /** Whether the budget lets a row be sealed again. */
  hasBudget(): boolean {
    const now = performance.now();
    const earned = ((now - this.#budgetAtMs) / 1000) * this.#bytesPerSecond;
    const limit = Math.min(this.#bytesPerSecond * BURST_S, BURST_BYTES_MAX);
    this.#budgetBytes = Math.min(limit, this.#budgetBytes + earned);
    this.#budgetAtMs = now;
    return this.#budgetBytes > 0;
  }

  /**
   * To be called before a checkpoint seals anything.
   * @returns whether it will seal rows again
   */
  begin(seal: Seal): boolean {
    const pass = this.#passOf(seal);
    this.#begunDekId = pass?.dekId;
    return pass?.ended === false && this.hasBudget();
  }

  /** @returns whether there is more for this checkpoint to do */
  step(slice: RewriteSlice): boolean {
    const pass = this.#passOf(slice.seal);
    // What the checkpoint has sealed so far may be under the DEK that was active before.
    if (pass === undefined || pass.dekId !== this.#begunDekId || pass.ended) return false;
    const until = performance.now() + slice.sliceMs;
    for (const row of slice.store.rowsAfter(pass.after)) {
      this.#budgetBytes -= this.#rewrite(row, pass, slice);
      pass.after = row.key;
      pass.rows++;
      if (this.#budgetBytes <= 0) return false;
      if (performance.now() >= until) return true;
    }
    pass.ended = true;
    return false;
  }

  /** What the meta row is to say; to be asked in the turn in which it is sealed. */
  state(seal: Seal): RewriteState {
    const pass = this.#passOf(seal);
    if (pass === undefined) return noRewrite;
    const { rows, after } = pass.durable ?? pass;
    return { dekId: pass.dekId, rows, after, complete: isComplete(pass) };
  }

  /** To be called once a checkpoint is committed, with what its meta row says. */
  committed(state: RewriteState, store: SealedStore): void {
    this.#committed = state;
    const { dekId, quarantined } = this.#pass;
    if (quarantined.size === 0) return;
    for (const rowKey of quarantined.keys()) {
      if (store.isReplaced(Buffer.from(rowKey, 'hex'), dekId)) quarantined.delete(rowKey);
    }
    if (quarantined.size > 0) return;
    if (this.#pass.unnamed > 0) this.#pass = newPass(dekId);
    else this.#pass.durable = undefined;
  }

  /** Null where every row is under the active DEK, or none is sealed. */
  progress(seal: Seal, rowsTotal: number): RewriteProgress | null {
    const pass = this.#passOf(seal);
    if (pass === undefined || this.#isCommitted(pass)) return null;
    const { dekId, startedAtMs } = pass;
    const quarantined = pass.quarantined.size + pass.unnamed;
    const examined = pass.ended ? rowsTotal : Math.min(pass.rows, rowsTotal);
    return {
      dekId,
      rowsDone: Math.max(0, examined - quarantined),
      rowsTotal,
      startedAtMs,
      remainingMs: remainingMs(pass, rowsTotal),
      quarantined,
      quarantinedRows: [...pass.quarantined].map(([rowKey, code]) => ({ rowKey, code })),
    };
  }

  /** The pass for the DEK that is active; none where there is no such DEK. */
  #passOf(seal: Seal): Pass | undefined {
    if (seal === 'cleartext') return undefined;
    const { activeDekId } = seal;
    if (activeDekId === undefined) return undefined;
    if (this.#pass.dekId !== activeDekId) {
      this.#pass = newPass(activeDekId);
      // What has added up while there was nothing to do does not count.
      this.#budgetBytes = Math.min(this.#budgetBytes, this.#bytesPerSecond);
      this.#budgetAtMs = performance.now();
    }
    return this.#pass;
  }

  #isCommitted({ dekId }: Pass): boolean {
    return this.#committed.complete && this.#committed.dekId === dekId;
  }

  /** @returns what it costs */
  #rewrite(row: TableRow, pass: Pass, { batch, store, written }: RewriteSlice): number {
    const skip = (key: ByteString): boolean => written.has(key);
    try {
      const resealed = store.reseal(batch, row, { dekId: pass.dekId, skip });
      if (!resealed) return EXAMINED_ROW_BYTES;
    } catch (error) {
      if (codeOf(error) !== 'RAFTSEAL_KV_ROW_CORRUPT') throw error;
      quarantine(pass, row.key, error);
    }
    return REWRITTEN_ROW_BYTES + row.value.length;
  }
}

function newPass(dekId: number): Pass {
  return passFrom({ ...noRewrite, dekId });
}

function passFrom({ dekId, rows, after, complete }: RewriteState): Pass {
  return {
    dekId,
    startedAtMs: Date.now(),
    rowsBefore: rows,
    rows,
    after,
    ended: complete,
    durable: undefined,
    quarantined: new Map(),
    unnamed: 0,
  };
}

function isComplete({ ended, quarantined, unnamed }: Pass): boolean {
  return ended && quarantined.size === 0 && unnamed === 0;
}

function quarantine(pass: Pass, rowKey: Buffer, error: unknown): void {
  pass.durable ??= { rows: pass.rows, after: pass.after };
  if (pass.quarantined.size === NAMED_ROWS_MAX) {
    pass.unnamed++;
    return;
  }
  const cause = error instanceof Error ? codeOf(error.cause) : undefined;
  pass.quarantined.set(rowKey.toString('hex'), cause ?? 'RAFTSEAL_KV_ROW_CORRUPT');
}

function remainingMs(pass: Pass, rowsTotal: number): number | null {
  if (pass.ended) return 0;
  const rowsHere = pass.rows - pass.rowsBefore;
  if (rowsHere === 0) return null;
  const msPerRow = (Date.now() - pass.startedAtMs) / rowsHere;
  return Math.round(Math.max(0, rowsTotal - pass.rows) * msPerRow);
}
