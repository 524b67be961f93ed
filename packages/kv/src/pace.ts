/** Keeps long work from stopping the event loop: it rests when it has run for a while. */
const SLICE_MS = 2;

export class Pace {
  #until = performance.now() + SLICE_MS;

  /** Whether it is time to rest; asking costs less than resting for nothing. */
  get due(): boolean {
    return performance.now() >= this.#until;
  }

  async rest(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#until = performance.now() + SLICE_MS;
  }
}
