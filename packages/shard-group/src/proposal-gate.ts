/**
 * The gate that a cutover closes on the leader: while it is closed, proposals wait in the bounded
 * queue; they are not rejected. It is the memory of one leader and nothing relies on it after a
 * change of leader.
 */
import { assert } from '@raftseal/interface';

export class ProposalGate {
  #closedAtMs: number | undefined;

  get isOpen(): boolean {
    return this.#closedAtMs === undefined;
  }

  close(): void {
    assert(this.isOpen, 'a gate is closed once');
    this.#closedAtMs = performance.now();
  }

  /** @returns for how long it was closed, in ms */
  open(): number {
    assert(this.#closedAtMs !== undefined, 'a gate is opened after it was closed');
    const closedMs = performance.now() - this.#closedAtMs;
    this.#closedAtMs = undefined;
    return closedMs;
  }
}
