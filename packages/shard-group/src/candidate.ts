/** Stands for election, again after every reign, until it withdraws. */
import type { Candidacy, Leadership, RaftEngine } from '@raftseal/interface';

export interface CandidateParts {
  readonly engine: RaftEngine;
  readonly yieldMs: (() => number) | undefined;
  /** Leads; resolves once the leadership has ended and nothing of it is under way. */
  readonly reign: (leadership: Leadership) => Promise<void>;
  readonly onFailure: (error: unknown) => void;
}

export class Candidate {
  readonly #parts: CandidateParts;
  readonly #withdrawal = new AbortController();
  #election = new AbortController();
  readonly #suspensions = new Set<Promise<void>>();
  #ended: Promise<void> | undefined;

  constructor(parts: CandidateParts) {
    this.#parts = parts;
  }

  /** Idempotent. */
  stand(): void {
    this.#ended ??= this.#campaign();
  }

  /** For good. A leadership that is held stays: who holds it resigns. */
  withdraw(): void {
    this.#withdrawal.abort();
  }

  /** Ends the election under way; none is begun before the result is called. */
  suspend(): () => void {
    let resume = (): void => undefined;
    const suspension = new Promise<void>((resolve) => {
      resume = resolve;
    });
    this.#suspensions.add(suspension);
    this.#election.abort();
    return () => {
      this.#suspensions.delete(suspension);
      resume();
    };
  }

  /** Resolves once it has withdrawn and its last reign is over. */
  async ended(): Promise<void> {
    await this.#ended;
  }

  async #campaign(): Promise<void> {
    const { engine, yieldMs, reign, onFailure } = this.#parts;
    const candidacy: Candidacy = yieldMs === undefined ? {} : { yieldMs };
    const { signal } = this.#withdrawal;
    while (!signal.aborted) {
      while (this.#suspensions.size > 0) await Promise.all(this.#suspensions);
      if (signal.aborted) return;
      this.#election = new AbortController();
      const ended = AbortSignal.any([signal, this.#election.signal]);
      let leadership: Leadership;
      try {
        leadership = await engine.elect(ended, candidacy);
      } catch (error) {
        if (ended.aborted) continue;
        onFailure(error);
        return;
      }
      if (ended.aborted) await leadership.resign();
      else await reign(leadership);
    }
  }
}
