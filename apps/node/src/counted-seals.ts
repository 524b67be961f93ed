/** The seals of a node, which count the envelopes that do not open. */
import { RaftSeal, StoreRowSeal } from '@raftseal/envelope';

type OnFailure = (error: unknown) => void;

export class CountedRaftSeal extends RaftSeal {
  readonly #onFailure: OnFailure;

  constructor(parts: ConstructorParameters<typeof RaftSeal>[0], onFailure: OnFailure) {
    super(parts);
    this.#onFailure = onFailure;
  }

  override open(...args: Parameters<RaftSeal['open']>): ReturnType<RaftSeal['open']> {
    try {
      return super.open(...args);
    } catch (error) {
      this.#onFailure(error);
      throw error;
    }
  }
}

export class CountedStoreRowSeal extends StoreRowSeal {
  readonly #onFailure: OnFailure;

  constructor(parts: ConstructorParameters<typeof StoreRowSeal>[0], onFailure: OnFailure) {
    super(parts);
    this.#onFailure = onFailure;
  }

  override open(...args: Parameters<StoreRowSeal['open']>): ReturnType<StoreRowSeal['open']> {
    try {
      return super.open(...args);
    } catch (error) {
      this.#onFailure(error);
      throw error;
    }
  }
}
