/**
 * Time that passes only when nothing is left to do: timers, immediates and whatever the simulated
 * disks and engines put off run one at a time, in the order of their times. What falls on the same
 * instant runs in the order in which it was asked for, as the platform promises for its timers;
 * disks and engines draw their delays from the seed, and with them the order of everything.
 */

interface Task {
  dueMs: number;
  order: number;
  run: (() => void) | undefined;
}

type Callback = (...args: unknown[]) => void;

const realSetImmediate = setImmediate;

export class VirtualClock {
  /** Monotonic, ms since the run began. */
  nowMs = 0;
  /** Tasks that have run. */
  steps = 0;
  readonly #heap: Task[] = [];
  readonly #onError: (error: unknown) => void;
  #orders = 0;

  /** @param onError told of what a task throws: a process would end there */
  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  /** Runs `run` after a delay, of which fractions count. @returns what takes it back */
  after(delayMs: number, run: () => void): () => void {
    const task = this.#add(delayMs, run);
    return () => {
      task.run = undefined;
    };
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /** Runs what is due within `ms`, and all that follows from it. */
  async runFor(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    while (await this.step(untilMs));
    this.nowMs = untilMs;
  }

  /** Runs one task, and all promises that it settles. @returns false where none is due by then */
  async step(untilMs: number): Promise<boolean> {
    let task = this.#heap[0];
    while (task && task.run === undefined) {
      this.#pop();
      task = this.#heap[0];
    }
    if (task === undefined || task.dueMs > untilMs) return false;
    this.#pop();
    this.nowMs = Math.max(this.nowMs, task.dueMs);
    this.steps++;
    const { run } = task;
    task.run = undefined;
    try {
      run?.();
    } catch (error) {
      this.#onError(error);
    }
    await settled();
    return true;
  }

  /** The timers of the platform, on this clock. */
  timers(): Pick<typeof globalThis, TimerName> {
    const start = (callback: Callback, ms: number, args: unknown[], repeats: boolean): Timer => {
      const delayMs = ms >= 1 && ms <= 0x7fff_ffff ? Math.trunc(ms) : 1;
      const timer = new Timer();
      const fire = (): void => {
        if (repeats) timer.task = this.#add(delayMs, fire);
        callback(...args);
      };
      timer.task = this.#add(delayMs, fire);
      return timer;
    };
    const clear = (timer: unknown): void => {
      if (timer instanceof Timer && timer.task) timer.task.run = undefined;
    };
    const timers = {
      setTimeout: (callback: Callback, ms = 1, ...args: unknown[]) =>
        start(callback, ms, args, false),
      setInterval: (callback: Callback, ms = 1, ...args: unknown[]) =>
        start(callback, ms, args, true),
      setImmediate: (callback: Callback, ...args: unknown[]) => {
        const timer = new Timer();
        timer.task = this.#add(0, () => callback(...args));
        return timer;
      },
      clearTimeout: clear,
      clearInterval: clear,
      clearImmediate: clear,
    };
    return timers as unknown as Pick<typeof globalThis, TimerName>;
  }

  #add(delayMs: number, run: () => void): Task {
    const task: Task = { dueMs: this.nowMs + delayMs, order: this.#orders++, run };
    const heap = this.#heap;
    let at = heap.push(task) - 1;
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt];
      if (parent === undefined || isBefore(parent, task)) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = task;
    return task;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      if (left === undefined) break;
      const isRight = right !== undefined && isBefore(right, left);
      const child = isRight ? right : left;
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = 2 * at + (isRight ? 2 : 1);
    }
    heap[at] = last;
  }
}

export type TimerName =
  | 'setTimeout'
  | 'clearTimeout'
  | 'setInterval'
  | 'clearInterval'
  | 'setImmediate'
  | 'clearImmediate';

/** Resolves once every promise that can settle without a task has settled. */
export function settled(): Promise<void> {
  return new Promise<void>((resolve) => realSetImmediate(resolve));
}

function isBefore(a: Task, b: Task): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}

/** As far as anybody uses what the platform returns. */
class Timer {
  task: Task | undefined;

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  hasRef(): boolean {
    return true;
  }
}
