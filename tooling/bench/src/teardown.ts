/** What a benchmark has open, so that it is closed however the benchmark ends. */

type Close = () => unknown;

const open: Set<Teardown> = new Set();

export class Teardown {
  #steps: Close[] = [];

  add(close: Close): void {
    this.#steps.push(close);
  }

  /** Closes everything, what was added last first, whatever fails. Idempotent. */
  async run(): Promise<void> {
    const failures: unknown[] = [];
    for (let close = this.#steps.pop(); close; close = this.#steps.pop()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'not everything could be closed');
  }
}

/** Runs `work`, and closes what it has added to its teardown. */
export async function closing<Result>(
  work: (teardown: Teardown) => Promise<Result>,
): Promise<Result> {
  const teardown = new Teardown();
  open.add(teardown);
  try {
    const result = await work(teardown);
    await teardown.run();
    return result;
  } catch (error) {
    // Why it failed matters more than what then cannot be closed.
    await teardown.run().catch(() => undefined);
    throw error;
  } finally {
    open.delete(teardown);
  }
}

/** For a process that ends in the middle of everything. */
export async function closeEverything(): Promise<void> {
  for (const teardown of [...open].reverse()) await teardown.run().catch(() => undefined);
}
