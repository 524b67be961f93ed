/**
 * An entry whose keys no KEK in reach opens waits until one is back: that an outage falls on a
 * rotation, which its leader could still make, must halt no shard. Nothing is skipped meanwhile.
 */
import { codeOf } from '@raftseal/interface';
import type { StateWaits } from './state-waits.ts';

/** A KEK behind a service is tried for 15 s as it is. */
const PAUSE_MS = 1_000;

/** Told why; what it returns is called when the wait is over, however it ends. */
export type OnKekAway = (error: unknown) => () => void;

export class KekWait {
  readonly #waits: StateWaits;
  readonly #onKekAway: OnKekAway;
  #waiting = 0;

  constructor(waits: StateWaits, onKekAway: OnKekAway = () => () => undefined) {
    this.#waits = waits;
    this.#onKekAway = onKekAway;
  }

  /** From when a KEK was found to be away until what needs it is done. */
  get isWaiting(): boolean {
    return this.#waiting > 0;
  }

  /**
   * Repeats `act`, which loads keys before it changes anything, as long as no KEK is in reach.
   * @throws what else `act` throws; the signal's reason; what ends the waits
   */
  async during<Result>(
    signal: AbortSignal | undefined,
    act: () => Promise<Result>,
  ): Promise<Result> {
    let end: (() => void) | undefined;
    try {
      for (;;) {
        try {
          return await act();
        } catch (error) {
          if (!isKekAway(error)) throw error;
          end ??= this.#begin(error);
        }
        await this.#waits.pause(PAUSE_MS, signal);
      }
    } finally {
      end?.();
    }
  }

  #begin(error: unknown): () => void {
    this.#waiting++;
    const back = this.#onKekAway(error);
    return () => {
      this.#waiting--;
      back();
    };
  }
}

/** Whether a step failed for a KEK that is out of reach, or for what says that it is. */
function isKekAway(error: unknown): boolean {
  if (codeOf(error) !== 'RAFTSEAL_APPLIER_LOAD_FAILED') return false;
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (codeOf(cause) === 'RAFTSEAL_KEK_UNAVAILABLE') return true;
  }
  return false;
}
