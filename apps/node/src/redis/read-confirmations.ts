/**
 * What the log has confirmed for one client where reads wait for it: that this node leads a shard.
 *
 * Invariant: a read is answered only after a confirmation that was asked for when the read had come
 * in. Requests of a pipeline have come in together, so one confirmation is good for all of them: a
 * client waits once per shard and pipeline, not once per read.
 */
import type { RaftsealError } from '@raftseal/interface';
import type { Shard } from './keyspace.ts';

/** Places in the stream of bytes from the client. */
export interface StreamPlace {
  /** Where the request ends that asks. */
  readonly requestEnd: number;
  /** Where what has come in ends. */
  readonly receivedBytes: number;
}

export class ReadConfirmations {
  /** Requests that end here, or before, are confirmed. */
  readonly #confirmedEnd = new Map<Shard, number>();
  /** The request whose confirmation failed, by its end, and why. */
  #failure: { readonly requestEnd: number; readonly error: RaftsealError } | undefined;

  /** What is known for the request that ends at `requestEnd`; undefined: it has to be asked. */
  outcome(shards: readonly Shard[], requestEnd: number): 'confirmed' | RaftsealError | undefined {
    if (this.#failure?.requestEnd === requestEnd) return this.#failure.error;
    const isKnown = shards.every((shard) => (this.#confirmedEnd.get(shard) ?? -1) >= requestEnd);
    return isKnown ? 'confirmed' : undefined;
  }

  /** Asks for what is not confirmed yet; `done` is called once all of it is answered. */
  ask(shards: readonly Shard[], place: StreamPlace, done: () => void): void {
    const { requestEnd, receivedBytes } = place;
    const open = shards.filter((shard) => (this.#confirmedEnd.get(shard) ?? -1) < requestEnd);
    let missing = open.length;
    for (const shard of open) {
      shard.confirmRead?.((error) => {
        if (error === null) this.#confirmedEnd.set(shard, receivedBytes);
        else this.#failure = { requestEnd, error };
        missing--;
        if (missing === 0) done();
      });
    }
  }
}
