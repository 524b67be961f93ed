/**
 * The time that one process of a node is alive. What it asks of its disk is done a little later, if
 * it still lives then; after its end nothing is done and nobody is answered, as after kill -9.
 */
import type { VirtualClock } from '../virtual-clock.ts';

export interface LifeParts {
  readonly clock: VirtualClock;
  /** How long a call of the disk takes, in ms. */
  readonly latencyMs: () => number;
}

export class Life {
  readonly #parts: LifeParts;
  #isOver = false;

  constructor(parts: LifeParts) {
    this.#parts = parts;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  end(): void {
    this.#isOver = true;
  }

  /** One call of the disk: it takes effect in one step, and is answered in the same. */
  io<Result>(act: () => Result): Promise<Result> {
    const { clock, latencyMs } = this.#parts;
    return new Promise((resolve, reject) => {
      clock.after(latencyMs(), () => {
        if (this.#isOver) return;
        try {
          resolve(act());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  /** As `io`, with a step between the effect and its answer: the process may end between them. */
  async transaction(act: () => void): Promise<void> {
    await this.io(act);
    await this.io(() => undefined);
  }
}
