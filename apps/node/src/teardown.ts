/** What was opened, closed in reverse order, once; a failure to close one does not keep the rest. */
export class Teardown {
  #steps: (() => Promise<void> | void)[] = [];
  #hasRun = false;

  /** What is opened too late, by a start that was under way, is closed at once. */
  add(step: () => Promise<void> | void): void {
    this.#steps.push(step);
    if (this.#hasRun) void this.run().catch(() => undefined);
  }

  /** @throws AggregateError with what failed, after every step was tried */
  async run(): Promise<void> {
    const failures: unknown[] = [];
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    }
    this.#hasRun = true;
    if (failures.length > 0) throw new AggregateError(failures, 'not everything could be closed');
  }
}
