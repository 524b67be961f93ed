/**
 * The control log that the nodes of a world share, as far as nonces are concerned: dense indexes, and
 * appends that are fenced on the term and on the index. Nothing of it is ever on a node's disk, so a
 * disk that is put back to an earlier state does not put the log back.
 */
import type { Random } from '../random.ts';

/** What becomes of an append. `lost` never arrived; after `silent` the entry is there. */
export type AppendOutcome = 'done' | 'fenced' | 'lost' | 'silent';

export interface Append {
  readonly term: number;
  readonly index: bigint;
  /** Tag and body. */
  readonly payload: Buffer;
}

/** Of a hundred appends, how many get no answer; half of those are in the log. */
const UNANSWERED_PERCENT = 4;

export class SharedLog {
  readonly #random: Random;
  readonly #entries: Buffer[] = [];
  readonly outcomes: Map<AppendOutcome, number> = new Map();
  #term = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  get headIndex(): bigint {
    return BigInt(this.#entries.length);
  }

  /** The term of the latest leader. */
  get term(): number {
    return this.#term;
  }

  /** Elects whoever asks; the leader before is deposed, and does not know it. */
  elect(): number {
    return ++this.#term;
  }

  append(request: Append): AppendOutcome {
    const outcome = this.#append(request);
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
    return outcome;
  }

  entry(index: bigint): Buffer | undefined {
    return this.#entries[Number(index) - 1];
  }

  #append({ term, index, payload }: Append): AppendOutcome {
    if (term !== this.#term || index !== this.headIndex + 1n) return 'fenced';
    const isAnswered = this.#random.below(100) >= UNANSWERED_PERCENT;
    if (!isAnswered && this.#random.chance(0.5)) return 'lost';
    this.#entries.push(payload);
    return isAnswered ? 'done' : 'silent';
  }
}
