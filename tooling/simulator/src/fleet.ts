/** Runs seeds in as many processes as there are cores, until one shows something. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { PlantName } from './plants.ts';
import { added, noRuns, type Totals } from './totals.ts';

/** What a worker is asked for. */
export interface SeedRange {
  readonly from: number;
  readonly count: number;
  readonly plant?: PlantName;
}

export interface FleetOptions {
  readonly firstSeed: number;
  readonly seeds: number;
  readonly workers: number;
  readonly plant?: PlantName;
  /** No further seeds are begun after it, by `performance.now()`. */
  readonly untilMs?: number;
  readonly onProgress?: (totals: Totals) => void;
}

const SEEDS_AT_ONCE = 20;
/** Refusals are many, and their stacks cost more than they do; most objects live for a few steps. */
const SERIES_OPTIONS = ['--stack-trace-limit=0', '--max-semi-space-size=32'];

export async function runFleet(options: FleetOptions): Promise<Totals> {
  const { firstSeed, seeds, plant, untilMs = Number.POSITIVE_INFINITY, onProgress } = options;
  const program = fileURLToPath(new URL('worker-process.js', import.meta.url));
  const execArgv = seeds === 1 ? [] : SERIES_OPTIONS;
  let totals = noRuns;
  let next = firstSeed;
  const takeRange = (): SeedRange | undefined => {
    const count = Math.min(SEEDS_AT_ONCE, firstSeed + seeds - next);
    if (count <= 0 || totals.violations.length > 0 || performance.now() >= untilMs)
      return undefined;
    const range = { from: next, count, ...(plant && { plant }) };
    next += count;
    return range;
  };
  const work = async (): Promise<void> => {
    const worker = fork(program, [], { execArgv });
    try {
      for (let range = takeRange(); range; range = takeRange()) {
        const found = await asked(worker, range);
        totals = added(totals, found);
        onProgress?.(totals);
      }
    } finally {
      worker.kill();
    }
  };
  await Promise.all(Array.from({ length: options.workers }, work));
  return totals;
}

async function asked(worker: ChildProcess, range: SeedRange): Promise<Totals> {
  const end = new AbortController();
  const { signal } = end;
  const answer = once(worker, 'message', { signal });
  const exit = once(worker, 'exit', { signal });
  worker.send(range);
  try {
    const [message] = (await Promise.race([answer, exit])) as [Totals | number | null];
    if (message !== null && typeof message === 'object') return message;
    throw new Error(`a worker ended in the seeds from ${range.from} on: exit code ${message}`);
  } finally {
    end.abort();
    for (const ended of [answer, exit]) ended.catch(() => undefined);
  }
}
